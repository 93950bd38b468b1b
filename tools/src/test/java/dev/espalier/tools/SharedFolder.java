package dev.espalier.tools;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.junit.jupiter.api.Assumptions;

/// The folder `shared` beside the repository: models, data and reference results that are not part of it.
///
/// Found by the system property `espalier.shared`, the environment variable `ESPALIER_SHARED`, or as `shared` in a folder
/// above. Tests that need it are skipped where it is not.
public final class SharedFolder {
    private SharedFolder() {}

    /// `shared/relative`; skips the calling test where it does not exist.
    public static Path path(String relative) {
        Path shared = find();
        Assumptions.assumeTrue(shared != null, "shared: no folder ../shared beside the repository");
        Path path = shared.resolve(relative);
        Assumptions.assumeTrue(Files.exists(path), "shared: ../shared/" + relative + " does not exist");
        return path;
    }

    /// `smollm2-135m` in Hugging Face layout: made by its own converter, once, where the runtime's tests put it too.
    public static Path smollm() throws IOException, InterruptedException {
        Path source = path("models/smollm2-135m");
        Path cache = Path.of(System.getProperty("java.io.tmpdir"), "espalier-tests-" + System.getProperty("user.name"));
        Path ready = cache.resolve("smollm2-135m");
        if (Files.exists(ready)) {
            return ready;
        }
        Files.createDirectories(cache);
        Path making = Files.createTempDirectory(cache, "smollm2-135m-");
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        source.resolve("ToHf.java").toString(),
                        making.toString())
                .inheritIO()
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        if (process.waitFor() != 0) {
            throw new IOException(source.resolve("ToHf.java") + " failed");
        }
        return Files.move(making, ready, StandardCopyOption.ATOMIC_MOVE);
    }

    private static Path find() {
        String named = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
        if (named != null) {
            return Path.of(named);
        }
        Path folder = Path.of("").toAbsolutePath();
        for (int i = 0; i < 5 && folder != null; i++, folder = folder.getParent()) {
            if (Files.isDirectory(folder.resolve("shared/models"))) {
                return folder.resolve("shared");
            }
        }
        return null;
    }
}
