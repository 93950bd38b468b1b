package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.generate.Perplexity;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.model.Model;
import dev.espalier.tools.bench.DecodeStep;
import dev.espalier.tools.bench.PairedTiming;
import dev.espalier.tools.bench.PrefillPass;
import java.util.List;

/// A dense model and its pruned self, side by side.
///
/// @param speedup of a decoded token, the median of paired ratios
/// @param readGbPerSecond memory bandwidth, measured between the timings
record Comparison(Side dense, Side sparse, PairedTiming speedup, double readGbPerSecond) {
    private static final int ROUNDS = 7;
    private static final double SECONDS = 0.25;

    /// One of the two.
    ///
    /// @param weightBytes what a decoded token reads
    record Side(double perplexity, double decodeTokensPerSecond, double prefillTokensPerSecond, long weightBytes) {
        ObjectNode putInto(ObjectNode document, String name) {
            ObjectNode side = document.putObject(name);
            OutputOptions.put(side, "perplexity", perplexity);
            return side.put("decode_tokens_per_s", decodeTokensPerSecond)
                    .put("prefill_tokens_per_s", prefillTokensPerSecond)
                    .put("weight_bytes", weightBytes);
        }
    }

    /// Times both, alternating; the perplexities were measured before.
    static Comparison of(
            Model dense, double densePerplexity, Model sparse, double sparsePerplexity, CpuBackend backend) {
        double[] read = new double[ROUNDS];
        try (Bandwidth bandwidth = new Bandwidth();
                DecodeStep denseStep = new DecodeStep(dense);
                DecodeStep sparseStep = new DecodeStep(sparse);
                PrefillPass densePrefill = new PrefillPass(dense);
                PrefillPass sparsePrefill = new PrefillPass(sparse)) {
            bandwidth.measure(backend.workers());
            List<PairedTiming> steps = PairedTiming.of(
                    List.of(denseStep, sparseStep),
                    ROUNDS,
                    SECONDS,
                    round -> read[round - 1] = bandwidth.measure(backend.workers()));
            List<PairedTiming> prefills =
                    PairedTiming.of(List.of(densePrefill, sparsePrefill), 3, SECONDS, round -> {});
            return new Comparison(
                    side(dense, densePerplexity, steps.get(0), prefills.get(0), densePrefill.tokens()),
                    side(sparse, sparsePerplexity, steps.get(1), prefills.get(1), sparsePrefill.tokens()),
                    steps.get(1),
                    PairedTiming.median(read));
        }
    }

    private static Side side(Model model, double perplexity, PairedTiming step, PairedTiming prefill, int tokens) {
        return new Side(perplexity, 1 / step.seconds(), tokens / prefill.seconds(), model.weightBytes());
    }

    /// The perplexity of `model` on all windows of `tokens`.
    static double perplexity(Model model, int[] tokens, int seqLen, int windows, OutputOptions output, String which) {
        int total = Math.max(1, tokens.length / seqLen);
        try (Progress progress =
                output.progress("perplexity, " + which, windows == 0 ? total : Math.min(total, windows))) {
            return Perplexity.of(model, tokens, seqLen, windows, Perplexity.Path.PREFILL, progress::at)
                    .perplexity();
        }
    }
}
