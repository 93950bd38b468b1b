package dev.espalier.tools.serve;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.generate.Generation;
import dev.espalier.generate.GenerationOptions;
import dev.espalier.generate.Generator;
import dev.espalier.generate.SamplingOptions;
import dev.espalier.generate.TokenListener;
import dev.espalier.generate.TokenLogprobs;
import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.ChatTemplate;
import dev.espalier.tokenizer.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BooleanSupplier;

/// One model shared by many requests: each keeps its own sequence, and they take turns at the [Generator] step by step.
public final class Engine implements AutoCloseable {
    /// What the model is called, how many requests it answers at once, and how long a sequence may become.
    public record Limits(String name, int concurrent, int context) {}

    /// Receives what a choice's text grows by.
    interface Sink {
        /// More text, and the tokens that became known since the last piece; `offset` is the length of the text before.
        void piece(String text, List<Answer.Token> tokens, int offset) throws IOException;
    }

    private final Model model;
    private final Tokenizer tokenizer;
    private final ChatTemplate template;
    private final Limits limits;
    private final Slots slots;
    private final Metrics metrics = new Metrics();
    private final Generator generator;
    private final ObjectMapper mapper = new ObjectMapper();
    private volatile boolean closed;

    /// An engine over `model`, which must outlive it.
    public Engine(Model model, Tokenizer tokenizer, ChatTemplate template, Limits limits) {
        this.model = model;
        this.tokenizer = tokenizer;
        this.template = template;
        this.limits = limits;
        this.generator = new Generator(model, tokenizer, limits.context());
        this.slots = new Slots(limits.concurrent());
    }

    String name() {
        return limits.name();
    }

    Slots slots() {
        return slots;
    }

    String metrics() {
        return metrics.text(slots);
    }

    /// The entry of `/v1/models`.
    ObjectNode describe(long created) {
        ObjectNode entry = JsonNodeFactory.instance
                .objectNode()
                .put("id", limits.name())
                .put("object", "model")
                .put("created", created)
                .put("owned_by", "espalier");
        entry.putObject("meta").put("n_ctx", generator.context()).put("weight_bytes", model.weightBytes());
        return entry;
    }

    /// The prompt of a chat, by the checkpoint's own template.
    Request.Prompt render(Fields fields) {
        JsonNode messages = fields.node("messages");
        if (messages == null || !messages.isArray() || messages.isEmpty()) {
            throw ApiException.badRequest("messages", "'messages' must be a list of at least one message.");
        }
        JsonNode tools = fields.node("tools");
        try {
            List<Map<String, Object>> conversation = mapper.convertValue(messages, new TypeReference<>() {});
            Map<String, Object> variables =
                    tools == null ? Map.of() : Map.of("tools", mapper.convertValue(tools, Object.class));
            return new Request.Prompt(template.render(conversation, true, variables), null);
        } catch (IllegalArgumentException e) {
            throw ApiException.badRequest("messages", "Each message must be an object with a 'role'.");
        } catch (InputException e) {
            throw ApiException.badRequest("messages", e.getMessage());
        }
    }

    /// The token ids of a prompt.
    ///
    /// @param rendered whether a chat template has put the special tokens in place already
    int[] tokens(Request.Prompt prompt, boolean rendered) {
        return prompt.ids() != null ? prompt.ids() : tokenizer.encode(prompt.text(), !rendered);
    }

    /// Refuses a prompt that cannot be continued.
    ///
    /// @throws ApiException 400, with the code that clients know where it is too long
    void check(Request request, int[] prompt) {
        int longest = generator.context() - Math.min(request.maxTokens(), 1);
        if (prompt.length > longest) {
            throw ApiException.contextExceeded(
                    "The prompt has %d tokens; with the answer it must fit this server's context of %d."
                            .formatted(prompt.length, generator.context()));
        }
        try {
            generator.check(prompt, options(request, prompt, 0, () -> false));
        } catch (InputException e) {
            throw ApiException.badRequest("prompt", e.getMessage());
        }
    }

    private GenerationOptions options(Request request, int[] prompt, int attempt, BooleanSupplier gone) {
        return new GenerationOptions(
                Math.min(request.maxTokens(), generator.context() - prompt.length),
                sampling(request.sampling(), attempt),
                request.stop(),
                false,
                request.logprobs(),
                request.echo() && request.logprobs() >= 0,
                () -> closed || gone.getAsBoolean());
    }

    /// Generates one answer on the calling thread.
    ///
    /// @param attempt numbers the answers to one prompt, which get seeds of their own
    /// @throws IOException if the client has gone
    Answer generate(Request request, int[] prompt, int index, int attempt, Sink sink, BooleanSupplier gone)
            throws IOException {
        Growth growth = new Growth(request, prompt, sink);
        Generation generation;
        try {
            generation = generator.generate(prompt, options(request, prompt, attempt, gone), growth);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
        if (generation.finishReason() == Generation.FinishReason.CANCELLED) {
            throw new IOException("the client left");
        }
        count(generation);
        return growth.answer(generation, index);
    }

    private static SamplingOptions sampling(Request.Sampling asked, int attempt) {
        long seed = asked.seed().orElseGet(() -> ThreadLocalRandom.current().nextLong());
        try {
            return new SamplingOptions(
                    asked.temperature(),
                    Math.max(0, asked.topK()),
                    asked.topP(),
                    asked.minP(),
                    asked.repetitionPenalty(),
                    seed + attempt);
        } catch (InputException e) {
            throw ApiException.badRequest(null, e.getMessage());
        }
    }

    private void count(Generation generation) {
        metrics.requests.increment();
        metrics.promptTokens.add(generation.promptIds().length);
        metrics.generatedTokens.add(generation.tokenIds().length);
        metrics.promptNanos.add((long) (generation.prefillSeconds() * 1e9));
        metrics.generatedNanos.add((long) (generation.decodeSeconds() * 1e9));
    }

    /// Ends the generations that run and waits for them.
    @Override
    public void close() {
        closed = true;
        generator.close();
    }

    /// Collects an answer while it grows and hands each piece on.
    ///
    /// With `echo` the prompt is the first piece. Its log-probabilities are known only at the end, so that an answer
    /// that wants both comes in one piece.
    private final class Growth implements TokenListener {
        private final Request request;
        private final int[] prompt;
        private final Sink sink;
        private final boolean whole;
        private final int promptLength;
        private final StringBuilder text = new StringBuilder();
        private final List<Answer.Token> tokens = new ArrayList<>();
        private final List<Integer> ids = new ArrayList<>();
        private int sent;

        Growth(Request request, int[] prompt, Sink sink) throws IOException {
            this.request = request;
            this.prompt = prompt;
            this.sink = sink;
            this.whole = request.echo() && request.logprobs() >= 0;
            if (request.echo()) {
                append(tokenizer.decode(prompt));
            }
            this.promptLength = text.length();
        }

        @Override
        public void token(int id, TokenLogprobs logprobs) {
            ids.add(id);
            if (logprobs != null) {
                tokens.add(token(logprobs));
            }
        }

        @Override
        public void text(String piece) {
            try {
                boolean seam = request.echo() && text.length() == promptLength && spaceAtTheSeam();
                append(seam && !piece.startsWith(" ") ? " " + piece : piece);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /// New tokens alone have no space in front, as some tokenizers decode; behind the prompt they may have one.
        private boolean spaceAtTheSeam() {
            int[] all = Arrays.copyOf(prompt, prompt.length + ids.size());
            for (int i = 0; i < ids.size(); i++) {
                all[prompt.length + i] = ids.get(i);
            }
            return tokenizer.decode(all).startsWith(" ", promptLength);
        }

        private void append(String piece) throws IOException {
            int offset = text.length();
            text.append(piece);
            if (!whole) {
                send(piece, offset);
            }
        }

        private void send(String piece, int offset) throws IOException {
            sink.piece(piece, List.copyOf(tokens.subList(sent, tokens.size())), offset);
            sent = tokens.size();
        }

        Answer answer(Generation generation, int index) throws IOException {
            if (whole) {
                List<Answer.Token> before = new ArrayList<>();
                before.add(new Answer.Token(prompt[0], tokenText(prompt[0]), Double.NaN, List.of()));
                generation.promptLogprobs().forEach(entry -> before.add(token(entry)));
                tokens.addAll(0, before);
                send(text.toString(), 0);
            } else if (sent < tokens.size()) {
                send("", text.length());
            }
            String reason = generation.finishReason() == Generation.FinishReason.LENGTH ? "length" : "stop";
            return new Answer(index, prompt.length, tokens, text.toString(), generation.tokenIds().length, reason);
        }

        private Answer.Token token(TokenLogprobs logprobs) {
            List<Answer.Token> top = new ArrayList<>();
            for (TokenLogprobs.Entry entry : logprobs.top()) {
                top.add(new Answer.Token(entry.tokenId(), tokenText(entry.tokenId()), entry.logprob(), List.of()));
            }
            return new Answer.Token(logprobs.tokenId(), tokenText(logprobs.tokenId()), logprobs.logprob(), top);
        }

        private String tokenText(int id) {
            return tokenizer.isSpecial(id)
                    ? tokenizer.token(id)
                    : new String(tokenizer.tokenBytes(id), StandardCharsets.UTF_8);
        }
    }
}
