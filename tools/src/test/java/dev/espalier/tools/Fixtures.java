package dev.espalier.tools;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/// Small checkpoints for tests.
final class Fixtures {
    private Fixtures() {}

    /// One of the runtime's family fixtures: random weights, no tokenizer.
    static Path family(String name) {
        return Path.of("..", "runtime", "src", "test", "resources", "families", name);
    }

    /// A copy of the files in `folder`, to be spoilt.
    static Path copy(Path folder, Path to) {
        try (Stream<Path> files = Files.list(folder)) {
            Files.createDirectories(to);
            for (Path file : files.toList()) {
                Files.write(to.resolve(file.getFileName()), Files.readAllBytes(file));
            }
            return to;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// The names of the files in `folder`, sorted.
    static List<String> names(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
