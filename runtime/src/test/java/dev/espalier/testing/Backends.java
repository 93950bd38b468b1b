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

    /// The same with one thread, for long runs token by token: on a busy machine, handing each small step to another
    /// thread costs far more than it saves, and the results are the same.
    public static Backend serial() {
        return new CpuBackend(1);
    }
}
