package dev.espalier.tools.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.tokenizer.Tokenizer;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DemoModelsTest {
    @Test
    void togetherTheyTakeAtMost16MB() {
        long bytes = 0;
        for (String name : DemoModels.NAMES) {
            for (byte[] file : DemoModels.files(name).values()) {
                bytes += file.length;
            }
        }
        assertTrue(bytes <= 16_000_000, bytes + " bytes");
    }

    @Test
    void anUnknownNameIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> DemoModels.files("demo-gpt"));
    }

    /// Rows of a multiple of 64 inputs take every N:M pattern and every tile of the formats without a remainder.
    @ParameterizedTest
    @ValueSource(strings = {"demo-llama", "demo-opt"})
    void weightsAreBf16AndTheirInputsMultiplesOf64(String name) {
        try (Checkpoint checkpoint = DemoModels.checkpoint(name)) {
            int matrices = 0;
            for (String tensor : checkpoint.names()) {
                assertEquals("BF16", checkpoint.typeName(tensor), tensor);
                int[] shape = checkpoint.shape(tensor);
                if (tensor.contains(".layers.") && shape.length == 2) {
                    matrices++;
                    assertEquals(0, shape[1] % 64, tensor);
                }
            }
            assertTrue(matrices >= 24, matrices + " matrices");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"demo-llama", "demo-opt"})
    void theTokenizerKnowsTheWordsOfTheStories(String name) {
        Map<String, byte[]> files = DemoModels.files(name);
        Tokenizer tokenizer = Tokenizer.of(files.get("tokenizer.json"), files.get("tokenizer_config.json"));
        String text = StoryGrammar.of(StoryGrammar.HELD_OUT_SEED).text(20_000);
        int[] ids = tokenizer.encode(text);
        assertEquals(tokenizer.bosId().orElseThrow(), ids[0]);
        assertEquals(text, tokenizer.decode(tokenizer.encode(text, false)));
        int words = text.split("[ \n]+").length;
        // One token for most words and one for each mark: about 1.2 tokens a word.
        assertTrue(ids.length < 1.3 * words, ids.length + " tokens for " + words + " words");
        assertEquals("Zürich – 東京", tokenizer.decode(tokenizer.encode("Zürich – 東京", false)));
    }
}
