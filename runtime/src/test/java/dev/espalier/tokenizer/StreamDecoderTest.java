package dev.espalier.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class StreamDecoderTest {
    private final Tokenizer tokenizer = TinyTokenizers.sentencePiece();

    private int id(String token) {
        return tokenizer.id(token).getAsInt();
    }

    private int[] bytes(String hex) {
        byte[] bytes = HexFormat.of().parseHex(hex);
        int[] ids = new int[bytes.length];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = 3 + (bytes[i] & 0xFF);
        }
        return ids;
    }

    @Test
    void aCharacterOfSeveralTokensComesWhole() {
        // Report 15 (llama3.java 5).
        StreamDecoder decoder = tokenizer.streamDecoder();
        assertEquals("", decoder.next(id("<0xF0>")));
        assertEquals("", decoder.next(id("<0x9F>")));
        assertEquals("", decoder.next(id("<0x99>")));
        assertEquals("🙂", decoder.next(id("<0x82>")));
        assertEquals(" the", decoder.next(id("▁the")));
        assertEquals("", decoder.finish());
    }

    @Test
    void brokenBytesBecomeReplacementCharactersAndNothingIsLost() {
        // Report 16 (llama.cpp 11738, 9195).
        StreamDecoder decoder = tokenizer.streamDecoder();
        assertEquals("", decoder.next(id("<0xF0>")));
        assertEquals("\uFFFD cat", decoder.next(id("▁cat")));
        assertEquals("", decoder.next(id("<0xE2>")));
        assertEquals("", decoder.next(id("<0x82>")));
        assertEquals("\uFFFD", decoder.finish());
    }

    /// The right sides are Python's `bytes.decode("utf-8", "replace")`.
    @ParameterizedTest
    @CsvSource({
        "80, 1",
        "C0AF, 2",
        "E080, 2",
        "E0A0, 1",
        "EDA0, 2",
        "EDA080, 3",
        "EDBFBF, 3",
        "F0808080, 4",
        "F08F, 2",
        "F09080, 1",
        "F48FBF, 1",
        "F490, 2",
        "F5, 1",
        "FFFE, 2",
        "E28245, 1",
        "E2E282, 2",
        "F09F9941F09F99, 2"
    })
    void replacementCharactersAreCountedAsPythonDoes(String hex, int expected) {
        String text = tokenizer.decode(bytes(hex));
        assertEquals(expected, text.chars().filter(c -> c == 0xFFFD).count(), text);
    }

    @Test
    void validUtf8IsDecodedAsJavaDoes() {
        StringBuilder all = new StringBuilder();
        for (int c = 0; c <= Character.MAX_CODE_POINT; c += c < 0x3000 ? 1 : 97) {
            if (c < 0xD800 || c > 0xDFFF) {
                all.appendCodePoint(c);
            }
        }
        byte[] utf8 = all.toString().getBytes(StandardCharsets.UTF_8);
        Utf8Stream stream = new Utf8Stream();
        StringBuilder text = new StringBuilder();
        for (int at = 0; at < utf8.length; ) {
            int end = Math.min(utf8.length, at + 1 + at % 7);
            text.append(stream.next(Arrays.copyOfRange(utf8, at, end), false));
            at = end;
        }
        assertEquals(all.toString(), text + stream.next(new byte[0], true));
    }

    @Test
    void theFirstWordsSpaceIsThereOnlyAfterAPrompt() {
        // Report 17 (transformers 22710): one space at the seam, none at the start of a text.
        int[] prompt = {1, id("▁the"), id("▁cat")};
        assertEquals("the cat", tokenizer.decode(prompt));
        assertEquals("sat on", tokenizer.decode(id("▁sat"), id("▁on")));
        StreamDecoder decoder = tokenizer.streamDecoder(prompt);
        assertEquals(" sat", decoder.next(id("▁sat")));
        assertEquals(" on", decoder.next(id("▁on")));
        assertEquals("sat", tokenizer.streamDecoder(1).next(id("▁sat")));
    }

    @Test
    void anIncompleteCharacterAtAPromptsEndIsCompleted() {
        StreamDecoder decoder = tokenizer.streamDecoder(bytes("F09F"));
        assertEquals("", decoder.next(bytes("99")[0]));
        assertEquals("🙂", decoder.next(bytes("82")[0]));
    }

    @Test
    void specialTokensAndUnknownIdsGiveNoText() {
        assertEquals("the cat", tokenizer.decode(1, id("▁the"), 2, 0, 999_999, -1, id("▁cat")));
        assertEquals("", tokenizer.token(999_999));
        assertEquals(0, tokenizer.tokenBytes(-1).length);
        assertEquals("</s>", new String(tokenizer.tokenBytes(2), StandardCharsets.UTF_8));
        assertEquals(" the", new String(tokenizer.tokenBytes(id("▁the")), StandardCharsets.UTF_8));
    }

    @Test
    void whatMayBeStrippedFromTheEndWaits() {
        String json = """
                {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
                 "decoder": {"type": "Sequence", "decoders": [
                  {"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 1, "stop": 2}]}}""";
        Tokenizer strips = Tokenizer.of(json.getBytes(StandardCharsets.UTF_8), null);
        assertEquals("abaab", strips.decode(0, 0, 1, 0, 0, 1, 0));
        assertEquals("ab", strips.decode(0, 0, 1, 0, 0));
        assertEquals("aba", strips.decode(0, 0, 1, 0, 0, 0));
        assertEquals("", strips.decode());
        assertEquals("", strips.decode(0, 0, 0));
        StreamDecoder decoder = strips.streamDecoder();
        assertEquals("", decoder.next(0));
        assertEquals("b", decoder.next(1));
        assertEquals("", decoder.next(0));
        assertEquals("ab", decoder.next(1));
    }

    @Test
    void streamedEqualsUnstreamedForAnyIds() {
        Random random = new Random(7);
        for (int round = 0; round < 500; round++) {
            int[] ids = random.ints(1 + random.nextInt(40), 0, tokenizer.vocabularySize())
                    .toArray();
            StreamDecoder decoder = tokenizer.streamDecoder();
            StringBuilder text = new StringBuilder();
            for (int id : ids) {
                String piece = decoder.next(id);
                assertFalse(!piece.isEmpty() && Character.isHighSurrogate(piece.charAt(piece.length() - 1)));
                text.append(piece);
            }
            assertEquals(tokenizer.decode(ids), text + decoder.finish());
        }
    }
}
