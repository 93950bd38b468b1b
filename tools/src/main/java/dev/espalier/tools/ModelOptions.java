package dev.espalier.tools;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.DenseInt8;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tools.bench.Formats;
import java.util.Locale;
import picocli.CommandLine.Option;

/// How a model is loaded: the options that all verbs which compute share.
final class ModelOptions {
    /// The element types that weights can be kept in.
    enum Type {
        AUTO(null),
        F32(DType.F32),
        BF16(DType.BF16),
        F16(DType.F16);

        private final DType dtype;

        Type(DType dtype) {
            this.dtype = dtype;
        }

        /// Null: as they are stored.
        DType dtype() {
            return dtype;
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    @Option(
            names = "--device",
            paramLabel = "auto|cpu|cuda",
            defaultValue = "auto",
            description = "Where to compute. Default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads to compute with; results do not depend on it. Default: the processors allowed.")
    private Integer threads;

    @Option(
            names = "--dtype",
            paramLabel = "auto|f32|bf16|f16",
            defaultValue = "auto",
            description = "The type that weights are kept in; arithmetic is float32. Default: as they are stored.")
    private Type dtype;

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            defaultValue = "auto",
            description =
                    "How linear layers lie in memory: auto, dense, bitmask, swell, csr, or an N:M pattern such as 2:4;"
                            + " with -int8 behind it (dense-int8, bitmask-int8, swell-int8, 2:4-int8) rounded to 8 bits."
                            + " Default: what suits each layer's zeros and measures fastest here, without rounding.")
    private String format;

    @Option(
            names = "--head",
            paramLabel = "dense|int8",
            defaultValue = "dense",
            description =
                    "How the output head, which is never pruned, lies in memory: int8 rounds it to 8 bits, which halves"
                            + " what it costs a token to read. Files are not changed by it. Default: ${DEFAULT-VALUE}.")
    private String head;

    /// The element type that was asked for, null for the stored one.
    DType dtype() {
        return dtype.dtype();
    }

    String format() {
        return format;
    }

    /// The choice of formats that was asked for.
    FormatChoice formats(CpuBackend backend) {
        return Formats.named(format, "--format " + format, backend);
    }

    /// The head's format that was asked for, null for the model's own.
    WeightFormat head() {
        return head.equals("int8") ? DenseInt8.of() : null;
    }

    /// The number of threads that was asked for, or `otherwise`.
    ///
    /// @throws InputException if it is not positive
    int threads(int otherwise) {
        if (threads == null) {
            return otherwise;
        }
        if (threads < 1 || threads > 1024) {
            throw new InputException("--threads " + threads + ": it must be 1 to 1024.");
        }
        return threads;
    }

    /// Refuses a device or a format that is not there.
    ///
    /// @throws InputException if `--device` or `--format` is not usable
    void check() {
        Formats.check(format, "--format " + format);
        if (!head.equals("dense") && !head.equals("int8")) {
            throw new InputException("--head " + head + ": it must be dense or int8.");
        }
        switch (device) {
            case "auto", "cpu" -> {}
            case "cuda" ->
                throw new InputException("--device cuda"
                        + Cuda.probe()
                                .whyNot()
                                .map(why -> " needs a usable GPU: " + why)
                                .orElse(": this version computes models on the CPU only")
                        + "; leave the option out, or say cpu.");
            default -> throw new InputException("--device " + device + ": it must be auto, cpu or cuda.");
        }
    }
}
