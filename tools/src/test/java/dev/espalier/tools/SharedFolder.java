package dev.espalier.tools;

import java.nio.file.Files;
import java.nio.file.Path;
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
