package dev.espalier.kernels.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class AheadChoiceTest {
    private static final long BYTES = 8 << 20;
    private static final long ADDRESS = 10 * 4096 + 1000;
    private static final long PAGE_AHEAD = 12 * 4096;
    private static final long OWN_LINE = 10 * 4096 + 960;

    private final AheadChoice choice = new AheadChoice();

    @AfterEach
    void pagesAgain() {
        Ahead.pages(true);
    }

    @Test
    void theFasterWayIsTakenAndFoundAnewWhenTheMachineChanges() {
        take(64, 100, 110);
        assertTrue(choice.on());
        take(400, 120, 110);
        assertFalse(choice.on());
        take(400, 100, 110);
        assertTrue(choice.on());
    }

    /// A larger product takes longer and says nothing about the way.
    @Test
    void whatCountsIsBytesPerTime() {
        for (int i = 0; i < 64; i++) {
            choice.took(true, 10 * BYTES, 10 * 90);
            choice.took(false, BYTES, 100);
        }
        assertTrue(choice.on());
    }

    @Test
    void eachWayIsTriedAndAProductRunsInTheWayThatWasChosen() {
        int pages = 0;
        for (int product = 0; product < 64; product++) {
            choice.begin(BYTES);
            long read = Ahead.pageAhead(ADDRESS);
            assertTrue(read == PAGE_AHEAD || read == OWN_LINE, "reads " + read);
            pages += read == PAGE_AHEAD ? 1 : 0;
            choice.end();
        }
        assertEquals(32, pages);
        int trials = 0;
        for (int product = 0; product < 1600; product++) {
            boolean on = choice.on();
            choice.begin(BYTES);
            trials += Ahead.pageAhead(ADDRESS) == (on ? PAGE_AHEAD : OWN_LINE) ? 0 : 1;
            choice.end();
        }
        assertTrue(trials > 50 && trials < 200, "tried " + trials + " times");
    }

    @Test
    void smallProductsGoTheBetterWayAndAreNotTimed() {
        take(64, 120, 110);
        for (int product = 0; product < 100; product++) {
            choice.begin(1000);
            assertEquals(OWN_LINE, Ahead.pageAhead(ADDRESS));
            choice.end();
        }
        assertFalse(choice.on());
    }

    /// `count` products of each way, which take so long.
    private void take(int count, long with, long without) {
        for (int i = 0; i < count; i++) {
            choice.took(true, BYTES, with);
            choice.took(false, BYTES, without);
        }
    }
}
