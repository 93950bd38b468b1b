package dev.espalier.tools;

import static dev.espalier.tools.Cli.refused;
import static dev.espalier.tools.Cli.words;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.checkpoint.Checkpoint;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// `prune` and `prune-and-serve`.
class PruneCommandsTest {
    private static final String LLAMA = Fixtures.family("llama-gqa-tied").toString();

    @TempDir
    Path temp;

    @Test
    void pruningWritesAFolderThatLoadsAndAReportThatHasEveryField() {
        JsonNode report = prune("--method", "magnitude", "--sparsity", "0.5", "--out", out("dense"));
        for (String field : List.of(
                "model",
                "method",
                "pattern",
                "sparsity",
                "allocation",
                "rows",
                "calibration",
                "layers",
                "total",
                "out")) {
            assertTrue(report.has(field), field);
        }
        assertEquals(LLAMA, report.path("model").asText());
        assertEquals("magnitude", report.path("method").asText());
        assertEquals("unstructured", report.path("pattern").asText());
        assertEquals(out("dense"), report.path("out").asText());
        assertEquals(21, report.path("layers").size());
        for (String field : List.of(
                "name",
                "rows",
                "cols",
                "sparsity",
                "relative_error",
                "relative_error_squared",
                "heldout_error",
                "seconds")) {
            assertTrue(report.path("layers").get(0).has(field), field);
        }
        for (String field : List.of("weights", "zeros", "sparsity", "seconds", "peak_bytes")) {
            assertTrue(report.path("total").has(field), field);
        }
        JsonNode info = Cli.json("info", out("dense"));
        assertEquals(0.5, info.path("sparsity").asDouble(), 1e-3);
        assertEquals(
                report.at("/total/sparsity").asDouble(), info.path("sparsity").asDouble(), 1e-12);
        assertEquals(
                Cli.json("info", LLAMA).path("bytes").asLong(),
                info.path("bytes").asLong());
        assertEquals(
                Fixtures.names(Fixtures.family("llama-gqa-tied")).size() + 1,
                Fixtures.names(temp.resolve("dense")).size());
        assertTrue(Files.exists(temp.resolve("dense").resolve("prune-report.json")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"magnitude", "wanda", "dsnot", "sparsegpt", "admm-grad", "alps"})
    void everyMethodKeepsNOfMAndAllSavedFormsGenerateTheSame(String method) {
        String[] calibration = {"--samples", "2", "--seq-len", "32", "--pattern", "2:4", "--method", method};
        prune(join(calibration, "--out", out("dense")));
        prune(join(calibration, "--out", out("packed"), "--save-as", "packed"));
        JsonNode dense = Cli.json("info", out("dense"));
        JsonNode packed = Cli.json("info", out("packed"));
        assertTrue(
                dense.path("sparsity").asDouble() >= 0.5, dense.path("sparsity").toString());
        assertEquals(dense.path("sparsity"), packed.path("sparsity"));
        assertEquals(dense.path("parameters"), packed.path("parameters"));
        assertEquals("2:4", packed.at("/layers/0/format").asText());
        long weights = 0;
        for (JsonNode layer : packed.path("layers")) {
            weights += layer.path("rows").asLong() * layer.path("cols").asLong();
        }
        // F32: half of the values are gone, and a bit for each weight comes.
        assertEquals(
                dense.path("bytes").asDouble() - weights * (2 - 1.0 / 8),
                packed.path("bytes").asDouble(),
                0.01 * (double) weights);
        String expected = tokens(out("dense"));
        assertEquals(expected, tokens(out("packed")));
        for (String format : List.of("dense", "bitmask", "2:4")) {
            assertEquals(expected, tokens(out("packed"), "--format", format), format);
        }
    }

    @Test
    void refinementIsAStageOfItsOwnAndAnUnknownOneIsRefused() {
        String[] calibration = {"--samples", "2", "--seq-len", "32", "--method", "wanda", "--sparsity", "0.6"};
        JsonNode plain = prune(join(calibration, "--out", out("plain")));
        JsonNode refined = prune(join(calibration, "--out", out("refined"), "--refine", "pcg"));
        assertEquals("none", plain.path("refine").asText());
        assertEquals("pcg", refined.path("refine").asText());
        assertEquals(plain.at("/total/zeros"), refined.at("/total/zeros"));
        assertTrue(refined.at("/layers/0/relative_error").asDouble()
                < plain.at("/layers/0/relative_error").asDouble());
        refused(2, words("prune", LLAMA, "--out", out("none"), "--refine", "polish"), "none, pcg, backsolve, swap");
    }

    @Test
    void whatIsNotPrunedKeepsItsBytesAndTypes() throws IOException {
        for (String fixture : List.of("llama-bf16", "llama-f16", "opt-350m-style", "llama-bias", "llama-shards")) {
            Path source = Fixtures.family(fixture);
            Path out = temp.resolve(fixture);
            Cli.json("prune", source.toString(), "--method", "magnitude", "--out", out.toString());
            try (Checkpoint before = Checkpoint.open(source);
                    Checkpoint after = Checkpoint.open(out)) {
                assertEquals(before.names(), after.names());
                for (String name : before.names()) {
                    assertEquals(before.dtype(name), after.dtype(name), name);
                    boolean layer = name.contains("layers.") && before.shape(name).length == 2;
                    long change = before.tensor(name)
                            .segment()
                            .mismatch(after.tensor(name).segment());
                    assertEquals(layer, change >= 0, name);
                }
            }
            assertArrayEquals(
                    Files.readAllBytes(source.resolve("config.json")), Files.readAllBytes(out.resolve("config.json")));
        }
    }

    @Test
    void aPrunedModelCanBePrunedAgainFromEitherForm() throws IOException {
        prune("--method", "magnitude", "--sparsity", "0.5", "--out", out("half"));
        prune("--method", "magnitude", "--sparsity", "0.5", "--out", out("half packed"), "--save-as", "packed");
        for (String from : List.of("half", "half packed")) {
            JsonNode again = Cli.json(
                    "prune", out(from), "--method", "magnitude", "--sparsity", "0.7", "--out", out(from + " again"));
            assertEquals(0.7, again.at("/total/sparsity").asDouble(), 1e-3);
        }
        assertArrayEquals(
                Files.readAllBytes(temp.resolve("half again/model.safetensors")),
                Files.readAllBytes(temp.resolve("half packed again/model.safetensors")));
    }

    /// One stores the embedding only, one the head only; at sparsity 0 nothing changes, and nothing is stored twice.
    @ParameterizedTest
    @ValueSource(strings = {"stories260K", "tinystories-656k"})
    void tiedHeadsStayAsTheyAre(String name) {
        Path source = SharedFolder.path("models/" + name);
        Cli.json("prune", source.toString(), "--method", "magnitude", "--sparsity", "0", "--out", out("same"));
        assertEquals(tokens(source.toString()), tokens(out("same")));
        try (Checkpoint before = Checkpoint.open(source);
                Checkpoint after = Checkpoint.open(temp.resolve("same"))) {
            assertEquals(before.names(), after.names());
            assertEquals(before.bytes(), after.bytes());
        }
    }

    @Test
    void aPackedCheckpointThatLacksAPartIsRefused() throws IOException {
        prune("--method", "magnitude", "--out", out("packed"), "--save-as", "packed");
        Path file = temp.resolve("packed/model.packed.safetensors");
        String good = Files.readString(file, StandardCharsets.ISO_8859_1);
        String part = "model.layers.0.mlp.up_proj.weight";
        for (String[] change : List.of(
                words(part + ".mask", part + ".musk"),
                words(part + ".values", part + ".volues"),
                words("espalier-packed", "espalier-pocket"),
                words("model.norm.weight", "model.nurm.weight"))) {
            Files.writeString(file, good.replace(change[0], change[1]), StandardCharsets.ISO_8859_1);
            String named = change[0].startsWith("espalier") ? change[1] : change[0];
            refused(2, words("info", out("packed")), named);
            refused(2, words("generate", out("packed"), "--prompt-ids", "1"), named);
        }
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "--sparsity 1                    | sparsity",
                "--sparsity -0.1                 | sparsity",
                "--sparsity x                    | --sparsity",
                "--pattern 5:4                   | 5:4",
                "--pattern 4:4                   | 4:4",
                "--pattern 0:4                   | 0:4",
                "--pattern 2:4:8                 | 2:4:8",
                "--pattern 24                    | 24",
                "--pattern 2:4 --sparsity 0.7    | 2:4",
                "--pattern 2:5                   | 5",
                "--method nothing                | nothing",
                "--damping x                     | damping",
                "--samples 0                     | samples",
                "--seq-len 1000                  | 1000",
                "--calibration nowhere.txt       | nowhere.txt",
                "--save-as zip                   | --save-as",
            })
    void optionsThatMakeNoSenseAreRefusedAndNothingIsWritten(String options, String fault) {
        String[] all = join(
                words("prune", LLAMA, "--out", out("never")), options.strip().split(" +"));
        refused(2, all, fault);
        assertEquals(List.of(), Fixtures.names(temp));
    }

    @Test
    void anOutputFolderThatIsMissingOrTakenIsRefused() throws IOException {
        refused(2, words("prune", LLAMA), "--out");
        Files.createDirectory(temp.resolve("taken"));
        Files.writeString(temp.resolve("taken/precious"), "data");
        refused(2, words("prune", LLAMA, "--method", "magnitude", "--out", out("taken")), "not empty");
        assertEquals(List.of("precious"), Fixtures.names(temp.resolve("taken")));
    }

    /// As a process leaves it that was killed right after its last step: a script may repeat the command.
    @Test
    void resumingACompleteFolderDoesNothingButSayAndTidyIt() throws IOException {
        String[] command = words("prune", LLAMA, "--method", "magnitude", "--out", out("whole"), "--resume");
        JsonNode first = Cli.json(command);
        Path whole = temp.resolve("whole");
        byte[] weights = Files.readAllBytes(whole.resolve("model.safetensors"));
        List<String> names = Fixtures.names(whole);
        Files.createFile(whole.resolve(".espalier-lock"));
        Files.createDirectory(whole.resolve("journal"));
        Files.createFile(whole.resolve("journal/block-00000.safetensors"));
        JsonNode again = Cli.json(join(command, "--report", out("page")));
        assertEquals(first.get("layers"), again.get("layers"));
        assertEquals(first.get("total"), again.get("total"));
        assertEquals(first.get("model"), again.get("model"));
        assertEquals(first.get("out"), again.get("out"));
        assertEquals(names, Fixtures.names(whole));
        assertArrayEquals(weights, Files.readAllBytes(whole.resolve("model.safetensors")));
        assertTrue(Files.exists(temp.resolve("page/index.html")));
        for (String option : List.of("--sparsity 0.7", "--damping 0.5", "--save-as packed", "--calibration self")) {
            refused(2, join(command, option.split(" ")), "complete already, but of another run");
        }
        refused(2, join(words("prune-and-serve"), Arrays.copyOfRange(command, 1, command.length)), "espalier serve");
        assertEquals(names, Fixtures.names(whole));
        for (String damaged : List.of("{\"layers\": [", "", "[]")) {
            Files.writeString(whole.resolve("prune-report.json"), damaged);
            refused(2, command, "prune-report.json is not a report of espalier prune");
        }
    }

    @Test
    void emptyCalibrationTextsAreRefused() throws IOException {
        String model = SharedFolder.path("models/stories260K").toString();
        for (String name : List.of("empty.txt", "empty.jsonl")) {
            Path text = Files.writeString(temp.resolve(name), "\n");
            refused(2, words("prune", model, "--calibration", text.toString(), "--out", out("never")), name);
        }
        Path lines = Files.writeString(temp.resolve("bad.jsonl"), "{\"text\":\n");
        refused(2, words("prune", model, "--calibration", lines.toString(), "--out", out("never")), "bad.jsonl");
        assertFalse(Files.exists(temp.resolve("never")));
        assertFalse(Files.exists(temp.resolve("never.partial")));
    }

    @Test
    void aDryRunSaysWhatIsNeededAndDoesNothing() {
        JsonNode need = Cli.json("prune", LLAMA, "--dry-run", "--out", out("never"));
        assertEquals(21, need.path("layers").size());
        assertTrue(need.path("peak_bytes").asLong() > 0);
        double seconds = 0;
        for (JsonNode layer : need.path("layers")) {
            assertTrue(layer.path("bytes").asLong() > 0 && layer.path("rows").asInt() > 0, layer::toString);
            seconds += layer.path("seconds").asDouble();
        }
        // What is not in a layer is the windows' way through the blocks.
        assertTrue(seconds > 0 && seconds < need.path("seconds").asDouble(), need::toString);
        assertEquals(
                need.path("multiplications").asDouble()
                        / need.path("multiplications_per_s").asDouble(),
                need.path("seconds").asDouble(),
                1e-9);
        assertEquals(List.of(), Fixtures.names(temp));
    }

    @Test
    void pruneAndServeShowsBothSidesBeforeItServes() {
        JsonNode both = Cli.json(
                "prune-and-serve",
                LLAMA,
                "--no-serve",
                "--no-scale-up",
                "--method",
                "wanda",
                "--samples",
                "4",
                "--seq-len",
                "32",
                "--pattern",
                "2:4");
        for (String side : List.of("dense", "sparse")) {
            for (String field : List.of("perplexity", "decode_tokens_per_s", "prefill_tokens_per_s", "weight_bytes")) {
                assertTrue(both.path(side).path(field).asDouble() > 0, side + " " + field);
            }
        }
        // The median of the pairs' ratios and the ratio of the medians: not the same, but both within the pairs'
        // ratios.
        double ratio = both.at("/sparse/decode_tokens_per_s").asDouble()
                / both.at("/dense/decode_tokens_per_s").asDouble();
        double least = both.path("speedup_min").asDouble();
        double most = both.path("speedup_max").asDouble();
        for (double one : new double[] {ratio, both.path("speedup").asDouble()}) {
            assertTrue(least * 0.9999 <= one && one <= most * 1.0001, least + " <= " + one + " <= " + most);
        }
        assertEquals("2:4", both.path("pattern").asText());
        assertEquals(21, both.path("layers").size());
        assertFalse(both.has("scale_up"));
        assertTrue(both.path("dense").path("weight_bytes").asLong()
                >= both.path("sparse").path("weight_bytes").asLong());
    }

    private String out(String name) {
        return temp.resolve(name).toString();
    }

    private static JsonNode prune(String... options) {
        return Cli.json(join(words("prune", LLAMA), options));
    }

    private static String tokens(String model, String... options) {
        return Cli.json(join(
                        words(
                                "generate",
                                model,
                                "--prompt-ids",
                                "1,4,7",
                                "--temperature",
                                "0",
                                "--max-new-tokens",
                                "12",
                                "--ignore-eos"),
                        options))
                .path("token_ids")
                .toString();
    }

    private static String[] join(String[] some, String... more) {
        String[] all = java.util.Arrays.copyOf(some, some.length + more.length);
        System.arraycopy(more, 0, all, some.length, more.length);
        return all;
    }
}
