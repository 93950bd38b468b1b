package dev.espalier.tools.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.ChatTemplate;
import dev.espalier.tokenizer.Tokenizer;
import dev.espalier.tools.SharedFolder;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

/// The server as clients meet it, over a small real model (stories260K), with the faults that users of other servers
/// reported.
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ServerTest {
    private static final String IDS = "[1,403,407,261,378,432,383,286,261,376,298,315,421,395,317,426]";
    private static final String LILY = "\"Once upon a time, there was a little girl named Lily.\"";
    private static final String GREEDY = "She loved to play outside in the park. One day";
    private static final String ECHO_TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}";

    private final ObjectMapper mapper = new ObjectMapper();
    private final HttpClient client = HttpClient.newHttpClient();
    private CpuBackend backend;
    private Checkpoint checkpoint;
    private Model model;
    private Engine engine;
    private Server server;

    @BeforeAll
    void start() {
        Path folder = SharedFolder.path("models/stories260K");
        backend = new CpuBackend(1);
        checkpoint = Checkpoint.open(folder);
        model = Model.load(checkpoint, backend, dense -> Dense.mapped());
        Tokenizer tokenizer = Tokenizer.open(folder);
        ChatTemplate template = ChatTemplate.of(ECHO_TEMPLATE, tokenizer.bosToken(), tokenizer.eosToken());
        engine = new Engine(model, tokenizer, template, new Engine.Limits("stories260K", 2, 512));
        server = Server.start(engine, new Server.Options("127.0.0.1", 0, null));
    }

    @AfterAll
    void stop() {
        if (server != null) {
            server.close();
            model.close();
            checkpoint.close();
            backend.close();
        }
    }

    @Test
    void aCompletionIsTheGreedyOne() throws Exception {
        JsonNode reply = complete("{\"prompt\":%s,\"max_tokens\":16,\"temperature\":0}".formatted(LILY));
        assertEquals("She loved to play outside in the park.", text(reply).strip());
        assertEquals(16, reply.at("/usage/prompt_tokens").asInt());
        assertEquals(16, reply.at("/usage/completion_tokens").asInt());
        assertEquals("length", reply.at("/choices/0/finish_reason").asText());
    }

    @Test
    void theDeltasOfAStreamJoinToTheWholeText() throws Exception {
        for (String more : List.of("", ",\"echo\":true", ",\"echo\":true,\"logprobs\":1")) {
            String body = "{\"prompt\":%s,\"max_tokens\":16,\"temperature\":0%s".formatted(LILY, more);
            String whole = text(complete(body + "}"));
            assertEquals(whole, joined(events("/v1/completions", body + ",\"stream\":true}")), more);
        }
        String echo = text(complete("{\"prompt\":%s,\"max_tokens\":4,\"temperature\":0,\"echo\":true}".formatted(IDS)));
        assertTrue(echo.startsWith("Once upon a time, there was a little girl named Lily. She loved to"), echo);
    }

    @Test
    void aStopStringOverTokenBordersNeverLeaks() throws Exception {
        String body = "{\"prompt\":%s,\"max_tokens\":32,\"temperature\":0,\"stop\":[\"rk. One\"]".formatted(LILY);
        JsonNode reply = complete(body + "}");
        assertEquals("She loved to play outside in the pa", text(reply).strip());
        assertEquals("stop", reply.at("/choices/0/finish_reason").asText());
        assertEquals(text(reply), joined(events("/v1/completions", body + ",\"stream\":true}")));
    }

    @Test
    void everyFormOfStopIsUnderstood() throws Exception {
        for (String stop : List.of("null", "[]", "\"\"", "[\"\"]")) {
            assertEquals("She loved to play outside in the park.", stopped(stop), stop);
        }
        assertEquals("She loved to play outside in the", stopped("\"park\""));
        assertEquals("She loved to play outside in the", stopped("[\"park\",\"zzz\"]"));
    }

    private String stopped(String stop) throws Exception {
        return text(complete("{\"prompt\":%s,\"max_tokens\":16,\"temperature\":0,\"stop\":%s}".formatted(LILY, stop)))
                .strip();
    }

    @Test
    void extremeSamplingFieldsNeitherCrashNorMakeNoise() throws Exception {
        assertEquals(
                GREEDY,
                text(complete("{\"prompt\":%s,\"max_tokens\":20,\"temperature\":1,\"top_p\":0}".formatted(LILY)))
                        .strip()
                        .substring(0, GREEDY.length()));
        assertEquals(
                200,
                post("/v1/completions", "{\"prompt\":%s,\"max_tokens\":4,\"top_k\":9999999}".formatted(LILY))
                        .statusCode());
        assertEquals(
                400,
                post("/v1/completions", "{\"prompt\":%s,\"temperature\":\"hot\"}".formatted(LILY))
                        .statusCode());
        assertEquals(
                400,
                post("/v1/completions", "{\"prompt\":%s,\"temperature\":-1}".formatted(LILY))
                        .statusCode());
    }

    @Test
    void aSeedFixesTheTextWhateverElseRuns() throws Exception {
        String seeded = "{\"prompt\":%s,\"max_tokens\":32,\"temperature\":1.5,\"seed\":%d}";
        String first = text(complete(seeded.formatted(LILY, 42)));
        try (ExecutorService threads = Executors.newFixedThreadPool(3)) {
            List<Future<String>> others = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                others.add(threads.submit(() -> text(complete(seeded.formatted(LILY, 42)))));
            }
            for (Future<String> other : others) {
                assertEquals(first, other.get());
            }
        }
        assertNotEquals(first, text(complete(seeded.formatted(LILY, 43))));
        String unseeded = "{\"prompt\":%s,\"max_tokens\":32,\"temperature\":1.5}".formatted(LILY);
        assertNotEquals(text(complete(unseeded)), text(complete(unseeded)));
    }

    @Test
    void aChatHasOneStartTokenAndTheTemplatesPrompt() throws Exception {
        JsonNode reply =
                chat("{\"messages\":[{\"role\":\"user\",\"content\":\"Mom\"}],\"max_tokens\":8,\"temperature\":0}");
        assertEquals(3, reply.at("/usage/prompt_tokens").asInt());
        assertEquals("chat.completion", reply.path("object").asText());
        String text = reply.at("/choices/0/message/content").asText();
        assertTrue(text.strip().startsWith("my was a little girl"), text);

        JsonNode parts = chat("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Mom\"}]}],"
                + "\"max_tokens\":8,\"temperature\":0}");
        assertEquals(text, parts.at("/choices/0/message/content").asText());

        JsonNode replayed = chat("{\"messages\":[{\"role\":\"user\",\"content\":\"Mom\"},"
                + "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\"}]},"
                + "{\"role\":\"tool\",\"content\":\"\",\"tool_call_id\":\"1\"}],\"max_tokens\":8,\"temperature\":0}");
        assertEquals(3, replayed.at("/usage/prompt_tokens").asInt());
    }

    @Test
    void badChatsAreRefusedAsTheClientsFault() throws Exception {
        for (String messages : List.of(
                "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]",
                "[]",
                "\"Mom\"",
                "[{\"content\":\"x\"}]",
                "[3]")) {
            HttpResponse<String> reply = post("/v1/chat/completions", "{\"messages\":" + messages + "}");
            assertEquals(400, reply.statusCode(), messages);
            JsonNode error = mapper.readTree(reply.body()).path("error");
            assertEquals("invalid_request_error", error.path("type").asText());
            assertFalse(error.path("message").asText().isBlank());
        }
    }

    @Test
    void maxCompletionTokensIsHonoured() throws Exception {
        JsonNode reply = chat("{\"messages\":[{\"role\":\"user\",\"content\":\"Mom\"}],\"max_completion_tokens\":3}");
        assertEquals(3, reply.at("/usage/completion_tokens").asInt());
        assertEquals("length", reply.at("/choices/0/finish_reason").asText());
    }

    @Test
    void usageIsStreamedOnlyWhenAskedFor() throws Exception {
        String body = "{\"messages\":[{\"role\":\"user\",\"content\":\"Mom\"}],\"max_tokens\":4,\"stream\":true";
        List<JsonNode> plain = events("/v1/chat/completions", body + "}");
        for (JsonNode chunk : plain) {
            assertEquals(1, chunk.path("choices").size());
            assertFalse(chunk.has("usage"));
        }
        assertEquals("assistant", plain.getFirst().at("/choices/0/delta/role").asText());
        assertEquals("length", plain.getLast().at("/choices/0/finish_reason").asText());

        List<JsonNode> counted = events("/v1/chat/completions", body + ",\"stream_options\":{\"include_usage\":true}}");
        assertEquals(0, counted.getLast().path("choices").size());
        assertEquals(7, counted.getLast().at("/usage/total_tokens").asInt());
        assertEquals(plain.size() + 1, counted.size());
    }

    @Test
    void promptsComeInFourForms() throws Exception {
        assertPrompt("[1,392,287]", 1, 3);
        assertPrompt("[\"Mom\",\"Mom\"]", 2, 6);
        assertPrompt("[[1,392,287],[1,403]]", 2, 5);
        assertPrompt("\"Mom\"", 1, 3);
        for (String bad : List.of("null", "[]", "3", "{}", "[[]]", "[\"a\",3]", "[1,2.5]", "[1,99999]", "[1,-1]")) {
            assertEquals(
                    400, post("/v1/completions", "{\"prompt\":" + bad + "}").statusCode(), bad);
        }
    }

    private void assertPrompt(String prompt, int choices, int tokens) throws Exception {
        JsonNode reply = complete("{\"prompt\":%s,\"max_tokens\":4,\"temperature\":0}".formatted(prompt));
        assertEquals(choices, reply.path("choices").size(), prompt);
        IntStream.range(0, choices)
                .forEach(i ->
                        assertEquals(i, reply.at("/choices/" + i + "/index").asInt()));
        assertEquals(tokens, reply.at("/usage/prompt_tokens").asInt(), prompt);
    }

    @Test
    void anEmptyPromptIsTheStartTokenAlone() throws Exception {
        for (String prompt : List.of("\"\"", "[\"\"]")) {
            JsonNode reply = complete("{\"prompt\":%s,\"max_tokens\":8,\"temperature\":0}".formatted(prompt));
            assertEquals(1, reply.at("/usage/prompt_tokens").asInt());
            assertEquals("Once upon a time, there was a", text(reply).strip());
        }
    }

    @Test
    void echoedLogProbabilitiesAreThoseOfThePrompt() throws Exception {
        String body = "{\"prompt\":%s,\"echo\":true,\"logprobs\":1,\"temperature\":0,\"max_tokens\":".formatted(IDS);
        double[] expected = {-0.2437, -0.0175, -0.0121, -0.0007, -0.0317};
        for (int more = 0; more < 2; more++) {
            JsonNode logprobs = complete(body + more + "}").at("/choices/0/logprobs");
            for (String field : List.of("tokens", "token_logprobs", "top_logprobs", "text_offset")) {
                assertEquals(16 + more, logprobs.path(field).size(), field);
            }
            assertTrue(logprobs.at("/token_logprobs/0").isNull());
            for (int i = 0; i < expected.length; i++) {
                assertEquals(
                        expected[i], logprobs.at("/token_logprobs/" + (i + 1)).asDouble(), 1e-3);
            }
        }
    }

    @Test
    void anOverlongPromptIsRefusedBeforeAnyEvent() throws Exception {
        String prompt = IntStream.range(0, 600).mapToObj(i -> "a").collect(Collectors.joining(" "));
        for (String stream : List.of("false", "true")) {
            HttpResponse<String> reply =
                    post("/v1/completions", "{\"prompt\":\"%s\",\"stream\":%s}".formatted(prompt, stream));
            assertEquals(400, reply.statusCode());
            assertEquals(
                    "context_length_exceeded",
                    mapper.readTree(reply.body()).at("/error/code").asText());
        }
    }

    @Test
    void bodiesThatAreNotJsonAreRefused() throws Exception {
        for (String body : List.of("", "{", "[]", "3", "{\"prompt\":\"a\"} x", "\u0000")) {
            assertEquals(400, post("/v1/completions", body).statusCode(), body);
        }
        assertEquals(404, post("/v1/nothing", "{}").statusCode());
        assertEquals(405, send(request("/v1/completions").GET()).statusCode());
        assertEquals(
                200,
                post("/completions", "{\"prompt\":\"Mom\",\"max_tokens\":1,\"whatever\":[1]}")
                        .statusCode());
    }

    @Test
    void headAnswersAsGetWithoutABody() throws Exception {
        for (String path : List.of("/", "/health", "/v1/models")) {
            HttpResponse<String> head = send(request(path).method("HEAD", BodyPublishers.noBody()));
            HttpResponse<String> get = send(request(path).GET());
            assertEquals(200, head.statusCode(), path);
            assertEquals("", head.body());
            assertEquals(
                    get.headers().firstValue("content-type"), head.headers().firstValue("content-type"));
            assertEquals(
                    get.headers().firstValue("content-length"), head.headers().firstValue("content-length"));
        }
    }

    @Test
    void chunkedAndExpectedBodiesAreTakenAtOnce() throws Exception {
        byte[] body = "{\"prompt\":\"Mom\",\"max_tokens\":2}".getBytes(StandardCharsets.UTF_8);
        assertEquals(
                200,
                send(request("/v1/completions")
                                .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))))
                        .statusCode());
        assertEquals(
                200,
                send(request("/v1/completions").expectContinue(true).POST(BodyPublishers.ofByteArray(body)))
                        .statusCode());
        String large = "{\"prompt\":\"" + "a ".repeat(1_000_000) + "\"}";
        assertEquals(
                400,
                send(request("/v1/completions").expectContinue(true).POST(BodyPublishers.ofString(large)))
                        .statusCode());
    }

    @Test
    void aKeyIsAskedForButNotOfThePreflight() throws Exception {
        try (Server guarded = Server.start(
                new Engine(
                        model,
                        Tokenizer.open(SharedFolder.path("models/stories260K")),
                        null,
                        new Engine.Limits("guarded", 1, 512)),
                new Server.Options("127.0.0.1", 0, "k"))) {
            URI uri = URI.create(guarded.url() + "/v1/completions");
            HttpResponse<String> preflight = send(HttpRequest.newBuilder(uri)
                    .header("Origin", "http://localhost")
                    .header("Access-Control-Request-Method", "POST")
                    .header("Access-Control-Request-Headers", "authorization,content-type")
                    .method("OPTIONS", BodyPublishers.noBody()));
            assertEquals(2, preflight.statusCode() / 100);
            for (String header : List.of("Origin", "Methods", "Headers")) {
                assertTrue(preflight
                        .headers()
                        .firstValue("Access-Control-Allow-" + header)
                        .isPresent());
            }
            String body = "{\"prompt\":\"Mom\",\"max_tokens\":1}";
            assertEquals(
                    401,
                    send(HttpRequest.newBuilder(uri).POST(BodyPublishers.ofString(body)))
                            .statusCode());
            assertEquals(
                    200,
                    send(HttpRequest.newBuilder(uri)
                                    .header("Authorization", "Bearer k")
                                    .POST(BodyPublishers.ofString(body)))
                            .statusCode());
        }
    }

    @Test
    void aClientThatLeavesFreesItsSlot() throws Exception {
        String body = "{\"prompt\":%s,\"max_tokens\":480,\"temperature\":1,\"n\":16,\"stream\":%s}";
        for (int i = 0; i < 3; i++) {
            for (String stream : List.of("true", "false")) {
                leave(server.url(), body.formatted(IDS, stream));
            }
        }
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (engine.slots().running() > 0 && System.nanoTime() < deadline) {
            Thread.sleep(50);
        }
        assertEquals(0, engine.slots().running());
        assertEquals(
                200,
                post("/v1/completions", "{\"prompt\":\"Mom\",\"max_tokens\":2}").statusCode());
    }

    /// One slot, and a model that would take minutes for what those who left had asked for.
    @Test
    void theOnlySlotOfALargerModelIsFreedToo() throws Exception {
        Path folder = SharedFolder.smollm();
        Tokenizer tokenizer = Tokenizer.open(folder);
        try (Checkpoint weights = Checkpoint.open(folder);
                CpuBackend cpu = new CpuBackend(2);
                Model larger = Model.load(weights, cpu, dense -> Dense.mapped());
                Server single = Server.start(
                        new Engine(larger, tokenizer, null, new Engine.Limits("smollm2", 1, 8192)),
                        new Server.Options("127.0.0.1", 0, null))) {
            for (String stream : List.of("true", "false")) {
                leave(single.url(), "{\"prompt\":\"Once\",\"max_tokens\":4000,\"stream\":%s}".formatted(stream));
            }
            HttpResponse<String> reply = send(HttpRequest.newBuilder(URI.create(single.url() + "/v1/completions"))
                    .POST(BodyPublishers.ofString("{\"prompt\":\"Once\",\"max_tokens\":2}")));
            assertEquals(200, reply.statusCode(), reply.body());
            String metrics = send(HttpRequest.newBuilder(URI.create(single.url() + "/metrics")))
                    .body();
            assertTrue(metrics.contains("espalier_requests_running 0"), metrics);
            // Its tokenizer puts nothing in front, so there is nothing to predict from.
            assertEquals(
                    400,
                    send(HttpRequest.newBuilder(URI.create(single.url() + "/v1/completions"))
                                    .POST(BodyPublishers.ofString("{\"prompt\":\"\",\"max_tokens\":8}")))
                            .statusCode());
        }
    }

    /// `100 Continue` comes before the body is there, so nobody waits for the second that clients give it.
    @Test
    void aClientThatExpectsAnAnswerBeforeItSendsTheBodyGetsIt() throws IOException {
        String body = "{\"prompt\":\"Mom\",\"max_tokens\":2}";
        URI uri = URI.create(server.url());
        try (Socket socket = new Socket(uri.getHost(), uri.getPort())) {
            socket.setSoTimeout(30_000);
            OutputStream out = socket.getOutputStream();
            out.write(("POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
                            + "Content-Length: " + body.length() + "\r\n\r\n")
                    .getBytes(StandardCharsets.UTF_8));
            out.flush();
            byte[] line = socket.getInputStream().readNBytes("HTTP/1.1 100".length());
            assertEquals("HTTP/1.1 100", new String(line, StandardCharsets.UTF_8));
            out.write(body.getBytes(StandardCharsets.UTF_8));
            out.flush();
            String rest = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertTrue(rest.contains("HTTP/1.1 200"), rest);
        }
    }

    /// Sends a request and closes the connection without waiting for the answer.
    private static void leave(String url, String body) throws IOException {
        URI uri = URI.create(url);
        try (Socket socket = new Socket(uri.getHost(), uri.getPort())) {
            OutputStream out = socket.getOutputStream();
            out.write(
                    ("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " + body.length() + "\r\n\r\n" + body)
                            .getBytes(StandardCharsets.UTF_8));
            out.flush();
        }
    }

    @Test
    void aPortInUseIsOneClearSentence() {
        int port = URI.create(server.url()).getPort();
        InputException e = assertThrows(
                InputException.class, () -> Server.start(engine, new Server.Options("127.0.0.1", port, null)));
        assertTrue(e.getMessage().contains("port " + port), e.getMessage());
    }

    private JsonNode complete(String body) throws Exception {
        return json(post("/v1/completions", body));
    }

    private JsonNode chat(String body) throws Exception {
        return json(post("/v1/chat/completions", body));
    }

    private JsonNode json(HttpResponse<String> reply) throws IOException {
        assertEquals(200, reply.statusCode(), reply.body());
        return mapper.readTree(reply.body());
    }

    private static String text(JsonNode reply) {
        return reply.at("/choices/0/text").asText();
    }

    private static String joined(List<JsonNode> chunks) {
        return chunks.stream().map(ServerTest::text).collect(Collectors.joining());
    }

    /// The chunks of a stream, which must end with `[DONE]`.
    private List<JsonNode> events(String path, String body) throws Exception {
        HttpResponse<InputStream> reply = client.send(
                request(path).POST(BodyPublishers.ofString(body)).build(), HttpResponse.BodyHandlers.ofInputStream());
        assertEquals(200, reply.statusCode());
        String all = new String(reply.body().readAllBytes(), StandardCharsets.UTF_8);
        List<JsonNode> chunks = new ArrayList<>();
        for (String line : all.split("\n")) {
            if (line.startsWith("data: {")) {
                chunks.add(mapper.readTree(line.substring("data: ".length())));
            }
        }
        assertTrue(all.endsWith("data: [DONE]\n\n"), all);
        return chunks;
    }

    private HttpResponse<String> post(String path, String body) throws Exception {
        return send(request(path).POST(BodyPublishers.ofString(body)));
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(server.url() + path));
    }

    private HttpResponse<String> send(HttpRequest.Builder request) throws Exception {
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }
}
