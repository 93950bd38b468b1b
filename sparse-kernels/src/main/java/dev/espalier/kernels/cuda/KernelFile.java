package dev.espalier.kernels.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// The CUDA C++ files beside this class and the kernels that each of them holds.
///
/// What a kernel computes, and how its matrices lie in memory, is said at the head of its file.
public enum KernelFile {
    DENSE_GEMV("dense_gemv_bf16", "dense_gemv_f16"),
    DELTA_GEMV("delta_gemv_bf16", "delta_gemv_f16"),
    DELTA_EXPAND("delta_expand"),
    TWO_FOUR_GEMV("two_four_gemv_bf16", "two_four_gemv_f16"),
    NORM("rms_norm", "layer_norm"),
    ROTARY("angles", "rotate"),
    ATTENTION("attention_split", "attention_merge"),
    ELEMENTWISE("activate", "gate", "add", "softcap"),
    ROWS("gather_f32", "gather_bf16", "gather_f16", "scatter_rows");

    private final List<String> entries;

    KernelFile(String... entries) {
        this.entries = List.of(entries);
    }

    /// Names of the kernels, as they are called in the compiled image.
    public List<String> entries() {
        return entries;
    }

    /// The file's name without its ending.
    public String baseName() {
        return name().toLowerCase(Locale.ROOT);
    }

    /// The whole source: what all kernels share, then the file; nothing is included.
    public String source() {
        String file = baseName() + ".cu";
        return read("prelude.cuh") + "#line 1 \"" + file + "\"\n" + read(file);
    }

    /// The PTX that was made ahead of time for machines without NVRTC; empty if this build has none.
    public Optional<byte[]> ptx() {
        return bytes("ptx/" + baseName() + ".ptx");
    }

    static String read(String name) {
        return new String(
                bytes(name).orElseThrow(() -> new IllegalStateException("this build lacks " + name)),
                StandardCharsets.UTF_8);
    }

    private static Optional<byte[]> bytes(String name) {
        try (InputStream in = KernelFile.class.getResourceAsStream(name)) {
            return in == null ? Optional.empty() : Optional.of(in.readAllBytes());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
