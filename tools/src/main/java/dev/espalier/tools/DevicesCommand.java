package dev.espalier.tools;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.blas.Blas;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.os.Cpu;
import dev.espalier.tools.bench.PairedTiming;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `espalier devices`: what this machine offers, and what is missing and how to get it.
@Command(
        name = "devices",
        mixinStandardHelpOptions = true,
        header = "Says what this machine offers: processors, vectors, memory bandwidth, native libraries, GPUs.",
        footer = {"", "Examples:", "  espalier devices", "  espalier devices --json"})
final class DevicesCommand implements Callable<Integer> {
    private static final List<CudaLibrary> CUDA = List.of(
            CudaLibrary.CUDART,
            CudaLibrary.CUBLAS,
            CudaLibrary.CUBLASLT,
            CudaLibrary.CUSPARSE,
            CudaLibrary.CUSPARSELT,
            CudaLibrary.CUSOLVER,
            CudaLibrary.NVRTC);

    /// Python's packages of the libraries, which hold nothing of Python.
    private static final List<String> WHEELS = List.of(
            "nvidia-cuda-runtime",
            "nvidia-cuda-nvrtc",
            "nvidia-cublas",
            "nvidia-cusparse",
            "nvidia-cusparselt-cu13",
            "nvidia-cusolver",
            "nvidia-nvjitlink");

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        ObjectNode document = JsonNodeFactory.instance.objectNode();
        ObjectNode cpu = document.putObject("cpu");
        int cores = Cpu.allowed();
        boolean vectors = !VectorCheck.moduleMissing();
        cpu.put("cores", cores)
                .put("vector_bits", vectors ? (Integer) CompilerHints.vectorBits() : null)
                .put("read_gb_per_s", vectors ? (Double) bandwidth(cores) : null)
                .put("vectors_why_not", VectorCheck.problem().orElse(null));
        ArrayNode libraries = document.putArray("libraries");
        for (CudaLibrary library : CUDA) {
            add(libraries, library.library(), library.version().orElse(null))
                    .put("warning", library.warning().orElse(null));
        }
        add(libraries, Blas.library(), null);
        Cuda cuda = Cuda.probe();
        ArrayNode gpus = document.putArray("gpus");
        for (Cuda.Device gpu : cuda.devices()) {
            gpus.addObject()
                    .put("name", gpu.name())
                    .put("compute_capability", gpu.computeCapability())
                    .put("memory_bytes", gpu.memoryBytes());
        }
        document.put("gpu_why_not", cuda.whyNot().orElse(null));
        print(document);
        output.document(document);
        return Espalier.DONE;
    }

    private static double bandwidth(int threads) {
        try (Bandwidth bandwidth = new Bandwidth();
                Workers workers = new Workers(threads)) {
            double[] readings = new double[7];
            bandwidth.measure(workers);
            for (int i = 0; i < readings.length; i++) {
                readings[i] = bandwidth.measure(workers);
            }
            return PairedTiming.median(readings);
        }
    }

    private static ObjectNode add(ArrayNode libraries, NativeLibrary library, String version) {
        return libraries
                .addObject()
                .put("name", library.name())
                .put("found", library.found())
                .put("where", library.where().map(Object::toString).orElse(null))
                .put("version", version)
                .put("why_not", library.found() ? null : library.whyNot().orElse(null));
    }

    private void print(ObjectNode document) {
        if (document.at("/cpu/vector_bits").isNull()) {
            output.print("CPU: %d processors", document.at("/cpu/cores").asInt());
        } else {
            output.print(
                    "CPU: %d processors, vectors of %d bits, memory reads at %s GB/s",
                    document.at("/cpu/cores").asInt(),
                    document.at("/cpu/vector_bits").asInt(),
                    Units.number(document.at("/cpu/read_gb_per_s").asDouble()));
        }
        VectorCheck.warning().ifPresent(warning -> output.print("Vectors: %s", warning));
        document.path("libraries").forEach(this::printLibrary);
        for (CudaLibrary library : CUDA) {
            library.warning().ifPresent(warning -> output.print("warning: %s", warning));
            library.library().rejected().forEach(rejected -> output.print("cannot be used: %s", rejected));
        }
        List<NativeLibrary> missing = CUDA.stream()
                .map(CudaLibrary::library)
                .filter(library -> !library.found())
                .toList();
        if (!missing.isEmpty()) {
            output.print(
                    "CUDA libraries not found: %s.",
                    String.join(", ", missing.stream().map(NativeLibrary::name).toList()));
            output.print("  %s", missing.getFirst().searchedPlaces());
            output.print("  to have them: pip install %s", String.join(" ", WHEELS));
            output.print("  or a CUDA 13 toolkit; ESPALIER_CUDA_PATH names a folder that they are in.");
        }
        document.path("gpus").forEach(gpu -> {
            output.print(
                    "GPU: %s, compute capability %s, %s",
                    gpu.path("name").asText(),
                    gpu.path("compute_capability").asText(),
                    Units.bytes(gpu.path("memory_bytes").asLong()));
        });
        Cuda cuda = Cuda.probe();
        cuda.whyNot().ifPresent(why -> output.print("GPU: none that is usable: %s.", why));
        if (cuda.usable()) {
            output.print("Models are computed on the CPU: this version does not use the GPU for them yet.");
        }
    }

    private void printLibrary(JsonNode library) {
        String name = library.path("name").asText();
        if (library.path("found").asBoolean()) {
            String version = library.path("version").isNull()
                    ? ""
                    : " " + library.path("version").asText();
            output.print("%s%s: %s", name, version, library.path("where").asText());
        } else if (name.equals("openblas")) {
            output.print(
                    "%s: not found, a slower twin in Java is used. %s",
                    name, library.path("why_not").asText());
        }
    }
}
