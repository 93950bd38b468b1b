package dev.espalier.natives.blas;

import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.NativeLibrary.Candidate;
import dev.espalier.natives.NativeLibrary.Source;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URL;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.stream.Stream;

/// Where an OpenBLAS may be: a path the user named, the loader's path, the jar that comes along, the system's folders.
final class OpenBlasSearch {
    static final String NAME = "openblas";
    static final String VARIABLE = "ESPALIER_OPENBLAS_PATH";
    static final String PROPERTY = "espalier.openblas.path";
    static final List<String> FILE_NAMES = List.of("libopenblas.so.0", "libopenblas.so");

    /// Functions that tell a whole library from one built without the C interface to LAPACK.
    static final List<String> REQUIRED =
            List.of("openblas_set_num_threads", "cblas_sgemm", "LAPACKE_spotrf", "LAPACKE_ssyevd");

    private static final String IN_JAR = "org/bytedeco/openblas/linux-x86_64/";
    private static final String VERSION_IN_JAR = "META-INF/maven/org.bytedeco/openblas/pom.properties";

    /// In the order in which they must be loaded: libgfortran finds libquadmath only if that is there already.
    private static final List<String> FILES_IN_JAR =
            List.of("libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0");

    private OpenBlasSearch() {}

    static NativeLibrary load(Map<String, String> env, Properties properties) {
        String os = properties.getProperty("os.name", "");
        if (!os.toLowerCase(Locale.ROOT).startsWith("linux")) {
            return NativeLibrary.absent(NAME, "the bindings to it, which are for Linux (this is " + os + ")");
        }
        return NativeLibrary.load(NAME, REQUIRED, sources(env, properties));
    }

    /// The places in the order in which they are tried.
    static List<Source> sources(Map<String, String> env, Properties properties) {
        List<Source> sources = new ArrayList<>();
        String variable = env.getOrDefault(VARIABLE, "");
        if (!variable.isBlank()) {
            sources.add(Source.explicit(VARIABLE, variable, FILE_NAMES));
        }
        String property = properties.getProperty(PROPERTY, "");
        if (!property.isBlank()) {
            sources.add(Source.explicit("-D" + PROPERTY, property, FILE_NAMES));
        }
        String loaderPath = env.getOrDefault("LD_LIBRARY_PATH", "");
        if (!loaderPath.isBlank()) {
            sources.add(Source.searchPath("LD_LIBRARY_PATH", loaderPath, FILE_NAMES));
        }
        String arch = properties.getProperty("os.arch", "");
        if (arch.equals("amd64")) {
            sources.add(new Source("the jar that comes with Espalier", () -> List.of(bundled(env, properties))));
        }
        String triplet = (arch.equals("amd64") ? "x86_64" : arch) + "-linux-gnu";
        sources.add(Source.folders(
                "the system's folders",
                Stream.of(
                                "/usr/lib/" + triplet + "/openblas-pthread",
                                "/usr/lib/" + triplet + "/openblas-serial",
                                "/usr/lib/" + triplet,
                                "/usr/lib64",
                                "/usr/lib",
                                "/usr/local/lib",
                                "/opt/OpenBLAS/lib")
                        .map(Path::of)
                        .toList(),
                FILE_NAMES));
        return sources;
    }

    /// Unpacks the jar's libraries to the user's cache, once, and names them.
    private static Candidate bundled(Map<String, String> env, Properties properties) {
        String root =
                jarRoot(properties).orElseThrow(() -> new IllegalStateException("not on the class or module path"));
        Path cache = cacheFolder(env, properties);
        try {
            Path folder;
            try {
                folder = unpack(root, cache);
            } catch (IOException e) {
                // A read-only home must not cost the speed.
                folder = unpackForThisRun(root);
            }
            Path home = folder;
            List<Path> files = FILES_IN_JAR.stream().map(home::resolve).toList();
            return new Candidate(
                    "the jar that comes with Espalier", files.getLast(), files.subList(0, files.size() - 1));
        } catch (IOException e) {
            throw new UncheckedIOException("cannot be unpacked to " + cache + ": " + e.getMessage(), e);
        }
    }

    static Path cacheFolder(Map<String, String> env, Properties properties) {
        String xdg = env.getOrDefault("XDG_CACHE_HOME", "");
        Path base = xdg.isBlank() ? Path.of(properties.getProperty("user.home", "."), ".cache") : Path.of(xdg);
        return base.resolve("espalier");
    }

    /// A URL prefix below which the jar's files are read. The jar is no named dependency of the module, so on a module
    /// path it is not resolved and has to be looked for among the path's files.
    private static Optional<String> jarRoot(Properties properties) {
        URL resource = OpenBlasSearch.class.getClassLoader().getResource(IN_JAR + FILES_IN_JAR.getLast());
        if (resource != null) {
            String url = resource.toString();
            return Optional.of(url.substring(0, url.length() - (IN_JAR + FILES_IN_JAR.getLast()).length()));
        }
        for (String entry : properties.getProperty("jdk.module.path", "").split(File.pathSeparator)) {
            if (entry.isBlank()) {
                continue;
            }
            Path path = Path.of(entry);
            try (Stream<Path> jars = Files.isDirectory(path) ? Files.list(path) : Stream.of(path)) {
                Optional<Path> jar = jars.filter(Files::isRegularFile)
                        .filter(p -> p.getFileName().toString().matches("openblas-.*linux-x86_64\\.jar"))
                        .sorted()
                        .findFirst();
                if (jar.isPresent()) {
                    return Optional.of("jar:" + jar.get().toUri() + "!/");
                }
            } catch (IOException e) {
                // An unreadable entry of the module path holds no library.
            }
        }
        return Optional.empty();
    }

    /// In a new folder, which nobody else can have prepared, and which goes at the end.
    private static Path unpackForThisRun(String root) throws IOException {
        Path parent = Files.createTempDirectory("espalier-openblas");
        Path folder = unpack(root, parent);
        // The last one registered goes first.
        parent.toFile().deleteOnExit();
        folder.toFile().deleteOnExit();
        for (String file : FILES_IN_JAR) {
            folder.resolve(file).toFile().deleteOnExit();
        }
        return folder;
    }

    /// Copies the libraries below `root` to a folder of `cache` named by their version; a complete folder is taken as it is.
    static Path unpack(String root, Path cache) throws IOException {
        Properties version = new Properties();
        try (InputStream in = open(root + VERSION_IN_JAR)) {
            version.load(in);
        }
        Path home = cache.resolve("openblas-" + version.getProperty("version", "0") + "-linux-x86_64");
        if (complete(root, home)) {
            return home;
        }
        Files.createDirectories(cache);
        // Beside the final name and renamed at the end: two starts at once, or one killed half way, leave no torn file.
        Path partial = Files.createTempDirectory(cache, home.getFileName() + ".partial-");
        try {
            for (String file : FILES_IN_JAR) {
                try (InputStream in = open(root + IN_JAR + file)) {
                    Files.copy(in, partial.resolve(file));
                }
            }
            try {
                Files.move(partial, home, StandardCopyOption.ATOMIC_MOVE);
            } catch (FileSystemException e) {
                // Somebody else was faster, or a torn folder of old is there: mended file by file.
                if (!complete(root, home)) {
                    Files.createDirectories(home);
                    for (String file : FILES_IN_JAR) {
                        Files.move(partial.resolve(file), home.resolve(file), StandardCopyOption.ATOMIC_MOVE);
                    }
                }
            }
        } finally {
            delete(partial);
        }
        return home;
    }

    private static boolean complete(String root, Path home) throws IOException {
        for (String file : FILES_IN_JAR) {
            Path path = home.resolve(file);
            if (!Files.isRegularFile(path)
                    || Files.size(path)
                            != URI.create(root + IN_JAR + file)
                                    .toURL()
                                    .openConnection()
                                    .getContentLengthLong()) {
                return false;
            }
        }
        return true;
    }

    private static InputStream open(String url) throws IOException {
        return URI.create(url).toURL().openStream();
    }

    private static void delete(Path folder) throws IOException {
        if (Files.exists(folder)) {
            try (Stream<Path> files = Files.walk(folder)) {
                for (Path path :
                        files.sorted(java.util.Comparator.reverseOrder()).toList()) {
                    Files.deleteIfExists(path);
                }
            }
        }
    }
}
