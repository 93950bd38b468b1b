package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.blas.Blas;
import dev.espalier.tools.bench.PairedTiming;
import java.util.ArrayList;
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
    private static final List<String> CUDA =
            List.of("cudart", "cublas", "cublasLt", "cusparse", "cusparseLt", "cusolver", "nvrtc");
    private static final String NO_GPU = "This version computes on the CPU only; it looks for no GPU.";

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        ObjectNode document = JsonNodeFactory.instance.objectNode();
        ObjectNode cpu = document.putObject("cpu");
        int cores = CpuBackend.defaultThreads();
        cpu.put("cores", cores)
                .put("vector_bits", CompilerHints.vectorBits())
                .put("read_gb_per_s", bandwidth(cores))
                .put("vectors_why_not", VectorCheck.problem().orElse(null));
        ArrayNode libraries = document.putArray("libraries");
        for (String name : CUDA) {
            add(libraries, NativeLibrary.absent(name, NO_GPU));
        }
        add(libraries, Blas.library());
        document.putArray("gpus");
        document.put("gpu_why_not", NO_GPU);
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

    private static void add(ArrayNode libraries, NativeLibrary library) {
        libraries
                .addObject()
                .put("name", library.name())
                .put("found", library.found())
                .put("where", library.where().map(Object::toString).orElse(null))
                .put("version", (String) null)
                .put("why_not", library.found() ? null : library.whyNot().orElse(null));
    }

    private void print(ObjectNode document) {
        output.print(
                "CPU: %d processors, vectors of %d bits, memory reads at %s GB/s",
                document.at("/cpu/cores").asInt(),
                document.at("/cpu/vector_bits").asInt(),
                Units.number(document.at("/cpu/read_gb_per_s").asDouble()));
        VectorCheck.problem().ifPresent(problem -> output.print("Vectors: %s", problem));
        List<String> unused = new ArrayList<>();
        document.path("libraries").forEach(library -> {
            String name = library.path("name").asText();
            if (library.path("found").asBoolean()) {
                output.print("%s: %s", name, library.path("where").asText());
            } else if (CUDA.contains(name)) {
                unused.add(name);
            } else {
                output.print(
                        "%s: not found, a slower twin in Java is used. %s",
                        name, library.path("why_not").asText());
            }
        });
        output.print("GPU: none. %s", document.path("gpu_why_not").asText());
        output.print("Not used: %s", String.join(", ", unused));
    }
}
