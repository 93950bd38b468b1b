package dev.espalier.tools.serve;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.io.InputStream;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/// The OpenAI-compatible HTTP server over one model.
///
/// `/v1/models`, `/v1/completions`, `/v1/chat/completions` (each also without `/v1`), `/health`, `/metrics` and a page at
/// `/` that names them. A virtual thread a request; the model is shared fairly by an [Engine].
public final class Server implements AutoCloseable {
    /// Where and how to listen.
    ///
    /// @param port 0 takes a free one
    /// @param apiKey what clients must send as a bearer token; null lets everybody in
    public record Options(String host, int port, String apiKey) {}

    private static final int LARGEST_BODY = 16 << 20;
    private static final Duration PATIENCE = Duration.ofSeconds(1);

    private final Engine engine;
    private final Options options;
    private final HttpServer http;
    private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
    private final ObjectMapper mapper = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private final long created = Instant.now().getEpochSecond();
    private final Map<String, Route> routes;

    /// What a path offers.
    private record Route(String method, Handler handler) {}

    private interface Handler {
        void answer(HttpExchange exchange, HttpReply reply) throws IOException, InterruptedException;
    }

    /// Listens and answers until closed.
    ///
    /// @throws InputException if the address cannot be listened on
    public static Server start(Engine engine, Options options) {
        try {
            return new Server(engine, options);
        } catch (BindException e) {
            throw new InputException(
                    "port %d on %s cannot be used (%s); choose another with --port, or 0 for a free one"
                            .formatted(options.port(), options.host(), e.getMessage()));
        } catch (IOException e) {
            throw new InputException(
                    "cannot listen on %s:%d: %s".formatted(options.host(), options.port(), e.getMessage()));
        }
    }

    private Server(Engine engine, Options options) throws IOException {
        this.engine = engine;
        this.options = options;
        InetSocketAddress address = new InetSocketAddress(options.host(), options.port());
        if (address.isUnresolved()) {
            throw new InputException(
                    "host '" + options.host() + "' is not known; give --host an address of this machine");
        }
        this.routes = Map.of(
                "/", new Route("GET", (exchange, reply) -> reply.send(200, "text/plain; charset=utf-8", front())),
                "/health", new Route("GET", (exchange, reply) -> reply.json(200, health())),
                "/metrics",
                        new Route(
                                "GET",
                                (exchange, reply) -> reply.send(200, "text/plain; version=0.0.4", engine.metrics())),
                "/models", new Route("GET", (exchange, reply) -> reply.json(200, models())),
                "/completions", new Route("POST", (exchange, reply) -> complete(exchange, reply, false)),
                "/chat/completions", new Route("POST", (exchange, reply) -> complete(exchange, reply, true)));
        this.http = HttpServer.create(address, 128);
        http.setExecutor(threads);
        http.createContext("/", this::handle);
        http.start();
    }

    /// The address that clients use, `http://HOST:PORT`.
    public String url() {
        String host = options.host().contains(":") ? "[" + options.host() + "]" : options.host();
        return "http://" + host + ":" + http.getAddress().getPort();
    }

    private void handle(HttpExchange exchange) throws IOException {
        HttpReply reply = new HttpReply(exchange);
        try {
            route(exchange).answer(exchange, reply);
        } catch (ApiException e) {
            reply.json(e.status(), e.body());
        } catch (InputException e) {
            ApiException error = ApiException.badRequest(null, e.getMessage());
            reply.json(error.status(), error.body());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            reply.json(500, ApiException.failed("The server failed: " + e).body());
        } finally {
            exchange.close();
        }
    }

    private Handler route(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        String method = exchange.getRequestMethod();
        if (path.startsWith("/v1/")) {
            path = path.substring(3);
        }
        if (method.equals("OPTIONS")) {
            return (request, reply) -> preflight(request);
        }
        Route route = routes.get(path);
        if (route == null && path.startsWith("/models/")) {
            route = new Route("GET", (request, reply) -> model(request, reply));
        }
        if (options.apiKey() != null && !path.equals("/health") && !authorized(exchange)) {
            drain(exchange);
            throw ApiException.unauthorized();
        }
        if (route == null) {
            drain(exchange);
            throw ApiException.notFound(
                    "There is nothing at " + exchange.getRequestURI().getPath() + ".");
        }
        if (!method.equals(route.method())
                && !(method.equals("HEAD") && route.method().equals("GET"))) {
            drain(exchange);
            throw ApiException.methodNotAllowed(method, path);
        }
        return route.handler();
    }

    private boolean authorized(HttpExchange exchange) {
        String header = exchange.getRequestHeaders().getFirst("Authorization");
        byte[] given = (header == null ? "" : header).getBytes(StandardCharsets.UTF_8);
        return MessageDigest.isEqual(given, ("Bearer " + options.apiKey()).getBytes(StandardCharsets.UTF_8));
    }

    private static void preflight(HttpExchange exchange) throws IOException {
        drain(exchange);
        exchange.getResponseHeaders().set("Access-Control-Allow-Methods", "GET, POST, HEAD, OPTIONS");
        exchange.getResponseHeaders().set("Access-Control-Allow-Headers", "authorization, content-type");
        exchange.getResponseHeaders().set("Access-Control-Max-Age", "86400");
        exchange.sendResponseHeaders(204, -1);
    }

    private void complete(HttpExchange exchange, HttpReply reply, boolean chat)
            throws IOException, InterruptedException {
        Fields fields = new Fields(body(exchange));
        Request request = chat ? Request.chat(fields, engine.render(fields)) : Request.completion(fields);
        new Completion(engine, request, reply, new Replies(chat, engine.name()), chat).run(PATIENCE);
    }

    private JsonNode body(HttpExchange exchange) throws IOException {
        byte[] bytes;
        try (InputStream in = exchange.getRequestBody()) {
            bytes = in.readNBytes(LARGEST_BODY + 1);
            if (bytes.length > LARGEST_BODY) {
                in.skip(Long.MAX_VALUE);
                throw ApiException.tooLarge("A request may have %d bytes at most.".formatted(LARGEST_BODY));
            }
        }
        try {
            JsonNode body = mapper.readTree(bytes);
            if (body == null || body.isMissingNode()) {
                throw ApiException.badRequest(null, "The body is empty; a JSON object is wanted.");
            }
            return body;
        } catch (JsonProcessingException e) {
            throw ApiException.badRequest(null, "The body is not JSON: " + e.getOriginalMessage());
        }
    }

    private static void drain(HttpExchange exchange) throws IOException {
        try (InputStream in = exchange.getRequestBody()) {
            in.skip(LARGEST_BODY);
        }
    }

    private JsonNode health() {
        return JsonNodeFactory.instance.objectNode().put("status", "ok");
    }

    private ObjectNode models() {
        ObjectNode list = JsonNodeFactory.instance.objectNode().put("object", "list");
        list.putArray("data").add(engine.describe(created));
        return list;
    }

    private void model(HttpExchange exchange, HttpReply reply) throws IOException {
        String path = exchange.getRequestURI().getPath();
        String name = path.substring(path.indexOf("/models/") + "/models/".length());
        if (!name.equals(engine.name())) {
            throw ApiException.notFound("Model '%s' is not served here; this is '%s'.".formatted(name, engine.name()));
        }
        reply.json(200, engine.describe(created));
    }

    private String front() {
        return """
                Espalier serves the model %s.

                POST /v1/chat/completions   an answer to messages
                POST /v1/completions        a continuation of a prompt
                GET  /v1/models             what is served
                GET  /health                whether it answers
                GET  /metrics               what it has done, for Prometheus
                """.formatted(engine.name());
    }

    /// Stops listening; requests in flight are given up.
    @Override
    public void close() {
        engine.close();
        http.stop(0);
        threads.shutdownNow();
    }
}
