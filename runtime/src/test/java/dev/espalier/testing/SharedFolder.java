package dev.espalier.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/// The folder of models, data and reference results that lies beside the repository and is not part of it.
///
/// Found by the system property `espalier.shared`, the environment variable `ESPALIER_SHARED`, or as `../shared` from
/// the repository's root. A test that needs it is skipped, visibly, where it is not there.
public final class SharedFolder {
    private SharedFolder() {}

    /// The file or folder `relative` in it; the test that asks is skipped where it is missing.
    public static Path require(String relative) {
        Optional<Path> found = find().map(folder -> folder.resolve(relative)).filter(Files::exists);
        assumeTrue(found.isPresent(), () -> "shared: ../shared/" + relative + " is not there");
        return found.orElseThrow();
    }

    /// Whether `relative` is in it.
    public static boolean has(String relative) {
        return find().map(folder -> folder.resolve(relative))
                .filter(Files::exists)
                .isPresent();
    }

    /// The folder of a model in Hugging Face layout; `smollm2-135m` is made by its own converter, once, in the
    /// temporary directory.
    public static Path model(String name) {
        Path model = require("models/" + name);
        return Files.exists(model.resolve("ToHf.java")) ? converted(name, model) : model;
    }

    private static Optional<Path> find() {
        String told = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
        if (told != null) {
            return Optional.of(Path.of(told)).filter(Files::isDirectory);
        }
        // Tests of a module run in the module's folder.
        return Stream.of("../shared", "../../shared")
                .map(Path::of)
                .filter(Files::isDirectory)
                .findFirst();
    }

    private static synchronized Path converted(String name, Path source) {
        try {
            Path cache = Path.of(System.getProperty("java.io.tmpdir"))
                    .resolve("espalier-tests-" + System.getProperty("user.name"));
            Path ready = cache.resolve(name);
            if (Files.exists(ready)) {
                return ready;
            }
            Files.createDirectories(cache);
            Path making = Files.createTempDirectory(cache, name + "-");
            run(source.resolve("ToHf.java"), making);
            try {
                Files.move(making, ready, StandardCopyOption.ATOMIC_MOVE);
            } catch (IOException e) {
                // Another module's tests were faster.
                delete(making);
                if (!Files.exists(ready)) {
                    throw e;
                }
            }
            return ready;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void run(Path program, Path out) throws IOException {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        Path log = Files.createTempFile("espalier-tests-", ".log");
        Process process = new ProcessBuilder(java, program.toString(), out.toString())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        try {
            if (!process.waitFor(120, TimeUnit.SECONDS) || process.exitValue() != 0) {
                process.destroyForcibly();
                throw new IOException(program + " failed: " + Files.readString(log));
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            throw new IOException(program + " was interrupted", e);
        } finally {
            Files.deleteIfExists(log);
        }
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        } catch (FileAlreadyExistsException e) {
            throw new IOException("cannot clear " + folder, e);
        }
    }
}
