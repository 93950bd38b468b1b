package dev.espalier.tools.gpu;

import dev.espalier.kernels.cuda.KernelChecks.Extent;
import dev.espalier.natives.cuda.Cuda;
import java.util.List;

/// What is checked and measured.
///
/// @param layers weight matrices of parts (b) to (d)
/// @param tokens how many tokens a product of part (c) has
/// @param orders of the symmetric matrices of part (e)
/// @param checks the shapes of part (a)
/// @param copyBytes what is copied to find the device's bandwidth
/// @param workingSet weights that one turn of part (b) reads, in bytes: more than any of a GPU's caches holds
/// @param launches of one turn of part (b), at least
record Workload(
        List<Shapes> layers,
        List<Integer> tokens,
        List<Integer> orders,
        Extent checks,
        int copyBytes,
        long workingSet,
        int launches) {
    /// The layers of LLaMA-7B and 13B.
    static final Workload LLAMA = new Workload(
            List.of(
                    new Shapes("7B q, k, v, o", 4096, 4096),
                    new Shapes("7B gate, up", 11008, 4096),
                    new Shapes("7B down", 4096, 11008),
                    new Shapes("13B q, k, v, o", 5120, 5120),
                    new Shapes("13B gate, up", 13824, 5120),
                    new Shapes("13B down", 5120, 13824)),
            List.of(512, 4096),
            List.of(4096, 11008),
            Extent.MODELS,
            1 << 29,
            256L << 20,
            32);

    /// What a device computes that is hardly one.
    static final Workload SMALL = new Workload(
            List.of(new Shapes("small up", 64, 48), new Shapes("small down", 32, 80)),
            List.of(16, 32),
            List.of(16, 40),
            Extent.FEW,
            1 << 20,
            10_000,
            2);

    private static final int FEW_MULTIPROCESSORS = 16;

    static Workload of(Cuda.Device device) {
        return device.multiprocessors() < FEW_MULTIPROCESSORS ? SMALL : LLAMA;
    }
}
