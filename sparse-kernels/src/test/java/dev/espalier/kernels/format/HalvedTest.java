package dev.espalier.kernels.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.simd.Raw;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

class HalvedTest {
    private static final int BLOCKS = 1000;

    @Test
    void headsAndTailsFollowOneAnotherInTheirAreas() {
        try (Arena arena = Arena.ofConfined()) {
            Halved blocks = Halved.allocate(BLOCKS, 576, 64, arena);
            assertEquals(blocks.heads() + 3 * 320, blocks.head(3));
            assertEquals(blocks.tails() + 3 * 256, blocks.tail(3));
            assertEquals(blocks.head(3) + 316, blocks.address(3, 316));
            assertEquals(blocks.tail(3), blocks.address(3, 320));
            assertEquals(blocks.tail(3) + 252, blocks.address(3, 572));
        }
    }

    @Test
    void everyPlaceOfEveryBlockIsItsOwn() {
        try (Arena arena = Arena.ofConfined()) {
            Halved blocks = Halved.allocate(BLOCKS, 96, 32, arena);
            for (int block = 0; block < BLOCKS; block++) {
                for (int offset = 0; offset < 96; offset += 4) {
                    Raw.ALL.set(Raw.INT, blocks.address(block, offset), 24 * block + offset / 4);
                }
            }
            for (int block = 0; block < BLOCKS; block++) {
                for (int offset = 0; offset < 96; offset += 4) {
                    assertEquals(24 * block + offset / 4, Raw.ALL.get(Raw.INT, blocks.address(block, offset)));
                }
            }
        }
    }

    /// What a kernel loads from the pages to come may lie behind the last head.
    @Test
    void theTailsBeginBehindWhatIsReadBehindTheHeads() {
        try (Arena arena = Arena.ofConfined()) {
            Halved blocks = Halved.allocate(BLOCKS, 576, 64, arena);
            assertTrue(blocks.tails() - blocks.head(BLOCKS) >= Ahead.distance(true) + 4096);
            assertEquals(0, blocks.tails() % 64);
            Halved none = Halved.allocate(0, 576, 64, arena);
            assertTrue(none.tails() > none.heads());
        }
    }

    @Test
    void aBlockWithoutATailIsWhole() {
        try (Arena arena = Arena.ofConfined()) {
            Halved blocks = Halved.whole(2, 512, arena);
            assertEquals(blocks.head(1) + 508, blocks.address(1, 508));
            assertEquals(blocks.tail(0), blocks.tail(1));
        }
    }
}
