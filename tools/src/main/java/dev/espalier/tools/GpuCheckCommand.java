package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cuda.KernelImages;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.tensor.InputException;
import dev.espalier.tools.gpu.GpuCheck;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `espalier gpu-check`: every GPU path once, against the CPU and, where it is there, PyTorch.
@Command(
        name = "gpu-check",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Checks every GPU path against the CPU, and measures what sparse kernels gain.",
        description = {
            "",
            "Parts: (a) every kernel and library call against the CPU; (b) one token through LLaMA's layers in every format;"
                    + " (c) many tokens; (d) the same by PyTorch, where python3 has it; (e) Cholesky, inverse, syrk."
                    + " Each ends within 8 minutes, all within 18. A library that is missing is reported as absent, and what"
                    + " needs it is left out.",
            ""
        },
        footer = {
            "",
            "Examples:",
            "  espalier gpu-check --out RESULTS",
            "  espalier gpu-check --out RESULTS --only a,b",
        })
final class GpuCheckCommand implements Callable<Integer> {
    @Option(
            names = "--out",
            paramLabel = "DIR",
            required = true,
            description = "Where gpu-check.json and gpu-check.md go; made if it is not there.")
    private Path out;

    @Option(
            names = "--only",
            paramLabel = "a,b,c,d,e",
            split = ",",
            defaultValue = "a,b,c,d,e",
            description = "Which parts. Default: ${DEFAULT-VALUE}.")
    private List<String> only;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() throws IOException {
        for (String letter : only) {
            if (!GpuCheck.letters().contains(letter)) {
                throw new InputException("--only: there is no part '" + letter + "'; parts are "
                        + String.join(", ", GpuCheck.letters()) + ".");
            }
        }
        Cuda cuda = Cuda.probe();
        if (!cuda.usable()) {
            throw new InputException("gpu-check needs a GPU: " + cuda.whyNot().orElse("there is none") + ".");
        }
        if (Files.exists(out) && !Files.isDirectory(out)) {
            throw new InputException("--out: " + out + " is a file; name a folder.");
        }
        Files.createDirectories(out);
        Path cache = KernelImages.defaultCache(System.getenv(), System.getProperty("user.home"));
        for (CudaLibrary library : CudaLibrary.values()) {
            library.warning().ifPresent(warning -> output.note("warning: %s", warning));
        }
        ObjectNode document = new GpuCheck().run(cuda, out, cache, only, line -> output.note("%s", line));
        boolean failed = GpuCheck.failed(document);
        output.print(
                "%s: %s, see %s",
                document.path("device").asText(),
                failed ? "something is wrong" : "all that was checked is right",
                out.resolve("gpu-check.md"));
        output.document(document);
        return failed ? Espalier.FAILED : Espalier.DONE;
    }
}
