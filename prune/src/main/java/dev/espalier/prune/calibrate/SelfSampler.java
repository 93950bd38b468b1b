package dev.espalier.prune.calibrate;

import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.model.Workspace;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.prune.calibrate.CalibrationData.SamplingListener;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/// Text that a model makes up itself, at temperature 1 from its start token on, many windows at a time.
///
/// Where a text ends, the next begins with the start token, in the same window.
final class SelfSampler {
    private static final int MOST_AT_ONCE = 16;
    private static final long MOST_CACHE_BYTES = 512L << 20;

    /// Fewer tokens than this in a window are no text; the limit of time yields.
    private static final int LEAST_TOKENS = 16;

    private final Model model;
    private final Request request;
    private final double limit;
    private final SamplingListener listener;
    private final int start;
    private final long begun = System.nanoTime();
    private final List<int[]> windows = new ArrayList<>();
    private final int wanted;
    private int seqLen;

    /// @param limit seconds after which it stops with what it has
    SelfSampler(Model model, Request request, double limit, SamplingListener listener) {
        this.model = model;
        this.request = request;
        this.limit = limit;
        this.listener = listener;
        this.wanted = request.samples() + request.heldOut();
        this.seqLen = request.seqLen();
        int bos = model.checkpoint().config().path("bos_token_id").asInt(-1);
        this.start = bos >= 0 && bos < model.spec().vocabulary() ? bos : -1;
    }

    CalibrationData sample() {
        long perWindow =
                8L * seqLen * model.spec().blocks() * model.spec().attention().keyWidth();
        int atOnce = Math.clamp(MOST_CACHE_BYTES / perWindow, 1, Math.min(MOST_AT_ONCE, wanted));
        double slowest = 0;
        while (windows.size() < wanted && (windows.isEmpty() || seconds() + slowest < limit)) {
            double before = seconds();
            batch(Math.min(atOnce, wanted - windows.size()));
            slowest = Math.max(slowest, seconds() - before);
        }
        int held = windows.size() == wanted ? request.heldOut() : windows.size() / 11;
        int calibration = windows.size() - held;
        return new CalibrationData(
                "self",
                seqLen,
                request.seed(),
                windows.subList(0, calibration),
                windows.subList(calibration, windows.size()));
    }

    private double seconds() {
        return (System.nanoTime() - begun) / 1e9;
    }

    /// Samples `count` windows together. If the time runs out in the first batch, its windows become shorter.
    private void batch(int count) {
        int vocabulary = model.spec().vocabulary();
        int[][] texts = new int[count][seqLen];
        int[] next = new int[count];
        SplittableRandom[] randoms = new SplittableRandom[count];
        for (int i = 0; i < count; i++) {
            randoms[i] = new SplittableRandom(request.seed() * 0x9e3779b97f4a7c15L + windows.size() + i);
            next[i] = start >= 0 ? start : randoms[i].nextInt(vocabulary);
        }
        KvCache[] caches = new KvCache[count];
        Tensor logits = model.backend().zeros(DType.F32, count, vocabulary);
        try (Workspace workspace = model.newWorkspace(count);
                Scratch scratch = new Scratch()) {
            for (int i = 0; i < count; i++) {
                caches[i] = model.newCache(seqLen);
            }
            Tensor host = scratch.tensor(count, vocabulary);
            float[] row = new float[vocabulary];
            for (int t = 0; t < seqLen; t++) {
                for (int i = 0; i < count; i++) {
                    texts[i][t] = next[i];
                }
                tell(count, t + 1);
                boolean first = windows.isEmpty();
                if (t + 1 == seqLen || first && t + 1 >= LEAST_TOKENS && seconds() > limit) {
                    seqLen = t + 1;
                    break;
                }
                model.logits(model.step(next, caches, workspace), logits, workspace);
                model.backend().download(logits, host);
                for (int i = 0; i < count; i++) {
                    boolean ended = model.endOfSequence().contains(next[i]) && next[i] != start;
                    MemorySegment.copy(
                            host.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i * vocabulary, row, 0, vocabulary);
                    int drawn = draw(row, randoms[i].nextDouble());
                    next[i] = ended && start >= 0 ? start : drawn;
                }
            }
        } finally {
            for (KvCache cache : caches) {
                if (cache != null) {
                    cache.close();
                }
            }
            model.backend().free(logits);
        }
        for (int[] text : texts) {
            windows.add(Arrays.copyOf(text, seqLen));
        }
    }

    private void tell(int count, int tokens) {
        double done = ((double) windows.size() + (double) count * tokens / seqLen) / wanted;
        listener.sampled(Math.min(1, done), Math.min(limit - seconds(), seconds() / done * (1 - done)));
    }

    /// The token at which the probabilities, added up in the order of the ids, pass `point`, 0 to 1.
    private static int draw(float[] logits, double point) {
        float best = Float.NEGATIVE_INFINITY;
        for (float logit : logits) {
            best = Math.max(best, logit);
        }
        if (!Float.isFinite(best)) {
            throw new ArithmeticException("the model's logits are not numbers; its weights are broken");
        }
        double sum = 0;
        for (int id = 0; id < logits.length; id++) {
            logits[id] = (float) Math.exp(logits[id] - best);
            sum += logits[id];
        }
        double left = point * sum;
        int last = 0;
        for (int id = 0; id < logits.length; id++) {
            if (logits[id] > 0) {
                last = id;
                left -= logits[id];
                if (left < 0) {
                    break;
                }
            }
        }
        return last;
    }
}
