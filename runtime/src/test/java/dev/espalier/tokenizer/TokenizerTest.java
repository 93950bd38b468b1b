package dev.espalier.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.tensor.InputException;
import dev.espalier.testing.SharedFolder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokenizerTest {
    @TempDir
    Path folder;

    private static Tokenizer of(String json) {
        return Tokenizer.of(json.getBytes(StandardCharsets.UTF_8), null);
    }

    private static Tokenizer of(String json, String config) {
        return Tokenizer.of(json.getBytes(StandardCharsets.UTF_8), config.getBytes(StandardCharsets.UTF_8));
    }

    private static String refusal(String json) {
        return assertThrows(InputException.class, () -> of(json)).getMessage();
    }

    @Test
    void eachStretchBetweenSpecialTokensGetsItsOwnPrefixSpace() {
        // Report 13 (llama.cpp 23840, 4772).
        Tokenizer tokenizer = TinyTokenizers.sentencePiece();
        assertTokens(tokenizer, "the</s> cat", "<s>", "▁the", "</s>", "▁", "▁cat");
        assertTokens(tokenizer, "the</s>cat", "<s>", "▁the", "</s>", "▁cat");
    }

    @Test
    void report13sIdsOnTheSharedModel() {
        Tokenizer tokenizer = Tokenizer.open(SharedFolder.require("models/stories260K"));
        assertArrayEquals(new int[] {1, 403, 2, 410, 274, 287}, tokenizer.encode("Once</s> Tom"));
        assertArrayEquals(new int[] {1, 403, 2, 274, 287}, tokenizer.encode("Once</s>Tom"));
    }

    private static void assertTokens(Tokenizer tokenizer, String text, String... expected) {
        assertArrayEquals(
                expected,
                Arrays.stream(tokenizer.encode(text)).mapToObj(tokenizer::token).toArray());
    }

    @Test
    void transformersClassOfLlamaIsFollowed() {
        // As LlamaTokenizer of transformers 5: the prefix space on the first stretch only, unless legacy.
        String json = TinyTokenizers.sentencePieceJson();
        String config = """
                {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "legacy": %s}""";
        assertTokens(of(json, config.formatted("false")), "the</s>cat", "<s>", "▁the", "</s>", "c", "at");
        assertTokens(of(json, config.formatted("true")), "the</s>cat", "<s>", "▁the", "</s>", "▁cat");
        assertTokens(of(json, config.formatted("false")), " the", "<s>", "▁the");
    }

    @ParameterizedTest
    @CsvSource({
        "'', true, false",
        "'\"add_bos_token\": true', true, false",
        "'\"add_bos_token\": false', false, false",
        "'\"add_bos_token\": true, \"add_eos_token\": true', true, true"
    })
    void theConfigSaysWhichEndsAreAdded(String flags, boolean bos, boolean eos) {
        Tokenizer tokenizer = of(
                TinyTokenizers.sentencePieceJson(),
                "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}"
                        + (flags.isEmpty() ? "" : ", " + flags) + "}");
        int[] ids = tokenizer.encode("the cat");
        assertEquals(bos, ids[0] == 1);
        assertEquals(eos, ids[ids.length - 1] == 2);
        assertEquals(2, tokenizer.encode("the cat", false).length);
    }

    @Test
    void halfSurrogatesAreReplacedNotDropped() {
        Tokenizer tokenizer = TinyTokenizers.sentencePiece();
        assertEquals("the \uFFFDcat\uFFFD", tokenizer.decode(tokenizer.encode("the \uD83Dcat\uDE42")));
    }

    @Test
    void filesOfAFolderAreReadTogether() throws IOException {
        assertTrue(Tokenizer.openIfPresent(folder).isEmpty());
        String none =
                assertThrows(InputException.class, () -> Tokenizer.open(folder)).getMessage();
        assertEquals(folder + " holds no tokenizer.json, nor vocab.json and merges.txt", none);
        Files.writeString(folder.resolve("tokenizer.model"), "x");
        assertTrue(assertThrows(InputException.class, () -> Tokenizer.open(folder))
                .getMessage()
                .endsWith("; tokenizer.model must be converted to tokenizer.json first"));

        Files.writeString(folder.resolve("tokenizer.json"), TinyTokenizers.sentencePieceJson());
        Files.writeString(folder.resolve("special_tokens_map.json"), "{\"bos_token\": {\"content\": \"<s>\"}}");
        Files.writeString(folder.resolve("tokenizer_config.json"), """
                {"eos_token": "</s>", "chat_template": [
                  {"name": "other", "template": "no"}, {"name": "default", "template": "yes"}]}""");
        Tokenizer tokenizer = Tokenizer.open(folder);
        assertEquals(1, tokenizer.bosId().getAsInt());
        assertEquals(2, tokenizer.eosId().getAsInt());
        assertEquals("yes", tokenizer.chatTemplate().get());
        Files.writeString(folder.resolve("chat_template.jinja"), "own file");
        assertEquals("own file", Tokenizer.open(folder).chatTemplate().get());
    }

    @Test
    void vocabularyAndMergesNeedEachOther() throws IOException {
        Files.writeString(folder.resolve("vocab.json"), "{\"a\": 0, \"b\": 1, \"ab\": 2}");
        assertTrue(assertThrows(InputException.class, () -> Tokenizer.open(folder))
                .getMessage()
                .endsWith("merges.txt is missing"));
        Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\na b\n");
        Tokenizer tokenizer = Tokenizer.open(folder);
        assertArrayEquals(new int[] {2, 0}, tokenizer.encode("aba"));
        assertEquals("aba", tokenizer.decode(2, 0));
        Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\na b\na b c\n");
        assertTrue(assertThrows(InputException.class, () -> Tokenizer.open(folder))
                .getMessage()
                .endsWith("merges.txt: merge 1 must be two tokens, found 'a b c'"));
        Files.writeString(folder.resolve("merges.txt"), "a b\n");
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"tokenizer_class\": \"CLIPTokenizer\"}");
        assertTrue(assertThrows(InputException.class, () -> Tokenizer.open(folder))
                .getMessage()
                .contains("the tokenizer_class 'CLIPTokenizer' is not supported"));
    }

    @Test
    void whatCannotBeUsedIsNamed() {
        String json = TinyTokenizers.sentencePieceJson();
        assertTrue(refusal("{").startsWith("tokenizer.json is not JSON: "));
        assertEquals("tokenizer.json: expected a JSON object", refusal("[]"));
        assertEquals("tokenizer.json: 'model' is missing", refusal("{}"));
        assertEquals(
                "tokenizer.json: model: the model 'Unigram' is not supported; supported: BPE",
                refusal(json.replace("\"BPE\"", "\"Unigram\"")));
        assertTrue(refusal(json.replace("\"Prepend\"", "\"Precompiled\""))
                .startsWith(
                        "tokenizer.json: normalizer: normalizers[0]: the normalizer 'Precompiled' is not supported"));
        assertTrue(refusal(json.replace("\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}"))
                .startsWith("tokenizer.json: pre_tokenizer: the pre-tokenizer 'UnicodeScripts' is not supported"));
        assertTrue(refusal(json.replace("\"ByteFallback\"", "\"CTC\""))
                .startsWith("tokenizer.json: decoder: decoders[1]: the decoder 'CTC' is not supported"));
        assertTrue(refusal(json.replace("\"TemplateProcessing\"", "\"Other\""))
                .startsWith("tokenizer.json: post_processor: the post-processor 'Other' is not supported"));
        // Report 19 (llama.cpp 9692): a merge in neither form is refused, not skipped.
        assertEquals(
                "tokenizer.json: model: merges[0] must be \"a b\" or [\"a\", \"b\"], found \"▁t\"",
                refusal(json.replace("\"▁ t\"", "\"▁t\"")));
        assertEquals(
                "tokenizer.json: model: merges[0] must be \"a b\" or [\"a\", \"b\"], found 7",
                refusal(json.replace("\"▁ t\"", "7")));
        assertEquals(
                "tokenizer.json: model: merges[0] 't z' needs the token 'z', which the vocabulary does not have",
                refusal(json.replace("\"▁ t\"", "\"t z\"")));
        assertEquals(
                "tokenizer.json: model: vocab: '<unk>' and '<s>' have the same id 0",
                refusal(json.replace("\"<s>\": 1", "\"<s>\": 0")));
        assertTrue(refusal(json.replace("\"<s>\": 1", "\"<s>\": 999999999")).contains("found 999999999"));
        assertTrue(refusal(json.replace("\"<s>\": 1", "\"<s>\": -1")).contains("found -1"));
        assertTrue(refusal(json.replace("\"ids\": [1]", "\"ids\": [100000]")).contains("adds the id 100000"));
        assertTrue(
                assertThrows(InputException.class, () -> of(json, "{\"bos_token\": \"<x>\", \"add_bos_token\": true}"))
                        .getMessage()
                        .contains("names the token '<x>', which the vocabulary does not have"));
    }

    @Test
    void oneLongPieceTakesNoLongerThanManyShortOnes() {
        // Report 21 (ds4 853): 200,000 letters merge in n log n; a quadratic one would take minutes. The ids must be
        // those of a short text, repeated: with the one merge 'a a' that is pairs.
        Tokenizer pairs = of("""
                {"model": {"type": "BPE", "vocab": {"a": 0, "aa": 1, "aaaa": 2}, "merges": ["a a", "aa aa"]}}""");
        int[] ids = pairs.encode("a".repeat(400_003));
        assertEquals(100_002, ids.length);
        assertTrue(Arrays.stream(ids).limit(100_000).allMatch(id -> id == 2));
        assertArrayEquals(pairs.encode("aaa"), Arrays.copyOfRange(ids, 100_000, 100_002));
    }

    @Test
    void lettersInARowOnTheSharedModel() {
        Tokenizer tokenizer = Tokenizer.open(SharedFolder.require("models/opt-wt2-4m"));
        int[] ids = tokenizer.encode("a".repeat(200_000));
        assertEquals("a".repeat(200_000), tokenizer.decode(ids));
        int[] fewer = tokenizer.encode("a".repeat(2_000));
        assertArrayEquals(Arrays.copyOf(fewer, 500), Arrays.copyOf(ids, 500));
    }

    @Test
    void byteLevelVocabulariesKeepAnyText() throws IOException {
        JsonNode all = PipelinesTest.goldens();
        Random random = new Random(20261126);
        for (JsonNode golden : all.get("goldens")) {
            if (!golden.get("name").textValue().matches("gpt2|llama3|cased|signs|digits")) {
                continue;
            }
            Tokenizer tokenizer = Tokenizer.of(PipelinesTest.json(golden, all, true), null);
            for (int round = 0; round < 200; round++) {
                String text = randomText(random);
                assertEquals(
                        text,
                        tokenizer.decode(tokenizer.encode(text, false)),
                        golden.get("name").textValue());
            }
        }
    }

    private static String randomText(Random random) {
        StringBuilder text = new StringBuilder();
        int length = random.nextInt(60);
        while (text.length() < length) {
            int c = random.nextInt(random.nextBoolean() ? 0x80 : random.nextBoolean() ? 0x3000 : 0x110000);
            // '<' could spell a special token, which decoding leaves out.
            if (c != '<' && (c < 0xD800 || c > 0xDFFF)) {
                text.appendCodePoint(c);
            }
        }
        return text.toString();
    }

    @Test
    void damagedFilesAreRefusedOrWork() throws IOException {
        JsonNode all = PipelinesTest.goldens();
        Random random = new Random(42);
        byte[][] files = {
            TinyTokenizers.sentencePieceJson().getBytes(StandardCharsets.UTF_8),
            PipelinesTest.json(all.get("goldens").get(3), all, false),
            PipelinesTest.json(all.get("goldens").get(13), all, true)
        };
        int refused = 0;
        int rounds = 900;
        for (int round = 0; round < rounds; round++) {
            byte[] file = files[round % files.length].clone();
            int flips = 1 + random.nextInt(4);
            // The pipeline stands before the vocabulary: most damage is done there.
            int reach = random.nextBoolean() ? Math.min(file.length, 1500) : file.length;
            for (int i = 0; i < flips; i++) {
                file[random.nextInt(reach)] =
                        (byte) (random.nextBoolean() ? random.nextInt(256) : "\"{}[]:,0aZ".charAt(random.nextInt(10)));
            }
            byte[] damaged = random.nextInt(8) == 0 ? Arrays.copyOf(file, random.nextInt(file.length)) : file;
            try {
                Tokenizer tokenizer = Tokenizer.of(damaged, random.nextInt(4) == 0 ? damaged : null);
                tokenizer.decode(tokenizer.encode("the cat's 123 <s>\n \uD83D\uDE42"));
            } catch (InputException e) {
                refused++;
                assertFalse(e.getMessage().isBlank());
            }
        }
        assertTrue(refused > rounds / 4, "refused " + refused);
    }

    @Test
    void severalThreadsMayEncodeAtOnce() {
        Tokenizer tokenizer = TinyTokenizers.sentencePiece();
        int[] expected = tokenizer.encode("the cat sat on the cat");
        assertTrue(java.util.stream.IntStream.range(0, 200)
                .parallel()
                .allMatch(i -> Arrays.equals(expected, tokenizer.encode("the cat sat on the cat"))
                        && tokenizer.decode(expected).equals("the cat sat on the cat")));
    }
}
