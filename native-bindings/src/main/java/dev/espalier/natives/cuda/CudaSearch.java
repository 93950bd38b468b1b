package dev.espalier.natives.cuda;

import dev.espalier.natives.NativeLibrary.Candidate;
import dev.espalier.natives.NativeLibrary.Source;
import java.io.File;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Stream;

/// Where CUDA's libraries may be: a path the user named, the loader's path, a toolkit, Python's packages, the system.
///
/// Every folder is also tried as a toolkit's root (`lib64`, `lib`) and as Python's `site-packages`, where the wheels put the
/// libraries into `nvidia/cu13/lib` and `nvidia/cusparselt/lib`.
final class CudaSearch {
    static final String PROPERTY = "espalier.cuda.path";
    static final String VARIABLE = "ESPALIER_CUDA_PATH";

    /// Below a folder that somebody named.
    private static final List<String> INSIDE = List.of(
            "",
            "lib64",
            "lib",
            "nvidia/cu13/lib",
            "nvidia/cusparselt/lib",
            "cu13/lib",
            "cusparselt/lib",
            "lib/python3*/site-packages/nvidia/cu13/lib",
            "lib/python3*/site-packages/nvidia/cusparselt/lib");

    private CudaSearch() {}

    /// The places in the order in which they are tried, for the files of one library.
    ///
    /// @param env the environment's variables
    /// @param properties the system's properties
    /// @param fileNames names that the library's file may have
    /// @param companion a pattern of file names (`*` for anything) that lie beside it and are loaded first; empty if none
    static List<Source> sources(
            Map<String, String> env, Properties properties, List<String> fileNames, String companion) {
        List<Source> sources = new ArrayList<>();
        String property = properties.getProperty(PROPERTY, "");
        if (!property.isBlank()) {
            sources.add(source("-D" + PROPERTY + "=" + property, paths(property), fileNames, companion));
        }
        String variable = env.getOrDefault(VARIABLE, "");
        if (!variable.isBlank()) {
            sources.add(source(VARIABLE + "=" + variable, paths(variable), fileNames, companion));
        }
        for (String name : List.of("LD_LIBRARY_PATH", "CUDA_PATH", "CUDA_HOME", "VIRTUAL_ENV", "CONDA_PREFIX")) {
            String value = env.getOrDefault(name, "");
            if (!value.isBlank()) {
                sources.add(source(name, paths(value), fileNames, companion));
            }
        }
        sources.add(source(
                "the toolkit's folders", List.of("/usr/local/cuda", "/usr/local/cuda-13*"), fileNames, companion));
        sources.add(source("Python's packages", python(env, properties), fileNames, companion));
        String triplet = (properties.getProperty("os.arch", "").equals("amd64") ? "x86_64" : "aarch64") + "-linux-gnu";
        sources.add(source(
                "the system's folders",
                List.of(
                        "/usr/lib/" + triplet,
                        "/usr/lib64",
                        "/usr/lib",
                        "/usr/local/lib",
                        "/usr/lib/wsl/lib",
                        "/usr/local/nvidia/lib64"),
                fileNames,
                companion));
        return sources;
    }

    /// Folders of Python's packages outside an environment that was activated; `python3` itself is not asked.
    private static List<String> python(Map<String, String> env, Properties properties) {
        List<String> folders = new ArrayList<>();
        String home = env.getOrDefault("HOME", properties.getProperty("user.home", ""));
        if (!home.isBlank()) {
            folders.add(home + "/.local/lib/python3*/site-packages");
        }
        folders.addAll(List.of(
                "/usr/local/lib/python3*/dist-packages",
                "/usr/local/lib/python3*/site-packages",
                "/usr/lib/python3*/dist-packages",
                "/usr/lib/python3*/site-packages",
                "/opt/conda/lib/python3*/site-packages"));
        return folders;
    }

    private static List<String> paths(String value) {
        return Arrays.stream(value.split(File.pathSeparator))
                .filter(path -> !path.isBlank())
                .toList();
    }

    private static Source source(String place, List<String> folders, List<String> fileNames, String companion) {
        return new Source(place, () -> {
            Set<Path> tried = new LinkedHashSet<>();
            for (String folder : folders) {
                for (String inside : INSIDE) {
                    tried.addAll(expand(folder, inside));
                }
            }
            List<Candidate> candidates = new ArrayList<>();
            for (Path folder : tried) {
                for (String fileName : fileNames) {
                    Path file = folder.resolve(fileName);
                    if (Files.exists(file)) {
                        candidates.add(new Candidate(
                                place, file, companion.isEmpty() ? List.of() : matching(folder, companion)));
                    }
                }
            }
            return candidates;
        });
    }

    /// The folders that a path with `*` in some of its names stands for, newest name first.
    private static List<Path> expand(String folder, String inside) {
        List<Path> found = List.of(Path.of("/"));
        Path whole = Path.of(folder).toAbsolutePath().resolve(inside);
        for (Path name : whole) {
            String text = name.toString();
            List<Path> next = new ArrayList<>();
            for (Path path : found) {
                if (text.indexOf('*') < 0) {
                    next.add(path.resolve(text));
                } else {
                    next.addAll(matching(path, text).reversed());
                }
            }
            found = next;
        }
        return found;
    }

    private static List<Path> matching(Path folder, String pattern) {
        PathMatcher matcher = FileSystems.getDefault().getPathMatcher("glob:" + pattern);
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> matcher.matches(file.getFileName()))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            return List.of(); // A folder that cannot be read holds nothing for us.
        }
    }
}
