package dev.espalier.tools;

import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.ChatTemplate;
import dev.espalier.tokenizer.Tokenizer;
import dev.espalier.tools.serve.Engine;
import dev.espalier.tools.serve.Server;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import picocli.CommandLine.Option;

/// Where and how to serve: the options that `serve` and `prune-and-serve` share.
final class ServeOptions {
    @Option(
            names = "--host",
            paramLabel = "ADDRESS",
            defaultValue = "127.0.0.1",
            description = "The address to listen on; 0.0.0.0: on all. Default: ${DEFAULT-VALUE}.")
    private String host;

    @Option(
            names = "--port",
            paramLabel = "N",
            defaultValue = "8080",
            description = "The port to listen on; 0: a free one. Default: ${DEFAULT-VALUE}.")
    private int port;

    @Option(
            names = "--api-key",
            paramLabel = "KEY",
            description = "What clients must send as a bearer token. Default: everybody is let in.")
    private String apiKey;

    @Option(
            names = "--max-concurrent",
            paramLabel = "N",
            defaultValue = "8",
            description = "Requests that are answered at once; others wait. Default: ${DEFAULT-VALUE}.")
    private int maxConcurrent;

    @Option(
            names = "--max-context",
            paramLabel = "N",
            description = "The most tokens of prompt and answer together. Default: the model's context.")
    private Integer maxContext;

    /// Refuses what cannot be served with, before the work starts.
    ///
    /// @throws InputException if an option is out of its range
    void check() {
        if (port < 0 || port > 65535) {
            throw new InputException("--port " + port + ": it must be 0 to 65535.");
        }
        if (maxConcurrent < 1 || maxConcurrent > 10_000) {
            throw new InputException("--max-concurrent " + maxConcurrent + ": it must be 1 to 10000.");
        }
        if (maxContext != null && maxContext < 1) {
            throw new InputException("--max-context " + maxContext + ": it must be 1 or more.");
        }
    }

    /// Serves `loaded` until the process ends.
    ///
    /// @throws InputException if the address cannot be listened on
    void serve(LoadedModel loaded, OutputOptions output) {
        try (Server server = start(loaded)) {
            output.announce("listening on " + server.url());
            output.note("Ctrl-C ends it.");
            new CountDownLatch(1).await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /// Starts a server over `loaded`, which must outlive it.
    Server start(LoadedModel loaded) {
        Model model = loaded.model();
        Tokenizer tokenizer = loaded.requireTokenizer("a server needs one.");
        int context = maxContext == null
                ? model.spec().context()
                : Math.min(maxContext, model.spec().context());
        Engine engine = new Engine(
                model,
                tokenizer,
                template(loaded, tokenizer),
                new Engine.Limits(loaded.checkpoint().name(), maxConcurrent, context));
        try {
            return Server.start(engine, new Server.Options(host, port, apiKey));
        } catch (RuntimeException e) {
            engine.close();
            throw e;
        }
    }

    private static ChatTemplate template(LoadedModel loaded, Tokenizer tokenizer) {
        if (tokenizer.chatTemplate().isPresent()) {
            return ChatTemplate.of(tokenizer);
        }
        return loaded.checkpoint()
                .file("chat_template.jinja")
                .map(bytes -> ChatTemplate.of(
                        new String(bytes, StandardCharsets.UTF_8), tokenizer.bosToken(), tokenizer.eosToken()))
                .orElseGet(() -> ChatTemplate.of(tokenizer));
    }
}
