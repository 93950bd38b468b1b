package dev.espalier.kernels.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.kernels.DeferredLinear;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// A matrix that is read from its file until it is packed computes the same before and after.
class DeferredTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({
        "F32, 16, 16",
        "F32, 37, 208",
        "BF16, 1, 32",
        "BF16, 64, 512",
        "BF16, 43, 224",
        "F16, 16, 96",
        "F16, 50, 640"
    })
    void packedOrNotTheSumsHaveTheSameBits(DType dtype, int rows, int columns) throws IOException {
        assumeTrue(VectorCheck.compiled(), "vectors: they are not compiled here");
        try (Arena arena = Arena.ofShared();
                CpuBackend backend = new CpuBackend(2);
                Linear matrix = Dense.deferred().pack(mapped(arena, dtype, rows, columns))) {
            DeferredLinear later = assertInstanceOf(DeferredLinear.class, matrix);
            long bytes = matrix.bytes();
            for (int tokens : new int[] {1, 3, 9}) {
                Tensor x = filled(arena, tokens, columns);
                Tensor before = Tensor.allocate(arena, DType.F32, tokens, rows);
                backend.linear(matrix, null, x, before);
                try (Linear tiles = Dense.tiled().pack(mapped(arena, dtype, rows, columns))) {
                    Tensor packed = Tensor.allocate(arena, DType.F32, tokens, rows);
                    backend.linear(tiles, null, x, packed);
                    assertArrayEquals(packed.toFloats(), before.toFloats());
                    assertEquals(tiles.bytes(), bytes);
                    assertEquals(tiles.nonZeros(), matrix.nonZeros());
                }
                if (tokens == 9) {
                    assertTrue(later.pack());
                    Tensor after = Tensor.allocate(arena, DType.F32, tokens, rows);
                    backend.linear(matrix, null, x, after);
                    assertArrayEquals(before.toFloats(), after.toFloats());
                }
            }
        }
    }

    /// Rows that end within a vector are added up in another order by rows than by tiles; what lies in no file is gone when
    /// the checkpoint has read the next block.
    @Test
    void whatCannotWaitIsPackedAtOnce() throws IOException {
        try (Arena arena = Arena.ofShared()) {
            try (Linear ragged = Dense.deferred().pack(mapped(arena, DType.BF16, 8, 40))) {
                assertFalse(ragged instanceof DeferredLinear);
            }
            try (Linear own = Dense.deferred().pack(Tensor.allocate(arena, DType.BF16, 8, 64))) {
                assertFalse(own instanceof DeferredLinear);
            }
        }
    }

    @Test
    void aClosedMatrixIsNotPackedAnyMore() throws IOException {
        assumeTrue(VectorCheck.compiled(), "vectors: they are not compiled here");
        try (Arena arena = Arena.ofShared()) {
            Linear matrix = Dense.deferred().pack(mapped(arena, DType.BF16, 8, 64));
            matrix.close();
            matrix.close();
            assertFalse(((DeferredLinear) matrix).pack());
        }
    }

    /// Random weights in a file, read through the system's cache of it, not at the beginning of a page.
    private Tensor mapped(Arena arena, DType dtype, int rows, int columns) throws IOException {
        int skipped = 24;
        Tensor weights = Tensor.allocate(arena, dtype, rows, columns);
        SplittableRandom random = new SplittableRandom(7);
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                weights.set(row, column, random.nextInt(4) == 0 ? 0 : (float) random.nextGaussian());
            }
        }
        Path file = Files.createTempFile(folder, "weights", "");
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            channel.position(skipped);
            channel.write(weights.segment().asByteBuffer());
            MemorySegment map = channel.map(FileChannel.MapMode.READ_ONLY, skipped, weights.bytes(), arena);
            return Tensor.of(dtype, rows, columns, map);
        }
    }

    private static Tensor filled(Arena arena, int tokens, int columns) {
        Tensor x = Tensor.allocate(arena, DType.F32, tokens, columns);
        SplittableRandom random = new SplittableRandom(11);
        for (int token = 0; token < tokens; token++) {
            for (int column = 0; column < columns; column++) {
                x.set(token, column, (float) random.nextGaussian());
            }
        }
        return x;
    }
}
