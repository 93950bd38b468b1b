package dev.espalier.kernels.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class AheadChoiceTest {
    private static final long BYTES = 8 << 20;
    private static final long ADDRESS = 10 * 4096 + 1000;

    private final AheadChoice choice = new AheadChoice();

    @Test
    void whatAKernelLoadsLiesInThePageAfterTheNextOrInItsOwnLine() {
        assertEquals(12 * 4096, ADDRESS + Ahead.distance(true) & Ahead.alignment(true));
        assertEquals(10 * 4096 + 960, ADDRESS + Ahead.distance(false) & Ahead.alignment(false));
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
    void aProductThatWaitedForSomethingElseDecidesNothing() {
        choice.took(true, BYTES, 1000 * BYTES);
        take(64, 100, 110);
        assertTrue(choice.on());
        for (int i = 0; i < 3; i++) {
            choice.took(true, BYTES, 2 * BYTES);
        }
        assertTrue(choice.on());
    }

    @Test
    void bothWaysTakeTurnsAndThenTheSlowerOneIsStillTriedNowAndThen() {
        int pages = 0;
        for (int product = 0; product < 256; product++) {
            pages += choice.begin(BYTES) ? 1 : 0;
            choice.end();
        }
        assertEquals(128, pages);
        int trials = 0;
        for (int product = 0; product < 3200; product++) {
            boolean on = choice.on();
            trials += choice.begin(BYTES) == on ? 0 : 1;
            choice.end();
        }
        assertTrue(trials >= 70 && trials <= 130, "tried " + trials + " times of 3200");
    }

    @Test
    void smallProductsGoTheBetterWayAndAreNotTimed() {
        take(64, 120, 110);
        for (int product = 0; product < 100; product++) {
            assertFalse(choice.begin(1000));
            choice.end();
        }
        assertFalse(choice.on());
    }

    @Test
    void aThreadHasOneOfAFormat() {
        ThreadLocal<AheadChoice> dense = AheadChoice.perThread();
        assertSame(dense.get(), dense.get());
        assertNotSame(dense.get(), AheadChoice.perThread().get());
    }

    /// `count` products of each way, which take so long.
    private void take(int count, long with, long without) {
        for (int i = 0; i < count; i++) {
            choice.took(true, BYTES, with);
            choice.took(false, BYTES, without);
        }
    }
}
