package dev.espalier.tools.serve;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/// Server-sent events: one `data:` line a chunk, flushed at once, `[DONE]` at the end.
final class EventStream {
    private final OutputStream out;

    EventStream(OutputStream out) {
        this.out = out;
    }

    /// @throws IOException if the client has gone
    void send(JsonNode chunk) throws IOException {
        write("data: " + chunk + "\n\n");
    }

    /// A comment line, which clients ignore; keeps the connection and tells whether the client is still there.
    void ping() throws IOException {
        write(": still working\n\n");
    }

    void done() throws IOException {
        write("data: [DONE]\n\n");
    }

    private void write(String text) throws IOException {
        out.write(text.getBytes(StandardCharsets.UTF_8));
        out.flush();
    }
}
