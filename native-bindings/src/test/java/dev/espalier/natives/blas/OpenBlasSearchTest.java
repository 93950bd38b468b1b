package dev.espalier.natives.blas;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.NativeLibrary.Source;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OpenBlasSearchTest {
    @TempDir
    Path temp;

    @Test
    void placesAreTriedInTheirDocumentedOrder() {
        Properties properties = system();
        properties.setProperty(OpenBlasSearch.PROPERTY, "/by/property");
        Map<String, String> env = Map.of(OpenBlasSearch.VARIABLE, "/by/variable", "LD_LIBRARY_PATH", "/one:/two");
        assertEquals(
                List.of(
                        "ESPALIER_OPENBLAS_PATH=/by/variable",
                        "-Despalier.openblas.path=/by/property",
                        "LD_LIBRARY_PATH",
                        "the jar that comes with Espalier",
                        "the system's folders"),
                OpenBlasSearch.sources(env, properties).stream()
                        .map(Source::place)
                        .toList());
    }

    @Test
    void aTextFileNamedLikeTheLibraryIsSkippedWithTheLoadersReason() throws Exception {
        assumeLinux();
        Path broken = Files.createDirectories(temp.resolve("broken"));
        Files.writeString(broken.resolve("libopenblas.so.0"), "this is no library\n".repeat(100));
        NativeLibrary library = OpenBlasSearch.load(
                Map.of("LD_LIBRARY_PATH", broken + File.pathSeparator + temp.resolve("nothing-here")), system());
        assertTrue(library.found(), library.toString());
        assertEquals("the jar that comes with Espalier", library.origin().orElseThrow());
        assertEquals(1, library.rejected().size());
        assertTrue(
                library.whyNot().orElseThrow().contains("invalid ELF header"),
                library.whyNot().orElseThrow());
        assertTrue(
                library.whyNot().orElseThrow().contains(broken.toString()),
                library.whyNot().orElseThrow());
    }

    @Test
    void anotherLibraryUnderTheNameIsRejectedForWhatItLacks() throws Exception {
        assumeLinux();
        Path other = Files.createDirectories(temp.resolve("other"));
        Path real = Path.of(System.getProperty("java.home"), "lib", "libnet.so");
        assumeTrue(Files.exists(real), "platform: the JDK's libnet.so is not where it was looked for");
        Files.createSymbolicLink(other.resolve("libopenblas.so.0"), real);
        NativeLibrary library = NativeLibrary.load(
                "openblas",
                OpenBlasSearch.REQUIRED,
                List.of(Source.folders("a folder", List.of(other), OpenBlasSearch.FILE_NAMES)));
        assertFalse(library.found());
        String why = library.whyNot().orElseThrow();
        assertTrue(why.contains("has no function openblas_set_num_threads"), why);
    }

    @Test
    void nothingFoundSaysWhereItLooked() {
        NativeLibrary library = NativeLibrary.load(
                "openblas",
                OpenBlasSearch.REQUIRED,
                List.of(
                        Source.explicit(
                                "ESPALIER_OPENBLAS_PATH", temp.resolve("x").toString(), List.of("a.so")),
                        Source.searchPath("LD_LIBRARY_PATH", temp.toString(), List.of("a.so"))));
        assertFalse(library.found());
        assertTrue(library.where().isEmpty());
        assertEquals(
                "not in ESPALIER_OPENBLAS_PATH=" + temp.resolve("x") + " (no such file), LD_LIBRARY_PATH",
                library.whyNot().orElseThrow());
    }

    @Test
    void elsewhereThanOnLinuxItIsAbsentWithAReason() {
        Properties properties = system();
        properties.setProperty("os.name", "Mac OS X");
        NativeLibrary library = OpenBlasSearch.load(Map.of(), properties);
        assertFalse(library.found());
        assertTrue(
                library.whyNot().orElseThrow().contains("Mac OS X"),
                library.whyNot().orElseThrow());
    }

    @Test
    void theVariableMayNameAFolderAndWinsOverTheLoadersPath() throws Exception {
        assumeLinux();
        NativeLibrary bundled = Blas.library();
        assumeTrue(bundled.found(), "openblas: " + bundled.whyNot().orElse(""));
        Path folder = bundled.where().orElseThrow().getParent();
        Map<String, String> env = new HashMap<>();
        env.put(OpenBlasSearch.VARIABLE, folder.toString());
        env.put("LD_LIBRARY_PATH", temp.toString());
        NativeLibrary library = OpenBlasSearch.load(env, system());
        assertTrue(library.found(), library.toString());
        assertEquals(OpenBlasSearch.VARIABLE, library.origin().orElseThrow());
        assertEquals(
                bundled.where().orElseThrow().getFileName(),
                library.where().orElseThrow().getFileName());
    }

    @Test
    void severalStartsAtOnceUnpackOneWholeCopyAndATornOneIsMended() throws Exception {
        assumeLinux();
        String jar = bundledJar();
        Path cache = temp.resolve("cache").resolve("espalier");
        Callable<Path> unpack = () -> OpenBlasSearch.unpack(jar, cache);
        try (ExecutorService pool = Executors.newFixedThreadPool(3)) {
            for (var result : pool.invokeAll(List.of(unpack, unpack, unpack))) {
                assertEquals(cache, result.get().getParent());
            }
        }
        try (Stream<Path> left = Files.list(cache)) {
            assertEquals(1, left.count(), "partial folders are removed");
        }
        Path file = OpenBlasSearch.unpack(jar, cache).resolve("libquadmath.so.0");
        long size = Files.size(file);
        Files.write(file, new byte[10]);
        OpenBlasSearch.unpack(jar, cache);
        assertEquals(size, Files.size(file));
    }

    private static String bundledJar() {
        String resource = "org/bytedeco/openblas/linux-x86_64/libopenblas.so.0";
        var url = OpenBlasSearch.class.getClassLoader().getResource(resource);
        assumeTrue(url != null, "openblas: its jar is not on the class path");
        return url.toString().replace(resource, "");
    }

    private static void assumeLinux() {
        assumeTrue(
                System.getProperty("os.name").equals("Linux")
                        && System.getProperty("os.arch").equals("amd64"),
                "platform: shared libraries come along for Linux on x86-64 only");
    }

    private static Properties system() {
        Properties properties = new Properties();
        for (String name : List.of("os.name", "os.arch", "user.home", "jdk.module.path")) {
            properties.setProperty(name, System.getProperty(name, ""));
        }
        return properties;
    }
}
