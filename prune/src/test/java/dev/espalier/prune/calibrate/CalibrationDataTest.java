package dev.espalier.prune.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.prune.TestModels;
import dev.espalier.prune.calibrate.CalibrationData.Order;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CalibrationDataTest {
    private final Tokenizer letters = TestModels.letters();

    private static Request request(int samples, int seqLen, Order order) {
        return new Request(samples, seqLen, 0, order);
    }

    private static int[] counting(int count) {
        return IntStream.range(0, count).toArray();
    }

    private static String words(int letters, long seed) {
        Random random = new Random(seed);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < letters; i++) {
            text.append(i % 6 == 5 ? ' ' : (char) ('a' + random.nextInt(26)));
        }
        return text.toString();
    }

    private static byte[] lines(List<String> texts) {
        StringBuilder lines = new StringBuilder();
        texts.forEach(text -> lines.append("{\"text\": \"").append(text).append("\", \"url\": 3}\n"));
        return lines.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void assertSame(List<int[]> expected, List<int[]> actual) {
        assertTrue(Arrays.deepEquals(expected.toArray(), actual.toArray()));
    }

    /// What Python's `random.seed(s); random.randint(0, 99)`, five times, `random.randint(10, 356316)`, five times,
    /// `random.randint(0, 2**31 - 2)`, `random.randint(5, 5)` give.
    @ParameterizedTest
    @CsvSource({
        "0, 49 97 53 5 33 268065 254776 212312 159033 249884 768905175 5",
        "1, 17 72 97 8 32 61833 259760 235672 247602 341632 815217483 5",
        "12345678901, 76 41 49 45 68 60114 87723 176508 196012 108980 1432573208 5"
    })
    void drawsArePythons(long seed, String expected) {
        PythonRandom random = new PythonRandom(seed);
        StringBuilder drawn = new StringBuilder();
        for (int i = 0; i < 5; i++) {
            drawn.append(random.between(0, 99)).append(' ');
        }
        for (int i = 0; i < 5; i++) {
            drawn.append(random.between(10, 356316)).append(' ');
        }
        drawn.append(random.between(0, Integer.MAX_VALUE - 1)).append(' ').append(random.between(5, 5));
        assertEquals(expected, drawn.toString());
    }

    @Test
    void consecutiveWindowsAreTheFirstOnesAndTheHeldOutOnesFollow() {
        CalibrationData data = CalibrationData.ofTokens("t", counting(100), request(4, 10, Order.CONSECUTIVE));
        assertEquals(4, data.windows().size());
        assertArrayEquals(IntStream.range(30, 40).toArray(), data.windows().get(3));
        assertEquals(1, data.heldOut().size());
        assertArrayEquals(IntStream.range(40, 50).toArray(), data.heldOut().getFirst());
        assertEquals(40, data.tokens());
    }

    @Test
    void aTextThatHoldsFewerWindowsThanAskedForGivesWhatItHas() {
        CalibrationData data = CalibrationData.ofTokens("t", counting(1000), request(64, 512, Order.CONSECUTIVE));
        assertEquals(1, data.windows().size());
        assertTrue(data.heldOut().isEmpty());
    }

    @Test
    void randomWindowsDependOnTheSeedAndNeverMeetTheHeldOutOnes() {
        CalibrationData data = CalibrationData.ofTokens("t", counting(1000), request(15, 50, Order.RANDOM));
        assertEquals(15, data.windows().size());
        assertEquals(2, data.heldOut().size());
        assertArrayEquals(IntStream.range(900, 950).toArray(), data.heldOut().getFirst());
        assertTrue(data.windows().stream().allMatch(w -> w[49] < 900));
        CalibrationData again = CalibrationData.ofTokens("t", counting(1000), request(15, 50, Order.RANDOM));
        assertSame(data.windows(), again.windows());
        CalibrationData other = CalibrationData.ofTokens("t", counting(1000), new Request(15, 50, 1, Order.RANDOM));
        assertFalse(Arrays.deepEquals(data.windows().toArray(), other.windows().toArray()));
    }

    @Test
    void aShortTextHoldsNothingOut() {
        CalibrationData data = CalibrationData.ofTokens("t", counting(60), request(8, 50, Order.RANDOM));
        assertEquals(8, data.windows().size());
        assertTrue(data.heldOut().isEmpty());
        CalibrationData whole = CalibrationData.ofTokens("t", counting(50), request(1, 50, Order.RANDOM));
        assertArrayEquals(counting(50), whole.windows().getFirst());
    }

    @Test
    void aTextShorterThanOneWindowIsRefusedWithBothLengths() {
        for (Order order : Order.values()) {
            InputException refusal = assertThrows(
                    InputException.class, () -> CalibrationData.ofTokens("t.txt", counting(49), request(1, 50, order)));
            assertTrue(refusal.getMessage().contains("t.txt has 49 tokens"), refusal.getMessage());
            assertTrue(refusal.getMessage().contains("50"), refusal.getMessage());
        }
        for (String empty : List.of("", " \n\n")) {
            assertThrows(
                    InputException.class,
                    () -> CalibrationData.ofText("t.txt", empty, letters, request(1, 1, Order.RANDOM)));
        }
    }

    /// The papers' loop with Python's draws; with `<s>` the documents have 61, 21, 41, 31 and 51 tokens.
    @Test
    void jsonLinesAreDrawnThePapersWay() {
        List<String> texts = List.of(words(60, 0), words(20, 1), words(40, 2), words(30, 3), words(50, 4));
        CalibrationData data =
                CalibrationData.ofJsonLines("c4.jsonl", lines(texts), letters, request(3, 40, Order.RANDOM));
        PythonRandom random = new PythonRandom(0);
        for (int[] window : data.windows()) {
            int[] tokens;
            do {
                tokens = letters.encode(texts.get(random.between(0, 4)));
            } while (tokens.length <= 40);
            int at = random.between(0, tokens.length - 41);
            assertArrayEquals(Arrays.copyOfRange(tokens, at, at + 40), window);
        }
    }

    @Test
    void shortDocumentsAreNeverUsed() {
        List<String> some = new ArrayList<>();
        List<String> others = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            boolean isLong = i % 10 == 3;
            some.add(words(isLong ? 100 + i : 10 + i % 40, i));
            others.add(isLong ? some.get(i) : words(5 + i % 44, 1000 + i));
        }
        CalibrationData first = CalibrationData.ofJsonLines("a", lines(some), letters, request(32, 64, Order.RANDOM));
        CalibrationData second =
                CalibrationData.ofJsonLines("b", lines(others), letters, request(32, 64, Order.RANDOM));
        assertEquals(32, first.windows().size());
        assertTrue(first.windows().stream().allMatch(window -> window.length == 64));
        assertSame(first.windows(), second.windows());
        assertSame(first.heldOut(), second.heldOut());
    }

    @Test
    void heldOutDocumentsAreOthersAndNoneIsHeldOutWhereNoneIsLeft() {
        List<String> three = List.of(words(80, 1), words(80, 2), words(80, 3));
        CalibrationData all = CalibrationData.ofJsonLines("a", lines(three), letters, request(20, 64, Order.RANDOM));
        assertTrue(all.heldOut().isEmpty());
        CalibrationData one = CalibrationData.ofJsonLines("a", lines(three), letters, request(1, 64, Order.RANDOM));
        assertEquals(1, one.heldOut().size());
        int first = new PythonRandom(0).between(0, 2);
        String used = Arrays.toString(letters.encode(three.get(first)));
        String held = Arrays.toString(one.heldOut().getFirst());
        assertFalse(used.contains(held.substring(1, held.length() - 1)));
    }

    @Test
    void jsonLinesThatGiveNothingAreRefusedWithTheReason() {
        assertEquals(
                "no document of f has more than 64 tokens; give longer documents or a smaller --seq-len",
                refusal(lines(List.of("abc", "de"))));
        String json = refusal("\n{\"text\": \"abc\n".getBytes(StandardCharsets.UTF_8));
        assertTrue(json.startsWith("line 2 of calibration text f is not JSON"), json);
        assertEquals(
                "line 1 of calibration text f has no string \"text\"",
                refusal("{\"content\": \"abc\"}\n".getBytes(StandardCharsets.UTF_8)));
        assertEquals("calibration text f is empty", refusal(new byte[] {10, 32, 10}));
    }

    private String refusal(byte[] lines) {
        Request request = request(1, 64, Order.RANDOM);
        return assertThrows(InputException.class, () -> CalibrationData.ofJsonLines("f", lines, letters, request))
                .getMessage();
    }

    @Test
    void filesAreReadByTheirNamesAndBadOnesAreNamed(@TempDir Path folder) throws IOException {
        Request request = request(2, 16, Order.CONSECUTIVE);
        Path text = Files.writeString(folder.resolve("a.txt"), words(100, 1));
        assertArrayEquals(
                Arrays.copyOf(letters.encode(words(100, 1)), 16),
                CalibrationData.ofFile(text, letters, request).windows().getFirst());
        Path lines = Files.write(folder.resolve("a.jsonl"), lines(List.of(words(100, 2))));
        assertEquals(
                2, CalibrationData.ofFile(lines, letters, request).windows().size());

        Path missing = folder.resolve("none.txt");
        Path latin = Files.write(folder.resolve("latin.txt"), new byte[] {'a', (byte) 0xe9, 'b'});
        Path zipped = Files.write(folder.resolve("c4.json.gz"), new byte[] {0x1f, (byte) 0x8b, 8, 0});
        for (Path bad : List.of(missing, latin, zipped, folder)) {
            InputException refusal =
                    assertThrows(InputException.class, () -> CalibrationData.ofFile(bad, letters, request));
            assertTrue(refusal.getMessage().contains(bad.toString()), refusal.getMessage());
        }
    }

    @Test
    void aRequestForNothingIsRefused() {
        assertThrows(InputException.class, () -> request(0, 16, Order.RANDOM));
        assertThrows(InputException.class, () -> request(4, 0, Order.RANDOM));
    }
}
