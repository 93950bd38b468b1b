package dev.espalier.generate;

import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.model.Workspace;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.function.IntConsumer;

/// How well a model predicts a text: exp of the mean negative log-likelihood of a token.
///
/// The field's standard protocol: the text is tokenized once, special tokens at its start only; windows of `seqLen`
/// tokens are cut from it, one after another, the last partial one dropped; each is read from position 0 and predicts
/// its tokens 2 to n; the mean runs over all predicted tokens.
///
/// @param perplexity exp of the mean of `windowNll`
/// @param tokens tokens of the whole text
/// @param windows windows that were read
/// @param seqLen tokens of a window
/// @param windowNll the mean negative log-likelihood of each window, in nats per predicted token
/// @param seconds the time it took
@SuppressWarnings("ArrayRecordComponent")
public record Perplexity(double perplexity, long tokens, int windows, int seqLen, double[] windowNll, double seconds) {
    private static final int CHUNK = 512;

    /// Which kernels compute it.
    public enum Path {
        /// Many tokens at once.
        PREFILL,
        /// Token by token.
        DECODE
    }

    /// The perplexity of `model` on the text `tokens`.
    ///
    /// @param seqLen tokens of a window, at least 2 and at most the model's context
    /// @param maxWindows stops after so many windows; 0 = all
    /// @param progress hears the number of windows done
    /// @throws InputException if `seqLen` does not fit the model or the text is shorter than one window
    /// @throws ArithmeticException if the model's logits are not numbers
    public static Perplexity of(
            Model model, int[] tokens, int seqLen, int maxWindows, Path path, IntConsumer progress) {
        int context = model.spec().context();
        if (seqLen < 2 || seqLen > context) {
            throw new InputException("seq-len %d: it must be 2 to the model's context, %d".formatted(seqLen, context));
        }
        if (maxWindows < 0) {
            throw new InputException("windows " + maxWindows + ": it must be 0 (all) or more");
        }
        int windows = tokens.length / seqLen;
        if (windows == 0) {
            throw new InputException(
                    "the text has %d tokens, fewer than one window of %d; give a longer text or a smaller seq-len"
                            .formatted(tokens.length, seqLen));
        }
        for (int id : tokens) {
            if (id < 0 || id >= model.spec().vocabulary()) {
                throw new InputException(
                        "token id %d of the text is not in the model's vocabulary of %d; is the tokenizer another model's?"
                                .formatted(id, model.spec().vocabulary()));
            }
        }
        windows = maxWindows == 0 ? windows : Math.min(windows, maxWindows);
        long start = System.nanoTime();
        double[] nll = new double[windows];
        int chunk = path == Path.DECODE ? 1 : Math.min(CHUNK, seqLen);
        try (KvCache cache = model.newCache(seqLen);
                Workspace workspace = model.newWorkspace(chunk);
                LogitReader reader = new LogitReader(model, chunk)) {
            for (int window = 0; window < windows; window++) {
                cache.truncate(0);
                nll[window] = window(model, tokens, window * seqLen, seqLen, chunk, cache, workspace, reader);
                progress.accept(window + 1);
            }
        }
        double mean = Arrays.stream(nll).sum() / windows;
        return new Perplexity(Math.exp(mean), tokens.length, windows, seqLen, nll, (System.nanoTime() - start) / 1e9);
    }

    private static double window(
            Model model,
            int[] tokens,
            int first,
            int seqLen,
            int chunk,
            KvCache cache,
            Workspace workspace,
            LogitReader reader) {
        double[] sum = {0};
        int predicting = seqLen - 1;
        for (int at = 0; at < predicting; at += chunk) {
            int from = first + at;
            int count = Math.min(chunk, predicting - at);
            Tensor hidden = model.run(tokens, from, count, cache, workspace);
            reader.read(hidden, 0, count, workspace, (row, logits) -> {
                double loss = TokenLogprobs.logSumExp(logits, 0, logits.length) - logits[tokens[from + row + 1]];
                if (!Double.isFinite(loss)) {
                    throw new ArithmeticException(
                            "the loss of token %d of the text is %s; the model's weights are broken"
                                    .formatted(from + row + 1, loss));
                }
                sum[0] += loss;
            });
        }
        return sum[0] / predicting;
    }
}
