package dev.espalier.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.testing.SharedFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Published tokenizers and the shared models against the ids of the tokenizers library and of transformers.
class ReferenceTokenizersTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({
        "opt, data/tokenizers/opt-hf",
        "llama2-hf, data/tokenizers/llama2-hf",
        "stories260K, models/stories260K",
        "tinystories-656k, models/tinystories-656k",
        "tok4k, models/opt-wt2-4m"
    })
    void tokenizerJsonGivesTheLibrarysIds(String name, String path) throws IOException {
        byte[] json = Files.readAllBytes(SharedFolder.require(path).resolve("tokenizer.json"));
        agrees(Tokenizer.of(json, null), name);
    }

    @ParameterizedTest
    @CsvSource({"opt, data/tokenizers/opt", "gpt2, data/tokenizers/gpt2"})
    void vocabularyAndMergesGiveTheLibrarysIds(String name, String path) throws IOException {
        Path files = SharedFolder.require(path);
        Files.copy(files.resolve("gpt2-vocab.json"), folder.resolve("vocab.json"));
        Files.copy(files.resolve("gpt2-merges.txt"), folder.resolve("merges.txt"));
        Tokenizer tokenizer = Tokenizer.open(folder);
        agrees(tokenizer, name);
        assertArrayEquals(
                name.equals("opt") ? new int[] {2, 31414} : new int[] {15496},
                tokenizer.encode("Hello"),
                "start token");
    }

    private static void agrees(Tokenizer tokenizer, String name) throws IOException {
        JsonNode cases = MAPPER.readTree(SharedFolder.require("models/reference/tokenizers/token_ids.json")
                        .toFile())
                .get(name);
        assertTrue(cases.size() > 40);
        for (JsonNode entry : cases) {
            String text = entry.get("text").textValue();
            int[] ids = ids(entry.get("ids"));
            assertArrayEquals(ids, tokenizer.encode(text, false), text);
            // The reference decodes special tokens too.
            String decoded = tokenizer.decode(ids);
            if (Arrays.stream(ids).noneMatch(tokenizer::isSpecial)) {
                assertEquals(entry.get("decoded").textValue(), decoded);
            }
            assertEquals(decoded, streamed(tokenizer, ids));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"opt-wt2-4m", "stories260K", "tinystories-656k", "smollm2-135m"})
    void modelsPromptsAndAnswersAreThoseOfTransformers(String model) throws IOException {
        Tokenizer tokenizer = Tokenizer.open(SharedFolder.require("models/" + model));
        JsonNode reference = MAPPER.readTree(SharedFolder.require("models/reference/" + model + "/reference.json")
                .toFile());
        for (JsonNode prompt : reference.get("prompts")) {
            String text = prompt.get("text").textValue();
            assertArrayEquals(ids(prompt.get("ids")), tokenizer.encode(text), text);
            assertArrayEquals(ids(prompt.get("ids_no_special")), tokenizer.encode(text, false), text);
            assertEquals(prompt.get("roundtrip").textValue(), tokenizer.decode(ids(prompt.get("ids"))));
            int[] greedy = ids(prompt.get("greedy32"));
            String answer = prompt.get("greedy32_text").textValue();
            // The reference spells special tokens out.
            StreamDecoder decoder = tokenizer.streamDecoder();
            StringBuilder spelled = new StringBuilder();
            for (int id : greedy) {
                spelled.append(tokenizer.isSpecial(id) ? tokenizer.token(id) : decoder.next(id));
            }
            assertEquals(answer, spelled + decoder.finish(), text);
            assertEquals(tokenizer.decode(greedy), streamed(tokenizer, greedy), text);
        }
    }

    private static String streamed(Tokenizer tokenizer, int[] ids) {
        StreamDecoder decoder = tokenizer.streamDecoder();
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            text.append(decoder.next(id));
        }
        return text.append(decoder.finish()).toString();
    }

    static int[] ids(JsonNode list) {
        int[] ids = new int[list.size()];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = list.get(i).intValue();
        }
        return ids;
    }

    @Test
    void aWholeBookWithoutPreTokenizerIsOnePiece() throws IOException {
        Tokenizer tokenizer = Tokenizer.open(SharedFolder.require("models/stories260K"));
        String text = Files.readString(SharedFolder.require("data/tinystories/tinystories_val_1nl.txt"));
        assertEquals(388718, tokenizer.encode(text).length);
    }
}
