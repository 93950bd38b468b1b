package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// The packed form itself; that the kernels read it is `KernelTwinsTest`'s.
class DeltaLayoutTest {
    /// 15 columns fit between two entries; of more, each 16th is an entry itself.
    @ParameterizedTest
    @CsvSource({"0, 1, 0x0", "15, 1, 0xf", "16, 2, 0x0f", "31, 2, 0xff", "32, 3, 0x0ff", "47, 3, 0xfff"})
    void oneWeightBehindSoManyColumns(int column, int entries, String deltas) {
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, 1, 300);
            dense.set(0, column, 1f);
            DeltaLayout packed = DeltaLayout.pack(dense, arena);
            assertEquals(1, packed.starts().get(Layouts.INT, 4));
            assertEquals(Integer.decode(deltas), packed.deltas().get(Layouts.INT, 0));
            for (int i = 0; i < DeltaLayout.UNIT; i++) {
                int bits = i == entries - 1 ? 0x3f80 : 0;
                assertEquals(bits, packed.values().get(Layouts.SHORT, 2L * i), "entry " + i);
            }
        }
    }

    @Test
    void aRowWithoutWeightsTakesOneUnitAndWhatFollowsTheLastTakesNone() {
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.F16, 3, 5000);
            for (int column = 0; column < 9; column++) {
                dense.set(1, column, 1f);
            }
            DeltaLayout packed = DeltaLayout.pack(dense, arena);
            int[] starts = new int[4];
            for (int row = 0; row < starts.length; row++) {
                starts[row] = packed.starts().get(Layouts.INT, 4L * row);
            }
            assertEquals("[0, 1, 3, 4]", Arrays.toString(starts));
        }
    }
}
