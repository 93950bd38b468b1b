package dev.espalier.natives.fake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.ProcessBuilder.Redirect;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/// The machine's own C or C++ compiler, for tests that need native code. Where there is none, they are skipped.
public enum HostCompiler {
    C("gcc", "cc", "clang"),
    CPP("g++", "c++", "clang++");

    private final List<String> names;

    HostCompiler(String... names) {
        this.names = List.of(names);
    }

    /// Runs the compiler once for each list of arguments, all at the same time, and fails with its messages if one fails.
    ///
    /// @param log gets what the compiler says
    public void run(Path log, List<List<String>> arguments) throws IOException {
        String compiler = find();
        List<Process> processes = new ArrayList<>();
        for (List<String> own : arguments) {
            List<String> command = new ArrayList<>(List.of(compiler));
            command.addAll(own);
            processes.add(new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(Redirect.appendTo(log.toFile()))
                    .start());
        }
        try {
            for (Process process : processes) {
                if (!process.waitFor(10, TimeUnit.MINUTES)) {
                    process.destroyForcibly();
                    throw new IllegalStateException(compiler + " did not end within ten minutes");
                }
                assertEquals(0, process.exitValue(), Files.readString(log));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    private String find() {
        for (String name : names) {
            for (String folder : System.getenv("PATH").split(":")) {
                Path file = Path.of(folder, name);
                if (Files.isExecutable(file)) {
                    return file.toString();
                }
            }
        }
        assumeTrue(false, "C compiler: none of " + String.join(", ", names) + " is on the PATH");
        throw new AssertionError();
    }

    /// A new folder that is deleted when this JVM ends.
    public static Path temporaryFolder(String prefix) throws IOException {
        Path folder = Files.createTempDirectory(prefix);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
        return folder;
    }

    private static void delete(Path folder) {
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder())
                    .forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
