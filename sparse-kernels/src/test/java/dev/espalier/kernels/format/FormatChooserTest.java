package dev.espalier.kernels.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Test;

/// What is chosen depends on the machine; that it holds the matrix, and that it is explained, does not.
class FormatChooserTest {
    @Test
    void aMatrixWithoutZerosStaysDense() {
        try (CpuBackend backend = new CpuBackend(1);
                Arena arena = Arena.ofShared()) {
            FormatChooser chooser = new FormatChooser(backend);
            assertEquals(Dense.tiled(), chooser.choose(random(arena, 64, 256, 0, 0)));
            assertTrue(chooser.why().startsWith("dense: only 0 %"), chooser.why());
        }
    }

    @Test
    void whatIsChosenTakesTheMatrixAndIsExplained() {
        try (CpuBackend backend = new CpuBackend(2);
                Arena arena = Arena.ofShared()) {
            FormatChooser chooser = new FormatChooser(backend);
            for (double sparsity : new double[] {0.5, 0.9}) {
                Tensor dense = random(arena, 100, 300, sparsity, 0);
                WeightFormat format = chooser.choose(dense);
                assertNull(format.refuses(dense));
                assertTrue(chooser.why().startsWith(format.name() + " at "), chooser.why());
                assertTrue(chooser.why().contains("swell"), chooser.why());
            }
        }
    }

    @Test
    void anNOfMMaskIsSeenAndTheSparsestPatternTried() {
        try (CpuBackend backend = new CpuBackend(1);
                Arena arena = Arena.ofShared()) {
            FormatChooser chooser = new FormatChooser(backend);
            chooser.choose(random(arena, 64, 256, 0, 2));
            assertTrue(chooser.why().contains("2:4"), chooser.why());
            chooser.choose(random(arena, 64, 256, 0, 1));
            assertTrue(chooser.why().contains("1:4"), chooser.why());
        }
    }

    @Test
    void memoryIsReadAtAFinitePositiveRate() {
        double rate = Bandwidth.readOneThread();
        assertTrue(rate > 0.1 && rate < 10_000, rate + " GB/s");
    }

    private static Tensor random(Arena arena, int rows, int columns, double sparsity, int ofFour) {
        Random random = new Random(11);
        Tensor tensor = Tensor.allocate(arena, DType.BF16, rows, columns);
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                boolean kept = ofFour > 0 ? (column + row) % 4 < ofFour : random.nextDouble() >= sparsity;
                tensor.set(row, column, kept ? (float) random.nextGaussian() + 0.01f : 0f);
            }
        }
        return tensor;
    }
}
