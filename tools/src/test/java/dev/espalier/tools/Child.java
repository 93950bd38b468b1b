package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/// The command line as a process of its own: what only a process shows are signals, limits and a disk that is full.
final class Child implements AutoCloseable {
    private static final int PATIENCE_SECONDS = 120;

    private final Process process;
    private final Path folder;

    private Child(Process process, Path folder) {
        this.process = process;
        this.folder = folder;
    }

    /// Starts a command whose working folder, and place for what it prints, is the new folder `folder`.
    static Child start(Path folder, String... arguments) throws IOException {
        return start(folder, List.of(), arguments);
    }

    /// The same, with options for its JVM.
    static Child start(Path folder, List<String> jvm, String... arguments) throws IOException {
        return start(folder, java(jvm, arguments));
    }

    /// Runs any program, such as a shell that lowers a limit and then becomes [#java].
    static Child start(Path folder, List<String> program) throws IOException {
        Files.createDirectories(folder);
        return new Child(
                new ProcessBuilder(program)
                        .directory(folder.toFile())
                        .redirectOutput(folder.resolve("stdout").toFile())
                        .redirectError(folder.resolve("stderr").toFile())
                        .start(),
                folder);
    }

    /// The words that start a command in a JVM of its own, with what was built here.
    static List<String> java(List<String> jvm, String... arguments) {
        List<String> words = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx1g",
                "--add-modules",
                "jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-XX:PerMethodTrapLimit=100000"));
        words.addAll(jvm);
        words.addAll(List.of("-cp", System.getProperty("java.class.path"), Espalier.class.getName()));
        words.addAll(List.of(arguments));
        return words;
    }

    /// Waits until it has printed `text`, and returns the line that holds it.
    String await(String text) throws IOException, InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (true) {
            boolean alive = process.isAlive();
            for (String line : (out() + "\n" + err()).split("\n")) {
                if (line.contains(text)) {
                    return line;
                }
            }
            assertTrue(alive && System.nanoTime() < deadline, "no '" + text + "' in " + this);
            Thread.sleep(20);
        }
    }

    /// Waits until `file` exists.
    void await(Path file) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!Files.exists(file)) {
            assertTrue(process.isAlive() && System.nanoTime() < deadline, "no " + file + "; " + this);
            Thread.sleep(20);
        }
    }

    /// Presses Ctrl-C, and asserts that it ends as the command line promises: within 15 seconds, with exit code 130,
    /// without a trace or a crash.
    void interrupt() throws IOException, InterruptedException {
        new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor();
        assertTrue(process.waitFor(15, TimeUnit.SECONDS), () -> "it did not end: " + this);
        assertEquals(130, process.exitValue(), this::toString);
        clean();
    }

    /// Ends it as the system does that needs its memory.
    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor();
    }

    /// Waits for its end and returns the exit code.
    int code() throws IOException, InterruptedException {
        assertTrue(process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS), () -> "it did not end: " + this);
        clean();
        return process.exitValue();
    }

    /// The most bytes of memory that it has held so far, as Linux counts them.
    long peakMemory() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc", Long.toString(process.pid()), "status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) << 10;
            }
        }
        throw new IOException("no VmHWM");
    }

    /// Neither a stack trace nor a crash file, which the JVM writes into the working folder.
    private void clean() throws IOException {
        assertFalse(err().contains("\tat "), this::toString);
        assertTrue(Fixtures.names(folder).stream().noneMatch(name -> name.startsWith("hs_err")), this::toString);
    }

    String out() throws IOException {
        return Files.readString(folder.resolve("stdout"));
    }

    /// What it printed on stderr, without the JVM's own notice that the Vector API is an incubator module.
    String err() throws IOException {
        return Files.readString(folder.resolve("stderr")).replaceFirst("WARNING: Using incubator modules: .*\n", "");
    }

    @Override
    public String toString() {
        try {
            return "stdout:\n" + out() + "\nstderr:\n" + err();
        } catch (IOException e) {
            return e.toString();
        }
    }

    @Override
    public void close() {
        process.destroyForcibly();
    }
}
