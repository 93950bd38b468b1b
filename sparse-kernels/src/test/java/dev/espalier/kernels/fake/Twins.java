package dev.espalier.kernels.fake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.kernels.cuda.KernelFile;
import dev.espalier.natives.fake.FakeCuda;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/// The kernels' own sources, compiled as C++ for the host and put behind the fake CUDA runtime: what a launch runs is the code
/// that the device would run, thread by thread. `on_host.h` says how.
public final class Twins {
    private static boolean installed;

    private Twins() {}

    /// Makes a fake GPU with all our kernels the CUDA runtime of this JVM. Skips the test where there is no C++ compiler.
    public static synchronized void install() {
        if (installed) {
            return;
        }
        try {
            Path folder = Files.createTempDirectory("espalier-twins");
            Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
            List<Process> compilers = new ArrayList<>();
            List<String> objects = new ArrayList<>();
            for (KernelFile file : KernelFile.values()) {
                StringBuilder source = new StringBuilder(header()).append(file.source());
                file.entries()
                        .forEach(entry -> source.append("TWIN(").append(entry).append(")\n"));
                Path cc = Files.writeString(folder.resolve(file.baseName() + ".cc"), source);
                String object = folder.resolve(file.baseName() + ".o").toString();
                objects.add(object);
                compilers.add(start(
                        folder,
                        List.of("-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-c", cc.toString(), "-o", object)));
            }
            for (Process compiler : compilers) {
                await(compiler, folder);
            }
            Path library = folder.resolve("twins.so");
            List<String> link = new ArrayList<>(List.of("-shared", "-static-libstdc++", "-o", library.toString()));
            link.addAll(objects);
            await(start(folder, link), folder);
            FakeCuda.install(doors(library));
            installed = true;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// C functions of the kernels' names that go on into the library.
    private static String doors(Path library) {
        StringBuilder source = new StringBuilder("""
                #include <dlfcn.h>
                #include <stddef.h>
                typedef void twin(const void *const *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, size_t);
                static twin *find(const char *name) {
                    return (twin *) dlsym(dlopen("%s", RTLD_NOW), name);
                }
                """.formatted(library));
        for (KernelFile file : KernelFile.values()) {
            for (String entry : file.entries()) {
                source.append("""
                        void %s(const void *const *args, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f,
                                size_t shared) {
                            static twin *to;
                            if (!to) to = find("%s");
                            to(args, a, b, c, d, e, f, shared);
                        }
                        """.formatted(entry, entry));
            }
        }
        return source.toString();
    }

    private static String header() throws IOException {
        try (InputStream in = Twins.class.getResourceAsStream("on_host.h")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8) + "#line 1 \"prelude.cuh\"\n";
        }
    }

    private static Process start(Path folder, List<String> arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(compiler()));
        command.addAll(arguments);
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(
                        ProcessBuilder.Redirect.appendTo(folder.resolve("log").toFile()))
                .start();
    }

    private static void await(Process process, Path folder) throws IOException {
        try {
            if (!process.waitFor(120, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new IllegalStateException("the C++ compiler did not end within two minutes");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
        assertEquals(0, process.exitValue(), Files.readString(folder.resolve("log")));
    }

    private static String compiler() {
        for (String name : List.of("g++", "c++", "clang++")) {
            for (String folder : System.getenv("PATH").split(":")) {
                Path file = Path.of(folder, name);
                if (Files.isExecutable(file)) {
                    return file.toString();
                }
            }
        }
        assumeTrue(false, "C compiler: none of g++, c++ and clang++ is on the PATH");
        throw new AssertionError();
    }

    private static void delete(Path folder) {
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder())
                    .forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
