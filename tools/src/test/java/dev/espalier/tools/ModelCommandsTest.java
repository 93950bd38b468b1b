package dev.espalier.tools;

import static dev.espalier.tools.Cli.refused;
import static dev.espalier.tools.Cli.words;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// `info`, `devices`, `generate`, `eval perplexity`, `bench decode`, `serve`.
class ModelCommandsTest {
    private static final String LLAMA = Fixtures.family("llama-gqa-tied").toString();
    private static final String OPT = Fixtures.family("opt-preln").toString();
    private static final String LILY = "Once upon a time, there was a little girl named Lily.";
    private static final String LILY_IDS = "1,403,407,261,378,432,383,286,261,376,298,315,421,395,317,426";

    @TempDir
    Path temp;

    @ParameterizedTest
    @ValueSource(strings = {"llama-gqa-tied", "opt-preln", "llama-bf16"})
    void infoSaysWhatIsInACheckpoint(String fixture) {
        JsonNode info = Cli.json("info", Fixtures.family(fixture).toString());
        assertEquals(
                fixture.substring(0, fixture.indexOf('-')), info.path("family").asText());
        assertEquals(
                fixture.endsWith("bf16") ? "bf16" : "f32", info.path("dtype").asText());
        assertEquals(0, info.path("sparsity").asDouble());
        assertTrue(info.path("parameters").asLong() > 1000);
        long bytes = 0;
        for (JsonNode layer : info.path("layers")) {
            assertEquals("dense", layer.path("format").asText());
            assertTrue(layer.path("name").asText().endsWith(".weight"));
            assertTrue(layer.path("rows").asInt() > 0 && layer.path("cols").asInt() > 0);
            bytes += layer.path("bytes").asLong();
        }
        assertTrue(bytes > 0 && bytes < info.path("bytes").asLong());
    }

    @Test
    void infoKnowsRandomShapesWithoutMakingTheirWeights() {
        JsonNode info = Cli.json("info", "random:opt-13b");
        assertEquals(12853473280L, info.path("parameters").asLong());
        assertEquals(240, info.path("layers").size());
        assertTrue(Cli.run("info", "random:llama-1b").out().contains("random"), "says that it is random");
    }

    @Test
    void spoiltCheckpointsAreRefusedByEveryVerbWithTheFilesName() throws IOException {
        Path folder = Fixtures.copy(Fixtures.family("llama-gqa-tied"), temp.resolve("m"));
        Path weights = folder.resolve("model.safetensors");
        byte[] good = Files.readAllBytes(weights);
        byte[] absurd = good.clone();
        Arrays.fill(absurd, 0, 8, (byte) 0);
        absurd[7] = 0x10;
        List<byte[]> spoilt = List.of(
                Arrays.copyOf(good, good.length / 2), Arrays.copyOf(good, good.length + 8), absurd, new byte[0]);
        for (byte[] bytes : spoilt) {
            Files.write(weights, bytes);
            refused(2, words("info", folder.toString()), "model.safetensors");
            refused(2, words("generate", folder.toString(), "--prompt-ids", "1"), "model.safetensors");
        }
        String text = new String(good, StandardCharsets.ISO_8859_1);
        String renamed = text.replace("model.norm.weight", "model.nurm.weight");
        Files.write(weights, renamed.getBytes(StandardCharsets.ISO_8859_1));
        refused(2, words("info", folder.toString()), "model.norm.weight");
        Files.write(weights, good);
        Files.writeString(folder.resolve("config.json"), "{\"model_type\":\"mamba\"}");
        refused(2, words("info", folder.toString()), "mamba", "llama, opt");
        Files.writeString(folder.resolve("config.json"), "{}");
        refused(2, words("generate", folder.toString(), "--prompt-ids", "1"), "model_type");
    }

    @Test
    void modelsThatAreNotThereAreRefusedWithARemedy() {
        refused(2, words("info", "facebook/opt-125m"), "hub");
        refused(2, words("info", temp.resolve("nothing").toString()), "no model folder");
        refused(2, words("info", "random:llama-9000b"), "llama-1b");
    }

    @Test
    void devicesListsTheProcessorAndEveryLibrary() {
        JsonNode devices = Cli.json("devices");
        assertTrue(devices.at("/cpu/cores").asInt() >= 1);
        assertTrue(devices.at("/cpu/read_gb_per_s").asDouble() > 0.01);
        assertTrue(devices.at("/cpu/vector_bits").asInt() >= 64);
        List<String> names = devices.path("libraries").findValuesAsText("name");
        assertEquals(
                List.of("cudart", "cublas", "cublasLt", "cusparse", "cusparseLt", "cusolver", "nvrtc", "openblas"),
                names);
        for (JsonNode library : devices.path("libraries")) {
            assertEquals(
                    library.path("found").asBoolean(), library.path("why_not").isNull(), library.toString());
        }
        boolean usable = devices.path("gpu_why_not").isNull();
        assertFalse(usable && devices.path("gpus").isEmpty());
        if (!usable) {
            assertEquals(1, devices.path("gpu_why_not").asText().lines().count());
        }
        for (JsonNode gpu : devices.path("gpus")) {
            assertTrue(gpu.path("compute_capability").asText().matches("\\d+\\.\\d"), gpu.toString());
            assertTrue(gpu.path("memory_bytes").asLong() > 0, gpu.toString());
        }
    }

    @Test
    void devicesSaysInTextWhatIsMissingAndHowToGetIt() {
        Cli cli = Cli.run("devices");
        assertEquals(0, cli.code(), cli.err());
        assertTrue(cli.out().contains("GPU: "), cli.out());
        JsonNode libraries = Cli.json("devices").path("libraries");
        for (JsonNode library : libraries) {
            assertTrue(cli.out().contains(library.path("name").asText()), cli.out());
            if (!library.path("found").asBoolean()
                    && library.path("name").asText().startsWith("cu")) {
                assertTrue(cli.out().contains("pip install") && cli.out().contains("ESPALIER_CUDA_PATH"), cli.out());
            }
        }
    }

    /// A GPU cannot compute a model yet, so the option is refused on every machine; without one, for the reason that
    /// `devices` gives.
    @Test
    void aDeviceThatIsNotThereIsOneSentenceOnEveryVerb() throws IOException {
        String text = Files.writeString(temp.resolve("text"), "a text").toString();
        String out = temp.resolve("out").toString();
        String whyNot = Cli.json("devices").path("gpu_why_not").asText("CPU only");
        for (String[] verb : List.of(
                words("generate", LLAMA, "--prompt-ids", "1"),
                words("prune", LLAMA, "--out", out),
                words("prune-and-serve", LLAMA),
                words("serve", LLAMA),
                words("eval", "perplexity", LLAMA, "--text", text),
                words("bench", "decode", LLAMA))) {
            String[] all = java.util.Arrays.copyOf(verb, verb.length + 2);
            all[verb.length] = "--device";
            all[verb.length + 1] = "cuda";
            refused(2, all, "--device cuda", whyNot, "cpu");
        }
    }

    @Test
    void generateTakesIdsWithoutATokenizer() {
        JsonNode document = Cli.json(
                "generate",
                LLAMA,
                "--prompt-ids",
                "1,5,9",
                "--temperature",
                "0",
                "--max-new-tokens",
                "6",
                "--ignore-eos",
                "--logprobs",
                "3");
        assertEquals("[1,5,9]", document.path("prompt_ids").toString());
        assertEquals(6, document.path("token_ids").size());
        assertTrue(document.path("text").isNull());
        assertEquals("length", document.path("finish_reason").asText());
        assertEquals(6, document.path("logprobs").size());
        for (int i = 0; i < 6; i++) {
            JsonNode entry = document.path("logprobs").get(i);
            assertEquals(
                    document.path("token_ids").get(i).asInt(),
                    entry.path("token_id").asInt());
            assertEquals(3, entry.path("top").size());
            // Greedy: the token is the likeliest.
            assertEquals(
                    entry.at("/top/0/token_id").asInt(), entry.path("token_id").asInt());
            assertEquals(
                    entry.at("/top/0/logprob").asDouble(), entry.path("logprob").asDouble());
        }
        for (String field :
                List.of("load_seconds", "first_token_seconds", "prefill_tokens_per_s", "decode_tokens_per_s")) {
            assertTrue(document.path(field).asDouble() > 0, field);
        }
    }

    @Test
    void resultsDoNotDependOnThreadsAndEqualSeedsGiveEqualTexts() {
        String[] base = {
            "generate", OPT, "--prompt-ids", "2,5,9", "--temperature", "1.2", "--max-new-tokens", "12", "--ignore-eos"
        };
        String one = ids(base, "--seed", "7", "--threads", "1");
        assertEquals(one, ids(base, "--seed", "7", "--threads", "3"));
        assertEquals(one, ids(base, "--seed", "7"));
        assertFalse(one.equals(ids(base, "--seed", "8")), "another seed gives another text");
    }

    @Test
    void generateRefusesWhatItCannotDo() throws IOException {
        refused(2, words("generate", LLAMA), "--prompt");
        refused(2, words("generate", LLAMA, "--prompt", "a", "--prompt-ids", "1"), "one of");
        refused(2, words("generate", LLAMA, "--prompt", "a"), "no tokenizer", "--prompt-ids");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1,x"), "--prompt-ids");
        refused(2, words("generate", LLAMA, "--prompt-ids", "99999"), "99999");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1" + ",1".repeat(64)), "65", "64");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--top-p", "2"), "top-p");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--temperature", "-1"), "temperature");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--max-new-tokens", "-1"), "max-new-tokens");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--threads", "0"), "--threads");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--device", "cuda"), "cuda", "cpu");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--format", "nothing"), "nothing", "dense");
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--format", "2:4"), "2:4");
        refused(2, words("generate", LLAMA, "--prompt-file", temp.resolve("x").toString()), "no such file");
        Path latin = Files.write(temp.resolve("latin"), new byte[] {'a', (byte) 0xe4, 'b'});
        refused(2, words("generate", LLAMA, "--prompt-file", latin.toString()), "UTF-8");
    }

    @Test
    void everyWeightTypeGivesTheTextOfTheStoredOneForARoundedCheckpoint() {
        String stored = Fixtures.family("llama-bf16").toString();
        String[] base = {"generate", stored, "--prompt-ids", "1,5", "--temperature", "0", "--max-new-tokens", "5"};
        // BF16 values are exact in F32, so the arithmetic is the same.
        assertEquals(ids(base), ids(base, "--dtype", "f32"));
        assertEquals(5, Cli.json(add(base, "--dtype", "f16")).path("token_ids").size());
    }

    @Test
    void textsAreContinuedAsTheReferenceDoes() {
        String model = SharedFolder.path("models/stories260K").toString();
        JsonNode document =
                Cli.json("generate", model, "--prompt", LILY, "--temperature", "0", "--max-new-tokens", "16");
        assertEquals(LILY_IDS, join(document.path("prompt_ids")));
        assertEquals(
                "338,401,396,267,337,410,408,419,292,411,322,265,282,295,433,426", join(document.path("token_ids")));
        assertEquals(
                "She loved to play outside in the park.",
                document.path("text").asText().strip());
        Cli shown = Cli.run("generate", model, "--prompt", LILY, "--temperature", "0", "--max-new-tokens", "16", "-q");
        assertEquals(document.path("text").asText() + "\n", shown.out());
        assertEquals("", shown.err());
        JsonNode stopped = Cli.json(
                "generate",
                model,
                "--prompt",
                LILY,
                "--temperature",
                "0",
                "--max-new-tokens",
                "32",
                "--stop",
                "rk. One");
        assertEquals(
                "She loved to play outside in the pa",
                stopped.path("text").asText().strip());
        assertEquals("stop", stopped.path("finish_reason").asText());
    }

    @Test
    void perplexityIsTheSameTokenByToken() throws IOException {
        String model = SharedFolder.path("models/stories260K").toString();
        String stories = Files.readString(SharedFolder.path("data/tinystories/tinystories_val_1nl.txt"));
        Path text = Files.writeString(temp.resolve("text"), stories.substring(0, 4000));
        JsonNode prefill = Cli.json("eval", "perplexity", model, "--text", text.toString(), "--seq-len", "128");
        JsonNode decode = Cli.json(
                "eval", "perplexity", model, "--text", text.toString(), "--seq-len", "128", "--path", "decode");
        double perplexity = prefill.path("perplexity").asDouble();
        assertTrue(perplexity > 2 && perplexity < 8, prefill.toString());
        assertEquals(perplexity, decode.path("perplexity").asDouble(), 1e-3 * perplexity);
        assertEquals(
                prefill.path("tokens").asInt() / 128, prefill.path("windows").asInt());
        assertEquals(128, prefill.path("seq_len").asInt());
        assertEquals(text.toString(), prefill.path("text").asText());
        refused(2, words("eval", "perplexity", model, "--text", text.toString(), "--seq-len", "513"), "513", "512");
        Path empty = Files.writeString(temp.resolve("empty"), " \n");
        refused(2, words("eval", "perplexity", model, "--text", empty.toString()), "no text");
        refused(2, words("eval", "perplexity", model), "--text");
    }

    @Test
    void benchKeepsTheZerosOfAPrunedModelIfAskedTo() {
        String pruned = temp.resolve("pruned").toString();
        Cli.json("prune", LLAMA, "--method", "magnitude", "--sparsity", "0.6", "--out", pruned);
        JsonNode bench = Cli.json(
                "bench",
                "decode",
                pruned,
                "--formats",
                "bitmask@own,swell-int8@own,auto@own",
                "--rounds",
                "1",
                "--seconds",
                "0.001");
        assertEquals(4, bench.path("runs").size());
        for (JsonNode run : bench.path("runs")) {
            assertEquals(0.6, run.path("sparsity").asDouble(), 0.02, run.toString());
        }
        assertEquals("swell-int8", bench.path("runs").get(2).path("format").asText());
        refused(2, words("bench", "decode", pruned, "--formats", "bitmask@mine"), "not a number");
        refused(2, words("bench", "decode", pruned, "--formats", "bitmask@1"), "own");
    }

    @Test
    void benchComparesEveryFormatWithDense() {
        JsonNode bench = Cli.json(
                "bench", "decode", LLAMA, "--formats", "bitmask@0.5,2:4,dense", "--rounds", "3", "--seconds", "0.01");
        assertEquals("cpu", bench.path("device").asText());
        assertTrue(bench.path("read_gb_per_s").asDouble() > 0);
        assertTrue(bench.path("read_gb_per_s_one_thread").asDouble() > 0);
        assertEquals(3, bench.path("runs").size());
        JsonNode dense = bench.path("runs").get(0);
        assertEquals("dense", dense.path("format").asText());
        assertEquals(1, dense.path("ratio_to_dense").asDouble());
        assertEquals(1, dense.path("linear_ratio_to_dense").asDouble());
        JsonNode bitmask = bench.path("runs").get(1);
        assertEquals("bitmask", bitmask.path("format").asText());
        assertEquals("unstructured", bitmask.path("pattern").asText());
        assertEquals(0.5, bitmask.path("sparsity").asDouble(), 1e-3);
        assertTrue(bitmask.path("bytes_per_token").asLong()
                < dense.path("bytes_per_token").asLong());
        JsonNode grouped = bench.path("runs").get(2);
        assertEquals("2:4", grouped.path("format").asText());
        assertEquals("2:4", grouped.path("pattern").asText());
        assertEquals(0.5, grouped.path("sparsity").asDouble(), 1e-6);
        for (JsonNode run : bench.path("runs")) {
            assertTrue(
                    run.path("ratio_min").asDouble()
                            <= run.path("ratio_to_dense").asDouble(),
                    run.toString());
            assertTrue(
                    run.path("ratio_max").asDouble()
                            >= run.path("ratio_to_dense").asDouble(),
                    run.toString());
            assertTrue(run.path("bandwidth_share").asDouble() > 0, run.toString());
            assertTrue(run.path("tokens_per_s").asDouble() > 0, run.toString());
        }
    }

    /// CSR of half of the weights cannot gain; whatever the table says, no sentence says otherwise.
    @Test
    void aTableOfRatiosMakesNoClaims() { // pytorch 111339, tutorials 3236, ao 1460
        Cli bench = Cli.run(
                "bench", "decode", LLAMA, "--formats", "dense,csr@0.5,2:4", "--rounds", "3", "--seconds", "0.01");
        assertEquals(0, bench.code(), bench.err());
        for (String format : List.of("dense", "csr", "2:4")) {
            assertTrue(bench.out().lines().anyMatch(line -> line.strip().startsWith(format)), bench.out());
        }
        for (String claim : List.of("faster", "speed-up", "speedup", "gain")) {
            assertFalse(bench.out().contains(claim), bench.out());
        }
    }

    @Test
    void benchKernelsSaysBytesRatesAndRatiosOfEveryShape() {
        JsonNode bench = Cli.json(
                "bench",
                "kernels",
                "--shapes",
                "64x128,48x192",
                "--formats",
                "bitmask@0.5,13:64-int8,dense-int8",
                "--memory",
                "1",
                "--rounds",
                "3",
                "--seconds",
                "0.001");
        assertTrue(bench.path("read_gb_per_s").asDouble() > 0);
        assertEquals(8, bench.path("runs").size());
        for (int i = 0; i < 8; i++) {
            JsonNode run = bench.path("runs").get(i);
            assertEquals(i < 4 ? 64 : 48, run.path("rows").asInt());
            assertEquals(i < 4 ? 128 : 192, run.path("cols").asInt());
            assertEquals(1, run.path("tokens").asInt());
            assertTrue(run.path("weights_per_s").asDouble() > 0, run.toString());
            assertTrue(run.path("cache_weights_per_s").asDouble() > 0, run.toString());
            assertTrue(run.path("ratio_to_dense").asDouble() > 0, run.toString());
            assertTrue(run.path("bandwidth_share").asDouble() > 0, run.toString());
        }
        JsonNode dense = bench.path("runs").get(4);
        assertEquals("dense", dense.path("format").asText());
        assertEquals(1, dense.path("ratio_to_dense").asDouble());
        assertEquals(2, dense.path("bytes_per_weight").asDouble());
        // Half of the 16-bit values, and a bit a weight.
        assertEquals(1.125, bench.path("runs").get(5).path("bytes_per_weight").asDouble(), 0.01);
        JsonNode grouped = bench.path("runs").get(6);
        assertEquals("13:64-int8", grouped.path("format").asText());
        assertEquals("13:64", grouped.path("pattern").asText());
        assertEquals(51.0 / 64, grouped.path("sparsity").asDouble(), 0.01);
        assertEquals("dense-int8", bench.path("runs").get(7).path("format").asText());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--shapes 64        | OUTxIN",
                "--shapes 0x5       | OUTxIN",
                "--formats swell    | needs a sparsity",
                "--formats 13:64    | 100",
                "--dtype i8         | bf16",
                "--tokens 0         | --tokens",
                "--threads 0        | --threads",
            })
    void benchKernelsRefusesWhatItCannotTime(String option, String fault) {
        List<String> line = new ArrayList<>(List.of("bench", "kernels", "--rounds", "1", "--memory", "1"));
        line.addAll(List.of(option.split(" ")));
        if (!option.startsWith("--shapes")) {
            line.addAll(List.of("--shapes", "32x100"));
        }
        refused(2, line.toArray(String[]::new), fault);
    }

    @Test
    void anInt8HeadHalvesItsBytesAndIsRefusedByAnyOtherName() {
        JsonNode dense =
                Cli.json("bench", "decode", LLAMA, "--formats", "dense", "--rounds", "1", "--seconds", "0.001");
        JsonNode small = Cli.json(
                "bench",
                "decode",
                LLAMA,
                "--formats",
                "dense",
                "--rounds",
                "1",
                "--seconds",
                "0.001",
                "--head",
                "int8");
        assertTrue(small.path("runs").get(0).path("bytes_per_token").asLong()
                < dense.path("runs").get(0).path("bytes_per_token").asLong());
        refused(2, words("generate", LLAMA, "--prompt-ids", "1", "--head", "q4"), "--head q4", "int8");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "bitmask     | needs a sparsity",
                "bitmask@1   | below 1",
                "bitmask@x   | not a number",
                "nothing@0.5 | nothing",
                "2:4@0.7     | 0.5",
                "1:5         | 5",
            })
    void benchRefusesFormatsThatMakeNoSense(String format, String fault) {
        refused(2, words("bench", "decode", LLAMA, "--formats", format), "--formats", fault);
    }

    @Test
    void aPortInUseIsRefused() throws IOException {
        String model = SharedFolder.path("models/stories260K").toString();
        try (java.net.ServerSocket taken = new java.net.ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
            String port = Integer.toString(taken.getLocalPort());
            refused(2, words("serve", model, "--port", port), port);
        }
        refused(2, words("serve", model, "--port", "70000"), "--port");
        refused(2, words("serve", LLAMA, "--port", "0"), "no tokenizer");
    }

    private static String ids(String[] base, String... more) {
        return Cli.json(add(base, more)).path("token_ids").toString();
    }

    private static String[] add(String[] base, String... more) {
        String[] all = Arrays.copyOf(base, base.length + more.length);
        System.arraycopy(more, 0, all, base.length, more.length);
        return all;
    }

    private static String join(JsonNode ids) {
        return ids.toString().replace("[", "").replace("]", "");
    }
}
