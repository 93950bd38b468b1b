package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class StopStringsTest {
    @Test
    void theBeginningOfAStopStringIsHeldBackUntilItCompletesOrDoesNot() {
        StopStrings stops = new StopStrings(List.of("rk. One"));
        assertEquals("in the pa", stops.next("in the pa"));
        assertEquals("", stops.next("rk"));
        assertEquals("", stops.next(". "));
        assertEquals("rk. T", stops.next("T"));
        assertEquals("he ma", stops.next("he mark."));
        assertEquals("", stops.next(" On"));
        assertFalse(stops.found());
        assertEquals("", stops.next("e day"));
        assertTrue(stops.found());
    }

    @Test
    void whatIsHeldBackAtTheEndIsShown() {
        StopStrings stops = new StopStrings(List.of("</s>", "<end>"));
        assertEquals("a ", stops.next("a </"));
        assertEquals("</", stops.finish());
        assertFalse(stops.found());
    }

    @Test
    void theFirstOfSeveralStopStringsCounts() {
        StopStrings stops = new StopStrings(List.of("day", "One", "On"));
        assertEquals("x ", stops.next("x One day"));
        assertTrue(stops.found());
        assertEquals("", stops.finish());
    }

    @Test
    void withoutStopStringsNothingIsHeldBack() {
        StopStrings stops = new StopStrings(List.of());
        assertEquals("abc", stops.next("abc"));
        assertEquals("", stops.finish());
    }

    @Test
    void aPieceAtATimeNeverShowsMoreThanTheTextBeforeTheStop() {
        SplittableRandom random = new SplittableRandom(7);
        for (int trial = 0; trial < 2000; trial++) {
            String text = letters(random, 20);
            String stop = letters(random, 1 + random.nextInt(5));
            int at = text.indexOf(stop);
            String before = at < 0 ? text : text.substring(0, at);
            StopStrings filter = new StopStrings(List.of(stop));
            StringBuilder shown = new StringBuilder();
            for (int from = 0; from < text.length() && !filter.found(); ) {
                int to = Math.min(text.length(), from + 1 + random.nextInt(4));
                shown.append(filter.next(text.substring(from, to)));
                assertTrue(before.startsWith(shown.toString()), text + " " + stop + " " + shown);
                from = to;
            }
            shown.append(filter.found() ? "" : filter.finish());
            assertEquals(before, shown.toString(), text + " " + stop);
            assertEquals(at >= 0, filter.found());
        }
    }

    private static String letters(SplittableRandom random, int length) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++) {
            text.append((char) ('a' + random.nextInt(2)));
        }
        return text.toString();
    }
}
