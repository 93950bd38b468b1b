package dev.espalier.tools.serve;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/// One answer on one exchange: a whole body, a JSON document that may be long in coming, or a stream of events.
///
/// A client that leaves is noticed by writing to it. An answer that takes longer than a second is therefore begun
/// early: a stream with comments, a JSON document with blanks before it, which JSON allows.
final class HttpReply {
    private final HttpExchange exchange;
    private OutputStream body;
    private EventStream events;

    HttpReply(HttpExchange exchange) {
        this.exchange = exchange;
        Headers headers = exchange.getResponseHeaders();
        headers.set("Access-Control-Allow-Origin", "*");
        headers.set("Cache-Control", "no-store");
    }

    /// Whether the status line has been sent.
    synchronized boolean begun() {
        return body != null;
    }

    /// Sends a whole body; for HEAD its headers alone.
    synchronized void send(int status, String contentType, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        Headers headers = exchange.getResponseHeaders();
        headers.set("Content-Type", contentType);
        if (exchange.getRequestMethod().equals("HEAD")) {
            headers.set("Content-Length", Integer.toString(bytes.length));
            exchange.sendResponseHeaders(status, -1);
            return;
        }
        exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        body = exchange.getResponseBody();
        body.write(bytes);
        body.close();
    }

    /// Sends a JSON document, or the rest of one that [#keepAlive] began.
    synchronized void json(int status, JsonNode document) throws IOException {
        if (!begun()) {
            send(status, "application/json", document.toString());
            return;
        }
        body.write(document.toString().getBytes(StandardCharsets.UTF_8));
        body.close();
    }

    /// Begins a stream of events, unless it has begun.
    synchronized void beginStream() throws IOException {
        if (events == null) {
            exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
            exchange.sendResponseHeaders(200, 0);
            body = exchange.getResponseBody();
            events = new EventStream(body);
        }
    }

    /// Sends a chunk of the stream.
    synchronized void event(JsonNode chunk) throws IOException {
        events.send(chunk);
    }

    /// Ends the stream.
    synchronized void endStream() throws IOException {
        events.done();
        body.close();
    }

    /// Tells the client that work goes on, by beginning the answer if need be.
    ///
    /// @param stream whether the answer is a stream of events
    /// @throws IOException if the client has gone
    synchronized void keepAlive(boolean stream) throws IOException {
        if (stream) {
            beginStream();
            events.ping();
            return;
        }
        if (!begun()) {
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, 0);
            body = exchange.getResponseBody();
        }
        body.write(' ');
        body.flush();
    }
}
