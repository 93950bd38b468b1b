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

    private VectorCheck() {}

    /// Whether kernels use vectors; if not, they run scalar code.
    public static boolean compiled() {
        return COMPILED;
    }

    /// Why vectors are off, in one sentence with the remedy; empty if they are on.
    public static Optional<String> problem() {
        return Optional.ofNullable(PROBLEM);
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
