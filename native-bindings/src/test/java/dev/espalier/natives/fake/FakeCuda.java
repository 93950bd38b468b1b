package dev.espalier.natives.fake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/// A CUDA runtime without a device, for tests: `cudart.c` beside this class, and the few calls of cuBLAS and its like and of
/// NVRTC in `libraries.c`, compiled with the kernels' host twins into one library, which
/// [dev.espalier.natives.cuda.CudaLibrary] then finds before any other.
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
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcusparse.so.12",
            "libcusparseLt.so.0",
            "libcusolver.so.12",
            "libnvrtc.so.13");

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
            Path made = HostCompiler.temporaryFolder("espalier-fake-cuda");
            List<String> arguments = new ArrayList<>(
                    List.of("-std=gnu11", "-O1", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"));
            arguments.addAll(
                    List.of("-Wl,-soname," + NAME, "-o", made.resolve(NAME).toString()));
            Files.writeString(made.resolve("cudart.c"), source("cudart.c"));
            arguments.add(write(made.resolve("libraries.c"), source("libraries.c")));
            for (int i = 0; i < twins.size(); i++) {
                arguments.add(write(made.resolve("twin" + i + ".c"), twins.get(i)));
            }
            arguments.addAll(List.of("-ldl", "-lpthread", "-lm"));
            HostCompiler.C.run(made.resolve("log"), List.of(arguments));
            for (String library : LIBRARIES) {
                Files.createSymbolicLink(made.resolve(library), Path.of(NAME));
            }
            return made;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
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

    /// Looks for kernels in this shared library before its own, from now on; `cudart.c` says what it may hold.
    public static void twins(Path library) {
        try (Arena arena = Arena.ofConfined()) {
            assertEquals(1, number("fake_twins", arena.allocateFrom(library.toString())), library + " does not load");
        }
    }

    /// How many objects of a kind live.
    public static long live(Kind kind) {
        return number("fake_live", kind.ordinal());
    }

    /// How many objects of a kind were ever made.
    public static long made(Kind kind) {
        return number("fake_made", kind.ordinal());
    }

    /// How often somebody broke a rule: freed twice, used what was freed, copied or wrote beyond an end, used a wrong handle.
    public static long breaches() {
        return number("fake_breaches");
    }

    /// Forgets the broken rules: for the tests of the counting itself.
    public static void forgive() {
        invoke("fake_forgive", null);
    }

    /// How many kernels ran, those of graphs among them.
    public static long launches() {
        return number("fake_launches");
    }

    /// How many of them could begin before the one in front of them ended; those that were recorded count when they were recorded.
    public static long earlyLaunches() {
        return number("fake_early_launches");
    }

    /// How many times a graph was replayed.
    public static long graphLaunches() {
        return number("fake_graph_launches");
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
        invoke("fake_budget", null, bytes);
    }

    /// Pretends that the driver supports this version (13000; 0: no driver) and has this many devices.
    public static void driver(int version, int devices) {
        invoke("fake_driver", null, version, devices);
    }

    /// Pretends that the device has this compute capability, 90 for 9.0.
    public static void architecture(int number) {
        invoke("fake_architecture", null, number);
    }

    /// Pretends that cuSPARSELt is 0.8.`patch`.
    public static void cuSparseLt(int patch) {
        invoke("fake_cusparselt", null, patch);
    }

    /// Lets the device's clock run by what is done, so many nanoseconds each time: what is measured can be foretold. All 0:
    /// it shows the real time again.
    ///
    /// @param kernel for a kernel
    /// @param call for a call of cuBLAS or one of its like that computes
    /// @param kibibyte for 1024 bytes copied or filled
    public static void clock(long kernel, long call, long kibibyte) {
        invoke("fake_clock", null, kernel, call, kibibyte);
    }

    /// What the device's clock shows, in nanoseconds, while [#clock] rules it.
    public static long now() {
        return number("fake_now");
    }

    private static long number(String function, Object... arguments) {
        return ((Number) invoke(function, ValueLayout.JAVA_LONG, arguments)).longValue();
    }

    private static synchronized Object invoke(String function, MemoryLayout result, Object... arguments) {
        if (symbols == null) {
            if (folder == null) {
                throw new IllegalStateException("FakeCuda.install comes first");
            }
            symbols = SymbolLookup.libraryLookup(folder.resolve(NAME), Arena.global());
        }
        MemoryLayout[] layouts = Stream.of(arguments)
                .map(argument -> switch (argument) {
                    case Integer i -> ValueLayout.JAVA_INT;
                    case Long l -> ValueLayout.JAVA_LONG;
                    default -> ValueLayout.ADDRESS;
                })
                .toArray(MemoryLayout[]::new);
        FunctionDescriptor descriptor =
                result == null ? FunctionDescriptor.ofVoid(layouts) : FunctionDescriptor.of(result, layouts);
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
