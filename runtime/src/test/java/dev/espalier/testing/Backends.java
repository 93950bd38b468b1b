package dev.espalier.testing;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.cpu.CpuBackend;

/// The backends that models are tested on.
public final class Backends {
    private Backends() {}

    /// The one that users run, with two threads.
    public static Backend cpu() {
        return new CpuBackend(2);
    }
}
