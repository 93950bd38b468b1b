package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/// What only a process of its own shows: Ctrl-C, a container's limits, a full disk, a server from start to end.
class ProcessTest {
    private static final String LLAMA =
            Fixtures.family("llama-gqa-tied").toAbsolutePath().toString();

    @TempDir
    Path temp;

    @Test
    void serveSaysWhereItListensAnswersAndEndsWithControlCUnderFourStreams() throws Exception {
        String model = SharedFolder.path("models/stories260K").toString();
        try (Child child = Child.start(temp.resolve("run"), "serve", model, "--port", "0");
                HttpClient client = HttpClient.newHttpClient()) {
            String url = url(child);
            assertEquals(
                    200,
                    client.send(get(url + "/health"), BodyHandlers.ofString()).statusCode());
            HttpResponse<String> reply = client.send(
                    post(url, "{\"prompt\":\"Once upon a time\",\"max_tokens\":8,\"temperature\":0}"),
                    BodyHandlers.ofString());
            assertEquals(200, reply.statusCode(), reply.body());
            JsonNode document = new ObjectMapper().readTree(reply.body());
            assertEquals(8, document.at("/usage/completion_tokens").asInt());
            assertTrue(document.at("/choices/0/text").asText().strip().startsWith(", there was"), reply.body());

            Cli.refused(2, Cli.words("serve", model, "--port", url.substring(url.lastIndexOf(':') + 1)), "in use");

            CompletableFuture<?>[] streams = new CompletableFuture<?>[4];
            for (int i = 0; i < streams.length; i++) {
                HttpRequest stream = post(
                        url, "{\"prompt\":\"Once\",\"max_tokens\":400,\"n\":16,\"temperature\":1,\"stream\":true}");
                streams[i] = client.sendAsync(stream, BodyHandlers.ofString());
            }
            await(client, url + "/metrics", "running");
            assertTrue(Arrays.stream(streams).anyMatch(stream -> !stream.isDone()));
            child.interrupt();
            client.shutdownNow();
        }
    }

    /// Waits until a request runs.
    private static void await(HttpClient client, String metrics, String name) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        String text;
        do {
            text = client.send(get(metrics), BodyHandlers.ofString()).body();
        } while (!text.matches("(?s).*" + name + "\\S* [1-9].*") && System.nanoTime() < deadline);
        assertTrue(text.matches("(?s).*" + name + "\\S* [1-9].*"), text);
    }

    @Test
    void controlCEndsAPruneAndServeThatServes() throws Exception {
        String model = SharedFolder.path("models/stories260K").toString();
        Path text = Files.writeString(temp.resolve("text"), "Once upon a time, there was a little girl. ".repeat(60));
        try (Child child = Child.start(
                        temp.resolve("run"),
                        "prune-and-serve",
                        model,
                        "--method",
                        "magnitude",
                        "--eval-text",
                        text.toString(),
                        "--no-scale-up",
                        "--port",
                        "0",
                        "--out",
                        temp.resolve("pruned").toString());
                HttpClient client = HttpClient.newHttpClient()) {
            String url = url(child);
            assertTrue(child.out().indexOf("sparse") < child.out().indexOf("listening on"), child::toString);
            assertEquals(
                    200,
                    client.send(post(url, "{\"prompt\":\"Once\",\"max_tokens\":4}"), BodyHandlers.ofString())
                            .statusCode());
            child.interrupt();
        }
        // What was complete before stays.
        assertEquals(List.of("pruned", "run", "text"), Fixtures.names(temp));
        assertTrue(Files.exists(temp.resolve("pruned/model.safetensors")));
    }

    @Test
    void controlCEndsABench() throws Exception {
        try (Child child = Child.start(
                temp.resolve("run"), "bench", "decode", LLAMA, "--formats", "dense,bitmask@0.5", "--rounds", "1000")) {
            child.await("bench [");
            child.interrupt();
        }
    }

    /// Virtual machines that do not compile vectors: the same tokens from scalar code, and one line that says so.
    @ParameterizedTest
    @CsvSource({"-XX:TieredStopAtLevel=1, TieredStopAtLevel", "-XX:-UseFMA,"})
    void withoutCompiledVectorsTheTokensAreTheSameAndOneLineSaysSo(String option, String said) throws Exception {
        // lucene 12764, 12766, 12311; Jlama 78; llama3.java 32
        String[] generate = {
            "generate", LLAMA, "--prompt-ids", "1,40,60", "--max-new-tokens", "16", "--ignore-eos", "--temperature", "0"
        };
        JsonNode expected = Cli.json(generate).path("token_ids");
        assertEquals(16, expected.size());
        try (Child child = Child.start(temp.resolve("run"), List.of(option), add(generate, "--json"))) {
            assertEquals(0, child.code(), child::toString);
            assertEquals(expected, new ObjectMapper().readTree(child.out()).path("token_ids"));
            List<String> notes = child.err()
                    .lines()
                    .filter(line -> line.startsWith("note: "))
                    .toList();
            assertEquals(said == null ? 0 : 1, notes.size(), child::toString);
            assertTrue(said == null || notes.getFirst().contains(said), child::toString);
        }
        try (Child child = Child.start(temp.resolve("devices"), List.of(option), "devices", "--json")) {
            assertEquals(0, child.code(), child::toString);
            JsonNode why = new ObjectMapper().readTree(child.out()).at("/cpu/vectors_why_not");
            assertEquals(said == null, why.isNull(), child::toString);
            assertTrue(said == null || why.asText().contains(said), child::toString);
        }
    }

    /// Java with its own limit on traps, under which the kernels' vectors are objects in some processes.
    @Test
    void withoutTheLaunchersTrapLimitOneLineSaysWhatToAdd() throws Exception {
        int run = 0;
        for (String[] arguments : List.of(
                Cli.words("generate", LLAMA, "--prompt-ids", "1", "--max-new-tokens", "1"), Cli.words("devices"))) {
            List<String> words = new ArrayList<>(Child.java(List.of(), arguments));
            assertTrue(words.removeIf(word -> word.startsWith("-XX:PerMethodTrapLimit=")));
            try (Child child = Child.start(temp.resolve("run" + run++), words)) {
                assertEquals(0, child.code(), child::toString);
                assertEquals(
                        1,
                        (child.out() + "\n" + child.err())
                                .lines()
                                .filter(line -> line.contains("start Java with -XX:PerMethodTrapLimit=100000"))
                                .count(),
                        child::toString);
            }
        }
    }

    /// Java as somebody starts it who does not know of the launcher.
    @Test
    void withoutTheVectorModuleEveryVerbSaysWhatToAdd() throws Exception { // EDDI 801
        int run = 0;
        for (String[] arguments : List.of(
                Cli.words("generate", LLAMA, "--prompt-ids", "1"),
                Cli.words("bench", "solvers", "--shapes", "8x8"),
                Cli.words("bench", "decode", "random:opt-125m"),
                Cli.words("devices"))) {
            List<String> words = new ArrayList<>(Child.java(List.of(), arguments));
            int at = words.indexOf("--add-modules");
            words.subList(at, at + 2).clear();
            try (Child child = Child.start(temp.resolve("run" + run++), words)) {
                boolean tells = arguments[0].equals("devices");
                assertEquals(tells ? 0 : 2, child.code(), child::toString);
                assertTrue(
                        (tells ? child.out() : child.err()).contains("--add-modules jdk.incubator.vector"),
                        child::toString);
                assertTrue(child.err().lines().count() <= 2, child::toString);
            }
        }
    }

    /// No compiled kernel is thrown away because a class was loaded late: what replaces it can be five times slower.
    @Test
    void compiledKernelsAreNotInvalidatedByClassesLoadedLater() throws Exception {
        try (Child child = Child.start(
                temp.resolve("run"),
                List.of("-XX:+PrintCompilation"),
                "prune",
                "demo-llama",
                "--method",
                "sparsegpt",
                "--samples",
                "16",
                "--out",
                temp.resolve("pruned").toString())) {
            assertEquals(0, child.code(), child::toString);
            List<String> kernels = child.out()
                    .lines()
                    .filter(line -> line.contains("dev.espalier.kernels."))
                    .toList();
            assertTrue(kernels.stream().anyMatch(line -> line.contains("MicroKernel::")), child::toString);
            assertEquals(
                    List.of(),
                    kernels.stream()
                            .filter(line -> line.contains("marked for deoptimization"))
                            .toList());
        }
    }

    /// Ctrl-C while a solver works: neither the folder nor its half is left.
    @Test
    void controlCInsideASolverLeavesNothing() throws Exception {
        try (Child child = Child.start(
                temp.resolve("run"),
                "prune",
                "demo-llama",
                "--method",
                "sparsegpt",
                "--samples",
                "64",
                "--out",
                temp.resolve("interrupted").toString())) {
            child.await(temp.resolve("interrupted.partial"));
            Thread.sleep(300);
            child.interrupt();
        }
        assertEquals(List.of("run"), Fixtures.names(temp));
    }

    /// Killed as the system kills, at a random moment of the first block, of the second, and of the third.
    @Test
    void aRunThatIsKilledAtRandomMomentsEndsWithTheBytesOfAnUnbrokenOne() throws Exception {
        String[] options = {"prune", "demo-llama", "--method", "sparsegpt", "--samples", "4", "--seq-len", "64"};
        Path partial = temp.resolve("killed.partial");
        Random random = new Random();
        for (Path begun : List.of(
                partial,
                partial.resolve("journal/block-00000.safetensors"),
                partial.resolve("journal/block-00001.safetensors"))) {
            try (Child child = Child.start(temp.resolve("run"), add(options, "--out", out("killed"), "--resume"))) {
                child.await(begun);
                Thread.sleep(random.nextInt(300));
                child.kill();
            }
        }
        boolean complete = Files.exists(temp.resolve("killed"));
        assertTrue(complete || Files.exists(partial.resolve("journal/block-00001.safetensors")));
        Cli.refused(
                2,
                add(options, "--out", out("killed"), "--resume", "--sparsity", "0.7"),
                complete ? "another run" : "another plan");
        Cli.json(add(options, "--out", out("killed"), "--resume"));
        Cli.json(add(options, "--out", out("unbroken")));
        assertEquals(List.of("killed", "run", "unbroken"), Fixtures.names(temp));
        assertEquals(Fixtures.names(temp.resolve("unbroken")), Fixtures.names(temp.resolve("killed")));
        assertEquals(
                -1,
                Files.mismatch(temp.resolve("unbroken/model.safetensors"), temp.resolve("killed/model.safetensors")));
    }

    /// Ctrl-C after a finished block keeps it, and says nothing else of it than the folder's name.
    @Test
    void controlCKeepsFinishedBlocksForResumingAndTheNextRunWithoutItStartsAfresh() throws Exception {
        String[] options = {"prune", "demo-llama", "--method", "sparsegpt", "--samples", "4", "--seq-len", "64"};
        Path journal = temp.resolve("pruned.partial/journal");
        try (Child child = Child.start(temp.resolve("run"), add(options, "--out", out("pruned")))) {
            child.await(journal.resolve("block-00000.safetensors"));
            child.interrupt();
        }
        assertEquals(List.of("pruned.partial", "run"), Fixtures.names(temp));
        assertEquals(List.of(".espalier-lock", "journal"), Fixtures.names(temp.resolve("pruned.partial")));
        Cli.refused(
                2, Cli.words("prune", LLAMA, "--method", "magnitude", "--resume", "--out", out("pruned")), "another");
        assertTrue(Files.exists(journal.resolve("block-00000.safetensors")));
        Cli.json("prune", LLAMA, "--method", "magnitude", "--out", out("pruned"));
        assertEquals(List.of("pruned", "run"), Fixtures.names(temp));
        assertEquals(
                List.of(),
                Fixtures.names(temp.resolve("pruned")).stream()
                        .filter(n -> n.startsWith("j"))
                        .toList());
    }

    private String out(String name) {
        return temp.resolve(name).toString();
    }

    private static String[] add(String[] some, String... more) {
        String[] all = Arrays.copyOf(some, some.length + more.length);
        System.arraycopy(more, 0, all, some.length, more.length);
        return all;
    }

    @Test
    void aPrunerThatWasStoppedIsNoInternalError() {
        StringWriter err = new StringWriter();
        CommandLine line = Espalier.withCommands("").setErr(new PrintWriter(err));
        assertEquals(130, Espalier.failed(new CancellationException("pruning was stopped in block 3"), line));
        assertEquals("espalier: pruning was stopped in block 3\n", err.toString());
    }

    /// A container's limit is known before the work, and the process is not killed in the middle of it.
    @ParameterizedTest
    @CsvSource({
        "generate random:llama-1b --prompt-ids 1",
        "eval perplexity random:llama-1b --text " + "TEXT",
        "bench decode random:llama-1b --formats dense",
        "prune random:llama-1b --method magnitude --out OUT",
        "prune-and-serve random:llama-1b --no-serve",
        "serve random:llama-1b --port 0",
    })
    void weightsThatDoNotFitIntoTheContainerAreRefusedBeforeTheyAreMade(String command) throws IOException {
        Path root = limits(512L << 20, "max 100000");
        Path text = Files.writeString(temp.resolve("text"), "some text");
        withRoot(
                root,
                () -> Cli.refused(
                        1,
                        command.replace("TEXT", text.toString())
                                .replace("OUT", temp.resolve("out").toString())
                                .split(" "),
                        "GiB",
                        "512.0 MiB",
                        "random:llama-1b"));
        assertEquals(List.of("root", "text"), Fixtures.names(temp));
    }

    /// The model fits, what pruning holds beside it does not.
    @Test
    void pruningThatDoesNotFitIsRefusedBeforeTheModelWritesItsText() throws IOException {
        Path root = limits(1L << 20, "max 100000");
        withRoot(
                root,
                () -> Cli.refused(
                        1,
                        Cli.words("prune", LLAMA, "--out", temp.resolve("never").toString(), "--samples", "64"),
                        "pruning needs",
                        "of 1 MiB are free",
                        "--samples"));
        assertEquals(List.of("root"), Fixtures.names(temp));
    }

    @Test
    void threadsFollowTheContainersQuota() throws IOException {
        Path root = limits(1L << 40, "150000 100000");
        withRoot(root, () -> {
            JsonNode devices = Cli.json("devices");
            assertEquals(
                    Math.min(2, Runtime.getRuntime().availableProcessors()),
                    devices.at("/cpu/cores").asInt());
        });
        Path half = limits(1L << 40, "50000 100000");
        withRoot(half, () -> {
            assertEquals(1, Cli.json("devices").at("/cpu/cores").asInt());
            JsonNode bench =
                    Cli.json("bench", "decode", LLAMA, "--formats", "dense", "--rounds", "1", "--seconds", "0");
            assertEquals(1, bench.path("threads").asInt());
        });
    }

    /// A machine with a container's limits, as the system's files show it.
    private Path limits(long bytes, String cpus) throws IOException {
        Path root = temp.resolve("root");
        Files.createDirectories(root.resolve("proc/self"));
        Files.createDirectories(root.resolve("sys/fs/cgroup"));
        Files.writeString(root.resolve("proc/meminfo"), "MemTotal: 99000000 kB\nMemAvailable: 90000000 kB\n");
        Files.writeString(root.resolve("proc/self/cgroup"), "0::/\n");
        Files.writeString(root.resolve("sys/fs/cgroup/memory.max"), bytes + "\n");
        Files.writeString(root.resolve("sys/fs/cgroup/memory.current"), "4096\n");
        Files.writeString(root.resolve("sys/fs/cgroup/cpu.max"), cpus + "\n");
        return root;
    }

    private static void withRoot(Path root, Runnable work) {
        System.setProperty("espalier.os.root", root.toString());
        try {
            work.run();
        } finally {
            System.clearProperty("espalier.os.root");
        }
    }

    /// A file may not grow beyond 64 KiB, so the write in the middle of the work fails.
    @ParameterizedTest
    @ValueSource(strings = {"dense", "packed"})
    void aWriteThatFailsInTheMiddleEndsWithOneSentenceAndNothingIsLeft(String saveAs) throws Exception {
        assumeTrue(Files.exists(Path.of("/bin/sh")), "platform: no /bin/sh");
        Path run = temp.resolve("run");
        Files.createDirectories(run);
        List<String> program = new ArrayList<>(List.of("/bin/sh", "-c", "ulimit -f 128; exec \"$@\"", "sh"));
        program.addAll(Child.java(
                // The JVM's own file of performance data is larger than that.
                List.of("-XX:-UsePerfData"),
                "prune",
                LLAMA,
                "--method",
                "magnitude",
                "--sparsity",
                "0.1",
                "--save-as",
                saveAs,
                "--out",
                temp.resolve("never").toString()));
        try (Child child = Child.start(run, program)) {
            assertEquals(1, child.code(), child::toString);
            assertEquals("", child.out());
            assertEquals(1, child.err().lines().count(), child::toString);
            assertTrue(child.err().startsWith("espalier: writing "), child::toString);
            assertTrue(child.err().contains("never"), child::toString);
            assertFalse(child.err().contains("Exception"), child::toString);
        }
        assertEquals(List.of("run"), Fixtures.names(temp));
    }

    /// A file system of a few hundred kilobytes, where the system lets us make one. Too small for the result, it is
    /// refused at once; too small for something later, the finished blocks stay, and the sentence says so.
    @ParameterizedTest
    @CsvSource({"dense, 200, are free", "dense, 612, kept for --resume", "packed, 420, kept for --resume"})
    void aFullDiskEndsWithOneSentenceAndNothingHalfWrittenIsLeft(String saveAs, int kibibytes, String sentence)
            throws Exception {
        Path run = temp.resolve("run");
        Path disk = Files.createDirectories(temp.resolve("disk"));
        List<String> mount =
                new ArrayList<>(List.of("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c"));
        String script = "mount -t tmpfs -o size=%dk tmpfs '%s' || exit 77; \"$@\"; code=$?; ls -A '%s' >&2; exit $code"
                .formatted(kibibytes, disk, disk);
        mount.addAll(List.of(script, "sh"));
        mount.addAll(Child.java(
                List.of(),
                "prune",
                LLAMA,
                "--method",
                "magnitude",
                "--sparsity",
                "0.1",
                "--save-as",
                saveAs,
                "--out",
                disk.resolve("never").toString()));
        Child child;
        try {
            child = Child.start(run, mount);
        } catch (IOException e) {
            assumeTrue(false, "platform: no unshare");
            return;
        }
        try (child) {
            int code = child.code();
            assumeTrue(code != 77 && !child.err().contains("unshare"), "platform: no file system can be mounted");
            assertEquals(1, code, child::toString);
            // After the sentence comes the list of what is left on the disk.
            List<String> lines = child.err().lines().toList();
            assertTrue(lines.getFirst().startsWith("espalier: "), child::toString);
            assertTrue(lines.getFirst().contains(sentence), child::toString);
            assertEquals(
                    sentence.startsWith("kept") ? List.of("never.partial") : List.of(),
                    lines.subList(1, lines.size()),
                    child::toString);
            assertTrue(child.err().contains("never"), child::toString);
            assertFalse(child.err().contains("Exception"), child::toString);
        }
    }

    private static String url(Child child) throws Exception {
        String line = child.await("listening on ");
        return line.substring(line.indexOf("http"));
    }

    private static HttpRequest get(String url) {
        return HttpRequest.newBuilder(URI.create(url)).build();
    }

    private static HttpRequest post(String url, String body) {
        return HttpRequest.newBuilder(URI.create(url + "/v1/completions"))
                .POST(BodyPublishers.ofString(body))
                .build();
    }
}
