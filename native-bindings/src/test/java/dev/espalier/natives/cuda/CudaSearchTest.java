package dev.espalier.natives.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.NativeLibrary.Candidate;
import dev.espalier.natives.NativeLibrary.Source;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CudaSearchTest {
    private static final List<String> RUNTIME = List.of("libcudart.so.13");

    @TempDir
    Path temp;

    @Test
    void placesAreTriedInTheirDocumentedOrder() {
        Properties properties = linux();
        properties.setProperty(CudaSearch.PROPERTY, "/by/property");
        Map<String, String> env = Map.of(
                "CONDA_PREFIX", "/conda",
                "CUDA_HOME", "/home",
                "CUDA_PATH", "/path",
                "ESPALIER_CUDA_PATH", "/by/variable",
                "LD_LIBRARY_PATH", "/one:/two",
                "VIRTUAL_ENV", "/venv");
        List<String> common = List.of(
                "LD_LIBRARY_PATH",
                "CUDA_PATH",
                "CUDA_HOME",
                "VIRTUAL_ENV",
                "CONDA_PREFIX",
                "the toolkit's folders",
                "Python's packages",
                "the system's folders");
        List<String> named = List.of("-Despalier.cuda.path=/by/property", "ESPALIER_CUDA_PATH=/by/variable");
        assertEquals(join(List.of(named, common)), places(CudaLibrary.CUDART.sources(env, properties)));
        assertEquals(
                join(List.of(named, List.of("the system's loader"), common)),
                places(CudaLibrary.DRIVER.sources(env, properties)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "lib64",
                "lib",
                "nvidia/cu13/lib",
                "cu13/lib",
                "nvidia/cusparselt/lib",
                "lib/python3.11/site-packages/nvidia/cu13/lib"
            })
    void aFolderIsAlsoAToolkitsRootAndPythonsPackages(String inside) throws IOException {
        Path file = touch(temp.resolve(inside).resolve("libcudart.so.13"));
        List<Candidate> found = candidates(Map.of("ESPALIER_CUDA_PATH", temp.toString()), RUNTIME, "");
        assertEquals(List.of(file), found.stream().map(Candidate::file).toList());
    }

    @Test
    void theNewestPythonOfAnEnvironmentComesFirst() throws IOException {
        touch(temp.resolve("lib/python3.11/site-packages/nvidia/cu13/lib/libcudart.so.13"));
        Path newer = touch(temp.resolve("lib/python3.12/site-packages/nvidia/cu13/lib/libcudart.so.13"));
        assertEquals(
                newer,
                candidates(Map.of("VIRTUAL_ENV", temp.toString()), RUNTIME, "")
                        .getFirst()
                        .file());
    }

    @Test
    void theCompilersBuiltInFunctionsAreLoadedBeforeIt() throws IOException {
        Path library = touch(temp.resolve("libnvrtc.so.13"));
        Path builtins = touch(temp.resolve("libnvrtc-builtins.so.13.0"));
        touch(temp.resolve("libnvrtc-builtins.alt.so.13.0"));
        touch(temp.resolve("libnvrtc.alt.so.13"));
        Candidate found = candidates(
                        Map.of("LD_LIBRARY_PATH", "/nowhere::" + temp),
                        List.of("libnvrtc.so.13"),
                        "libnvrtc-builtins.so.13*")
                .getFirst();
        assertEquals(library, found.file());
        assertEquals(List.of(builtins), found.dependencies());
    }

    @Test
    void emptyVariablesNameNothing() {
        assertEquals(
                List.of("the toolkit's folders", "Python's packages", "the system's folders"),
                places(CudaLibrary.CUDART.sources(
                        Map.of("LD_LIBRARY_PATH", "", "CUDA_PATH", " ", "ESPALIER_CUDA_PATH", ""), linux())));
    }

    /// A library that is not the one asked for says nothing of a CUDA version.
    @Test
    void anotherLibraryIsRefusedByWhatItCannotTellAndIsNotLoaded() throws IOException {
        assumeTrue(System.getProperty("os.name").equals("Linux"), "platform: shared objects are Linux's");
        Path real = Path.of(System.getProperty("java.home"), "lib", "libnet.so");
        assumeTrue(Files.exists(real), "platform: the JDK's libnet.so is not where it was looked for");
        Files.copy(real, temp.resolve("libcusparse.so.12"));
        CudaLibrary.Version needed =
                new CudaLibrary.Version("cusparseGetProperty", CudaLibrary.Version.Form.PROPERTY, 12, 6, 0);
        NativeLibrary library = NativeLibrary.load(
                "cusparse",
                List.of(),
                needed::problem,
                CudaSearch.sources(
                        Map.of("ESPALIER_CUDA_PATH", temp.toString()), linux(), List.of("libcusparse.so.12"), ""));
        assertEquals(1, library.rejected().size());
        assertEquals(
                "does not tell its version through cusparseGetProperty",
                library.rejected().getFirst().reason());
    }

    @Test
    void aRefusalMayCallTheLibrarysOwnFunctions() throws IOException {
        assumeTrue(System.getProperty("os.name").equals("Linux"), "platform: shared objects are Linux's");
        Path real = Path.of(System.getProperty("java.home"), "lib", "libnet.so");
        assumeTrue(Files.exists(real), "platform: the JDK's libnet.so is not where it was looked for");
        Files.copy(real, temp.resolve("libcudart.so.13"));
        NativeLibrary library = NativeLibrary.load(
                "cudart",
                List.of(),
                functions -> functions.find("JNI_OnLoad").isPresent() ? Optional.of("too old") : Optional.empty(),
                List.of(Source.folders("a folder", List.of(temp), RUNTIME)));
        assertFalse(library.found());
        assertTrue(library.whyNot().orElseThrow().endsWith("too old"), library.toString());
    }

    private List<Candidate> candidates(Map<String, String> env, List<String> fileNames, String companion) {
        return CudaSearch.sources(env, linux(), fileNames, companion)
                .getFirst()
                .candidates()
                .get();
    }

    private static Path touch(Path file) throws IOException {
        Files.createDirectories(file.getParent());
        return Files.createFile(file);
    }

    private static List<String> places(List<Source> sources) {
        return sources.stream().map(Source::place).toList();
    }

    private static List<String> join(List<List<String>> lists) {
        return lists.stream().flatMap(List::stream).toList();
    }

    private static Properties linux() {
        Properties properties = new Properties();
        properties.setProperty("os.name", "Linux");
        properties.setProperty("os.arch", "amd64");
        properties.setProperty("user.home", "/nonexistent");
        return properties;
    }
}
