package dev.espalier.natives.fake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/// A CUDA runtime without a device, for tests: `cudart.c` beside this class, the few calls of cuBLAS and its like in
/// `libraries.c`, and the kernels' host twins, compiled into one library that [dev.espalier.natives.cuda.CudaLibrary] then finds before any other.
///
/// A library stays loaded as long as the process, so tests with the fake run in a JVM of their own: they are tagged
/// `fake-cuda`, which is an execution of its own in the module's pom. How a twin is declared, `cudart.c` says.
public final class FakeCuda {
    /// What the fake counts.
    public enum Kind {
        DEVICE_MEMORY,
        PINNED_MEMORY,
        STREAM,
        EVENT,
        GRAPH,
        GRAPH_EXEC,
        LIBRARY,
        /// A handle of cuBLAS or one of its like.
        HANDLE,
        /// What such a library was told about a matrix or a product.
        DESCRIPTOR
    }

    private static final String NAME = "libcudart.so.13";
    private static final List<String> LIBRARIES = List.of(
            "libcublas.so.13", "libcublasLt.so.13", "libcusparse.so.12", "libcusparseLt.so.0", "libcusolver.so.12");

    private static Path folder;
    private static SymbolLookup symbols;

    private FakeCuda() {}

    /// Compiles the fake with these twins, once a JVM, and makes it the CUDA runtime. Skips the test where there is no C
    /// compiler, with the reason.
    ///
    /// @param twins C sources, as text; each may include what the C library has
    public static synchronized void install(String... twins) {
        assumeTrue(
                System.getProperty("os.name").equals("Linux")
                        && System.getProperty("os.arch").equals("amd64"),
                "platform: the CUDA bindings are for Linux on x86-64");
        if (folder == null) {
            folder = compile(List.of(twins));
            System.setProperty("espalier.cuda.path", folder.toString());
        }
    }

    private static Path compile(List<String> twins) {
        try {
            Path made = Files.createTempDirectory("espalier-fake-cuda");
            java.lang.Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(made)));
            List<String> command = new ArrayList<>(List.of(
                    compiler(), "-std=gnu11", "-O2", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"));
            command.addAll(
                    List.of("-Wl,-soname," + NAME, "-o", made.resolve(NAME).toString()));
            Files.writeString(made.resolve("cudart.c"), source("cudart.c"));
            command.add(write(made.resolve("libraries.c"), source("libraries.c")));
            for (int i = 0; i < twins.size(); i++) {
                command.add(write(made.resolve("twin" + i + ".c"), twins.get(i)));
            }
            command.addAll(List.of("-ldl", "-lpthread", "-lm"));
            Process process = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(made.resolve("log").toFile())
                    .start();
            if (!process.waitFor(120, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new IllegalStateException("the C compiler did not end within two minutes");
            }
            assertEquals(0, process.exitValue(), Files.readString(made.resolve("log")));
            for (String library : LIBRARIES) {
                Files.createSymbolicLink(made.resolve(library), Path.of(NAME));
            }
            return made;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    private static String compiler() {
        for (String name : List.of("gcc", "cc", "clang")) {
            for (String folder : System.getenv("PATH").split(":")) {
                Path file = Path.of(folder, name);
                if (Files.isExecutable(file)) {
                    return file.toString();
                }
            }
        }
        assumeTrue(false, "C compiler: none of gcc, cc and clang is on the PATH");
        throw new AssertionError();
    }

    private static String source(String name) throws IOException {
        try (InputStream in = FakeCuda.class.getResourceAsStream(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private static String write(Path file, String text) throws IOException {
        Files.writeString(file, text);
        return file.toString();
    }

    private static void delete(Path made) {
        try (Stream<Path> files = Files.walk(made)) {
            files.sorted(Comparator.reverseOrder())
                    .forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// How many objects of a kind live.
    public static long live(Kind kind) {
        return call("fake_live", kind.ordinal());
    }

    /// How many objects of a kind were ever made.
    public static long made(Kind kind) {
        return call("fake_made", kind.ordinal());
    }

    /// How often somebody broke a rule: freed twice, used what was freed, copied or wrote beyond an end, used a wrong handle.
    public static long breaches() {
        return call("fake_breaches");
    }

    /// Forgets the broken rules: for the tests of the counting itself.
    public static void forgive() {
        invoke("fake_forgive", FunctionDescriptor.ofVoid());
    }

    /// How many kernels ran, those of graphs among them.
    public static long launches() {
        return call("fake_launches");
    }

    /// How many times a graph was replayed.
    public static long graphLaunches() {
        return call("fake_graph_launches");
    }

    /// Fails if anything lives or a rule was broken: to be called when everything was closed.
    public static void assertNothingLeft() {
        for (Kind kind : Kind.values()) {
            assertEquals(0, live(kind), "left over: " + kind);
        }
        assertEquals(0, breaches(), "broken rules");
    }

    /// Bounds the device's memory; -1: no bound.
    public static void budget(long bytes) {
        invoke("fake_budget", FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG), bytes);
    }

    /// Pretends that the driver supports this version (13000; 0: no driver) and has this many devices.
    public static void driver(int version, int devices) {
        invoke("fake_driver", FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT), version, devices);
    }

    private static long call(String function, Object... arguments) {
        MemoryLayout[] layouts =
                Stream.of(arguments).map(a -> ValueLayout.JAVA_INT).toArray(MemoryLayout[]::new);
        return (long) invoke(function, FunctionDescriptor.of(ValueLayout.JAVA_LONG, layouts), arguments);
    }

    private static synchronized Object invoke(String function, FunctionDescriptor descriptor, Object... arguments) {
        if (symbols == null) {
            if (folder == null) {
                throw new IllegalStateException("FakeCuda.install comes first");
            }
            symbols = SymbolLookup.libraryLookup(folder.resolve(NAME), java.lang.foreign.Arena.global());
        }
        try {
            return Linker.nativeLinker()
                    .downcallHandle(symbols.findOrThrow(function), descriptor)
                    .invokeWithArguments(arguments);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }
}
