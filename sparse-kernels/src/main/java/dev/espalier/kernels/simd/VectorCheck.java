package dev.espalier.kernels.simd;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/// Tells whether vector code is worth running in this virtual machine, and if not, why not.
///
/// The Vector API is ordinary Java until HotSpot's C2 replaces it by instructions; without that it is a hundred times
/// slower than a scalar loop. This class itself does not touch the API, so it can be asked where the module is missing.
public final class VectorCheck {
    private static final String PROBLEM = find();
    private static final boolean COMPILED = PROBLEM == null;
    private static final boolean EXPANDS_SHORTS = COMPILED && expandsShorts();

    /// Below this, C2 may leave the end of a large kernel with vectors as objects; see [#warning].
    private static final long TRAPS = 10_000;

    private VectorCheck() {}

    /// Whether kernels use vectors; if not, they run scalar code.
    public static boolean compiled() {
        return COMPILED;
    }

    /// Why vectors are off, in one sentence with the remedy; empty if they are on.
    public static Optional<String> problem() {
        return Optional.ofNullable(PROBLEM);
    }

    /// What a user should know of vectors here, in one sentence with the remedy: why they are off, or why they may be slow.
    ///
    /// While C2 compiles a method it adds up the traps of one kind that the methods that it inlines have met, each as often
    /// as it is inlined; from `PerMethodTrapLimit` on, 100 by itself, it no longer trusts what it knows of a call's receiver.
    /// A kernel inlines the same few methods of the Vector API hundreds of times.
    public static Optional<String> warning() {
        String limit = COMPILED ? CompilerHints.option("PerMethodTrapLimit") : null;
        return limit == null || Long.parseLong(limit) >= TRAPS
                ? problem()
                : Optional.of("kernels may be several times slower in some starts than in others: start Java with"
                        + " -XX:PerMethodTrapLimit=100000, as ./espalier does");
    }

    /// Whether spreading packed 16-bit values over the set lanes of a mask is one instruction (AVX-512 VBMI2). HotSpot
    /// emulates it where it is not, which is slower than scalar code.
    static boolean expandsShorts() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
                if (line.startsWith("flags")) {
                    return line.contains(" avx512_vbmi2");
                }
            }
        } catch (IOException e) {
            return true;
        }
        return false;
    }

    /// Whether [jdk.incubator.vector.ShortVector#expand] is fast with vectors of 512 bits.
    public static boolean shortExpand() {
        return EXPANDS_SHORTS;
    }

    /// Whether the API's module is not even there: then most classes of this package cannot be loaded.
    public static boolean moduleMissing() {
        return ModuleLayer.boot().findModule("jdk.incubator.vector").isEmpty();
    }

    private static String find() {
        if (moduleMissing()) {
            return "the module jdk.incubator.vector is missing: start Java with --add-modules jdk.incubator.vector";
        }
        if (System.getProperty("java.vm.info", "").contains("interpreted")) {
            return "vectors are off, scalar code runs: the virtual machine only interprets; start Java without -Xint";
        }
        String tier = CompilerHints.option("TieredStopAtLevel");
        if (tier == null) {
            return "vectors are off, scalar code runs: " + System.getProperty("java.vm.name")
                    + " does not say whether it compiles them; use a HotSpot virtual machine";
        }
        if (Integer.parseInt(tier) < 4) {
            return "vectors are off, scalar code runs: the virtual machine is told to stop at compiler level " + tier
                    + "; start Java without -XX:TieredStopAtLevel";
        }
        if ("false".equals(CompilerHints.option("EnableVectorSupport"))) {
            return "vectors are off, scalar code runs: start Java without -XX:-EnableVectorSupport";
        }
        return null;
    }
}
