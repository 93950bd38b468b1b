package dev.espalier.kernels.fake;

import dev.espalier.kernels.cuda.KernelFile;
import dev.espalier.natives.fake.FakeCuda;
import dev.espalier.natives.fake.HostCompiler;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/// The kernels' own sources, compiled as C++ for the host and put behind the fake CUDA runtime: what a launch runs is the code
/// that the device would run, thread by thread. `on_host.h` says how.
public final class Twins {
    private static Path whole;

    private Twins() {}

    /// Makes a fake GPU with all our kernels the CUDA runtime of this JVM. Skips the test where there is no C++ compiler.
    public static synchronized void install() {
        if (whole == null) {
            Path library = compile(List.of(KernelFile.values()), source -> source);
            FakeCuda.install();
            FakeCuda.twins(library);
            whole = library;
        }
    }

    /// Replaces the kernels of one file by those of an altered source, for those who load them from now on.
    public static synchronized void alter(KernelFile file, UnaryOperator<String> change) {
        FakeCuda.twins(compile(List.of(file), change));
    }

    /// Brings all kernels back as they are.
    public static synchronized void restore() {
        FakeCuda.twins(whole);
    }

    private static Path compile(List<KernelFile> files, UnaryOperator<String> change) {
        try {
            Path folder = HostCompiler.temporaryFolder("espalier-twins");
            List<List<String>> compilations = new ArrayList<>();
            Path library = folder.resolve("twins.so");
            List<String> link = new ArrayList<>(List.of("-shared", "-static-libstdc++", "-o", library.toString()));
            for (KernelFile file : files) {
                StringBuilder source = new StringBuilder(header()).append(change.apply(file.source()));
                file.entries()
                        .forEach(entry -> source.append("TWIN(").append(entry).append(")\n"));
                String object = folder.resolve(file.baseName() + ".o").toString();
                String text = Files.writeString(folder.resolve(file.baseName() + ".cc"), source)
                        .toString();
                compilations.add(List.of("-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-c", text, "-o", object));
                link.add(object);
            }
            Path log = folder.resolve("log");
            HostCompiler.CPP.run(log, compilations);
            HostCompiler.CPP.run(log, List.of(link));
            return library;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String header() throws IOException {
        try (InputStream in = Twins.class.getResourceAsStream("on_host.h")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8) + "#line 1 \"prelude.cuh\"\n";
        }
    }
}
