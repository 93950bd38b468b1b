package dev.espalier.generate;

import dev.espalier.generate.Generation.FinishReason;
import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.model.Workspace;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import dev.espalier.tokenizer.StreamDecoder;
import dev.espalier.tokenizer.Tokenizer;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;

/// Continues texts: reads the prompt in chunks, then adds token by token.
///
/// Several threads may generate at once, each a sequence of its own; they take turns at the model, one step each, in
/// the order in which they ask. A sequence's result does not depend on the others.
public final class Generator implements AutoCloseable {
    private static final int CHUNK = 256;

    private final Model model;
    private final Tokenizer tokenizer;
    private final int context;
    private final int choices;
    private final Set<Integer> endOfSequence;
    private final ReentrantLock turn = new ReentrantLock(true);
    private final Arena arena = Arena.ofShared();
    private final Workspace workspace;
    private final Tensor hostLogits;

    /// A generator over the model's whole context.
    ///
    /// @param tokenizer makes text of the new tokens; null: ids only
    public Generator(Model model, Tokenizer tokenizer) {
        this(model, tokenizer, model.spec().context());
    }

    /// A generator that keeps sequences within `context` tokens, or the model's own context where that is less.
    ///
    /// @param tokenizer makes text of the new tokens; null: ids only
    public Generator(Model model, Tokenizer tokenizer, int context) {
        if (context < 1) {
            throw new InputException("a context of " + context + " tokens: it must be 1 or more");
        }
        int vocabulary = model.spec().vocabulary();
        this.model = model;
        this.tokenizer = tokenizer;
        this.context = Math.min(context, model.spec().context());
        this.choices = tokenizer == null ? vocabulary : Math.min(vocabulary, tokenizer.vocabularySize());
        this.endOfSequence = model.endOfSequence();
        this.workspace = model.newWorkspace(Math.min(CHUNK, this.context));
        this.hostLogits = Tensor.allocate(arena, DType.F32, 1, vocabulary);
    }

    /// The most tokens that prompt and text may have together.
    public int context() {
        return context;
    }

    /// Refuses a prompt that cannot be continued: an empty one, one beyond the context, one with unknown tokens, or
    /// one that leaves no room for exactly `maxNewTokens` where the options demand that.
    ///
    /// @throws InputException saying which
    public void check(int[] prompt, GenerationOptions options) {
        if (prompt.length == 0) {
            throw new InputException("the prompt has no tokens, so there is nothing to predict from");
        }
        if (prompt.length > context) {
            throw new InputException("the prompt has %d tokens, more than the context of %d; shorten it"
                    .formatted(prompt.length, context));
        }
        if (options.ignoreEos() && options.maxNewTokens() > room(prompt)) {
            throw new InputException(
                    "a prompt of %d tokens and exactly %d new ones are more than the context of %d; ask for fewer"
                            .formatted(prompt.length, options.maxNewTokens(), context));
        }
        if (tokenizer == null && !options.stop().isEmpty()) {
            throw new InputException("stop strings need a tokenizer, and this model has none");
        }
        int vocabulary = model.spec().vocabulary();
        for (int id : prompt) {
            if (id < 0 || id >= vocabulary) {
                throw new InputException(
                        "token id %d of the prompt is not in the model's vocabulary of %d".formatted(id, vocabulary));
            }
        }
    }

    /// Continues `prompt`, which is taken as it is: no token is put in front.
    ///
    /// @throws InputException if [#check] refuses it
    /// @throws ArithmeticException if the model's logits are not numbers
    public Generation generate(int[] prompt, GenerationOptions options, TokenListener listener) {
        check(prompt, options);
        KvCache cache = cache(prompt, options);
        try {
            return new Run(prompt, options, listener, cache).generation();
        } finally {
            turn.lock();
            try {
                cache.close();
            } finally {
                turn.unlock();
            }
        }
    }

    /// New tokens that fit behind `prompt`; the last one need not be read again, so it may stand past the context.
    private int room(int[] prompt) {
        return context - prompt.length + 1;
    }

    private KvCache cache(int[] prompt, GenerationOptions options) {
        turn.lock();
        try {
            return model.newCache(prompt.length + Math.min(options.maxNewTokens(), CHUNK));
        } finally {
            turn.unlock();
        }
    }

    @Override
    public void close() {
        turn.lock();
        try {
            workspace.close();
            arena.close();
        } finally {
            turn.unlock();
        }
    }

    /// One sequence from its prompt to its end.
    private final class Run {
        private final int[] prompt;
        private final GenerationOptions options;
        private final TokenListener listener;
        private final KvCache cache;
        private final Sampler sampler;
        private final StreamDecoder decoder;
        private final StopStrings stops;
        private final StringBuilder text = new StringBuilder();
        private final List<TokenLogprobs> logprobs = new ArrayList<>();
        private final List<TokenLogprobs> promptLogprobs = new ArrayList<>();
        private final float[] logits = new float[model.spec().vocabulary()];
        private final int[] tokens;
        private int count;

        Run(int[] prompt, GenerationOptions options, TokenListener listener, KvCache cache) {
            this.prompt = prompt;
            this.options = options;
            this.listener = listener;
            this.cache = cache;
            this.sampler = new Sampler(options.sampling(), choices);
            this.decoder = tokenizer == null ? null : tokenizer.streamDecoder();
            this.stops = new StopStrings(options.stop());
            this.tokens = new int[Math.min(options.maxNewTokens(), room(prompt))];
            for (int id : prompt) {
                sampler.accept(id);
            }
        }

        Generation generation() {
            long start = System.nanoTime();
            boolean read = prefill();
            long prefilled = System.nanoTime();
            FinishReason reason = read ? null : FinishReason.CANCELLED;
            long first = prefilled;
            while (reason == null) {
                if (options.cancelled().getAsBoolean()) {
                    reason = FinishReason.CANCELLED;
                } else if (count == tokens.length) {
                    reason = FinishReason.LENGTH;
                } else {
                    if (count > 0) {
                        decode();
                    }
                    reason = add(sampler.next(logits));
                    first = count == 1 ? System.nanoTime() : first;
                }
            }
            long end = System.nanoTime();
            if (decoder != null && !stops.found()) {
                show(stops.next(decoder.finish()));
                show(stops.found() ? "" : stops.finish());
            }
            return new Generation(
                    prompt,
                    Arrays.copyOf(tokens, count),
                    decoder == null ? null : text.toString(),
                    List.copyOf(logprobs),
                    List.copyOf(promptLogprobs),
                    stops.found() ? FinishReason.STOP : reason,
                    (prefilled - start) / 1e9,
                    (first - start) / 1e9,
                    (end - first) / 1e9);
        }

        /// Reads the prompt; false if cancelled on the way.
        private boolean prefill() {
            int chunk = workspace.tokens();
            for (int from = 0; from < prompt.length; from += chunk) {
                if (options.cancelled().getAsBoolean()) {
                    return false;
                }
                int many = Math.min(chunk, prompt.length - from);
                turn.lock();
                try {
                    if (options.promptLogprobs()) {
                        score(model.run(prompt, from, many, cache, workspace), from);
                    } else if (from + many < prompt.length) {
                        model.run(prompt, from, many, cache, workspace);
                    } else {
                        predict(prompt, from, many);
                    }
                } finally {
                    turn.unlock();
                }
            }
            return true;
        }

        /// Reads the newest token.
        private void decode() {
            turn.lock();
            try {
                predict(tokens, count - 1, 1);
            } finally {
                turn.unlock();
            }
        }

        private void predict(int[] ids, int from, int many) {
            model.forward(ids, from, many, cache, workspace);
            model.backend().download(workspace.logits(), hostLogits);
            LogitReader.copy(hostLogits, 0, logits);
        }

        private void score(Tensor hidden, int from) {
            try (LogitReader reader = new LogitReader(model, hidden.rows())) {
                reader.read(hidden, 0, hidden.rows(), workspace, (row, scores) -> {
                    int next = from + row + 1;
                    if (next < prompt.length) {
                        promptLogprobs.add(TokenLogprobs.of(scores, prompt[next], Math.max(0, options.logprobs())));
                    } else {
                        System.arraycopy(scores, 0, logits, 0, scores.length);
                    }
                });
            }
        }

        private FinishReason add(int token) {
            tokens[count++] = token;
            sampler.accept(token);
            TokenLogprobs entry = options.logprobs() < 0 ? null : TokenLogprobs.of(logits, token, options.logprobs());
            if (entry != null) {
                logprobs.add(entry);
            }
            listener.token(token, entry);
            if (!options.ignoreEos() && endOfSequence.contains(token)) {
                return FinishReason.EOS;
            }
            if (decoder != null) {
                show(stops.next(decoder.next(token)));
            }
            return stops.found() ? FinishReason.STOP : null;
        }

        private void show(String piece) {
            if (!piece.isEmpty()) {
                text.append(piece);
                listener.text(piece);
            }
        }
    }
}
