package dev.espalier.kernels.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// What every weight format owes, whatever its layout; runs over [WeightFormats#all] and some other N:M.
class FormatContractTest {
    private static final int[] SIZES = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 172};
    private static final DType[] TYPES = {DType.F32, DType.BF16, DType.F16};

    private static List<CpuBackend> backends;

    @BeforeAll
    static void start() {
        backends = List.of(new CpuBackend(1), new CpuBackend(2), new CpuBackend(3));
    }

    @AfterAll
    static void stop() {
        backends.forEach(CpuBackend::close);
    }

    static Stream<WeightFormat> formats() {
        List<WeightFormat> formats = new ArrayList<>(WeightFormats.all());
        formats.add(Dense.mapped());
        formats.add(NOfM.of(1, 2));
        formats.add(NOfM.of(3, 4));
        formats.add(NOfM.of(2, 8));
        formats.add(NOfM.of(5, 16));
        formats.add(NOfM.of(6, 32));
        formats.add(NOfM.of(13, 64));
        formats.add(NOfM.of(32, 64));
        formats.add(NOfM.of(3, 128));
        formats.add(NOfM.of(1, 2).int8());
        formats.add(NOfM.of(3, 4).int8());
        formats.add(NOfM.of(5, 16).int8());
        formats.add(NOfM.of(6, 32).int8());
        formats.add(NOfM.of(13, 64).int8());
        formats.add(NOfM.of(32, 64).int8());
        formats.add(NOfM.of(3, 128).int8());
        return formats.stream();
    }

    @ParameterizedTest
    @MethodSource("formats")
    void productsEqualFloat64WithinTheSumsRounding(WeightFormat format) {
        Random random = new Random(20261126);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                for (int i = 0; i < SIZES.length; i++) {
                    int rows = SIZES[i];
                    for (int columns : columns(format, i)) {
                        for (double sparsity : sparsities(format)) {
                            Tensor dense = weights(arena, random, format, type, rows, columns, sparsity);
                            try (Linear packed = format.pack(dense)) {
                                for (int tokens : tokens(packed)) {
                                    check(arena, random, dense, packed, tokens);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// One token, a few, and as many as make it a GEMM.
    private static int[] tokens(Linear packed) {
        return new int[] {1, 3, ((CpuLinear) packed).fewTokens() + 1};
    }

    private static void check(Arena arena, Random random, Tensor given, Linear packed, int tokens) {
        // Of a format that rounds, the weights that count are those that it unpacks.
        Tensor dense = packed.format().exact() ? given : unpacked(arena, packed);
        int rows = dense.rows();
        int columns = dense.columns();
        Tensor x = flush(arena, DType.F32, tokens, columns);
        Tensor bias = tokens == 3 ? null : flush(arena, DType.F32, 1, rows);
        fill(x, random);
        if (bias != null) {
            fill(bias, random);
        }
        Tensor y = flush(arena, DType.F32, tokens, rows);
        float[] first = null;
        for (CpuBackend backend : backends) {
            y.segment().fill((byte) 0x7f);
            backend.linear(packed, bias, x, y);
            if (first == null) {
                first = y.toFloats();
            } else {
                assertArrayEquals(
                        first,
                        y.toFloats(),
                        () -> "threads change bits of " + packed.format().name());
            }
        }
        for (int token = 0; token < tokens; token += Math.max(1, tokens / 6)) {
            for (int row = 0; row < rows; row++) {
                double sum = bias == null ? 0 : bias.get(0, row);
                double norm = Math.abs(sum);
                for (int c = 0; c < columns; c++) {
                    double product = (double) dense.get(row, c) * x.get(token, c);
                    sum += product;
                    norm += Math.abs(product);
                }
                // Every partial sum of float32 is rounded by at most half a unit, 2^-24 of it, and there are at most
                // columns + 1 of them; none exceeds the sum of the magnitudes. A scale rounds once more, of a whole row
                // or of
                // each of its groups.
                int scales = packed.format().exact() ? 0 : 1 + Math.ceilDiv(columns, DenseInt8.GROUP);
                double tolerance = (columns + 1 + scales) * 0x1p-24 * norm;
                int t = token;
                int r = row;
                double expected = sum;
                assertEquals(
                        sum,
                        y.get(token, row),
                        tolerance,
                        () -> "%s %s, %d tokens: y[%d, %d] should be %g"
                                .formatted(packed.format().name(), dense, tokens, t, r, expected));
            }
        }
    }

    /// The few shapes that also run with narrower vectors, without fused multiply-add and without compiled vectors.
    @Tag("lanes")
    @Tag("scalar")
    @ParameterizedTest
    @MethodSource("formats")
    void productsEqualFloat64WhateverTheVectors(WeightFormat format) {
        Random random = new Random(5);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                for (int i : new int[] {0, 4, 11}) {
                    Tensor dense = weights(arena, random, format, type, SIZES[i], columns(format, i)[1], 0.5);
                    try (Linear packed = format.pack(dense)) {
                        check(arena, random, dense, packed, 1);
                        check(arena, random, dense, packed, 17);
                        checkUnpacked(arena, dense, packed);
                    }
                }
            }
        }
    }

    /// Real masks keep many weights of one row and few of the next, and some formats put rows in an order of their own.
    @Tag("lanes")
    @Tag("scalar")
    @ParameterizedTest
    @MethodSource("formats")
    void productsOfUnevenRowsEqualFloat64(WeightFormat format) {
        Random random = new Random(13);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                Tensor dense = uneven(arena, random, format, type, 300, 384);
                try (Linear packed = format.pack(dense)) {
                    check(arena, random, dense, packed, 1);
                    check(arena, random, dense, packed, 3);
                    check(arena, random, dense, packed, 17);
                    checkUnpacked(arena, dense, packed);
                }
            }
        }
    }

    @Test
    void sortedRowsSpareSwellSlotsThatTheFullestRowWouldAskFor() {
        Random random = new Random(17);
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = uneven(arena, random, Swell.of(), DType.BF16, 512, 384);
            Tensor sorted = Tensor.allocate(arena, DType.BF16, 512, 384);
            int to = 0;
            for (int emptiest = 6; emptiest >= 0; emptiest--) {
                for (int row = emptiest; row < 512; row += 7) {
                    MemorySegment.copy(dense.segment(), row * 768L, sorted.segment(), 768L * to++, 768);
                }
            }
            try (Linear mixed = Swell.of().pack(dense);
                    Linear best = Swell.of().pack(sorted)) {
                assertEquals(best.nonZeros(), mixed.nonZeros());
                assertTrue(mixed.bytes() < 1.2 * best.bytes(), mixed.bytes() + " bytes, at best " + best.bytes());
            }
        }
    }

    /// Of each seven rows the first is empty, and the last keeps six weights of seven.
    private static Tensor uneven(Arena arena, Random random, WeightFormat format, DType type, int rows, int columns) {
        Tensor dense = weights(arena, random, format, type, rows, columns, 0);
        for (int row = 0; row < rows; row++) {
            for (int c = 0; c < columns; c++) {
                if (random.nextInt(7) >= row % 7) {
                    dense.set(row, c, 0f);
                }
            }
        }
        return dense;
    }

    /// Thousands of zeros between two weights: further than some formats reach in a step.
    @Tag("lanes")
    @Tag("scalar")
    @ParameterizedTest
    @MethodSource("formats")
    void productsOfWeightsFarApartEqualFloat64(WeightFormat format) {
        Random random = new Random(19);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                Tensor dense = Tensor.allocate(arena, type, 40, 80 * 128);
                dense.set(0, 1, 0.5f);
                dense.set(2, 4_000, -1.25f);
                dense.set(2, 10_239, 3f);
                dense.set(15, 1_024, 2f);
                dense.set(16, 10_239, -0.75f);
                dense.set(37, 5_119, 7f);
                try (Linear packed = format.pack(dense)) {
                    check(arena, random, dense, packed, 1);
                    check(arena, random, dense, packed, 17);
                    checkUnpacked(arena, dense, packed);
                }
            }
        }
    }

    /// Matrices of megabytes: pages ahead are begun, and behind the last weight too.
    @Tag("lanes")
    @ParameterizedTest
    @MethodSource("formats")
    void productsOfLargeMatricesEqualFloat64(WeightFormat format) {
        Random random = new Random(11);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                for (double sparsity : new double[] {0.5, 0.9}) {
                    Tensor dense = weights(arena, random, format, type, 515, 17 * 128, sparsity);
                    try (Linear packed = format.pack(dense)) {
                        check(arena, random, dense, packed, 1);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void unpackingGivesBackEveryBitOrHalfAScaleBesideIt(WeightFormat format) {
        Random random = new Random(7);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                for (int i = 0; i < SIZES.length; i++) {
                    int rows = SIZES[i];
                    for (int columns : columns(format, i)) {
                        Tensor dense = weights(arena, random, format, type, rows, columns, 0.6);
                        try (Linear packed = format.pack(dense)) {
                            assertEquals(rows, packed.rows());
                            assertEquals(columns, packed.columns());
                            assertEquals(format.exact() ? type : DType.I8, packed.dtype());
                            assertEquals(format, packed.format());
                            assertTrue(packed.bytes()
                                    >= packed.nonZeros() * packed.dtype().bytes());
                            checkUnpacked(arena, dense, packed);
                        }
                    }
                }
            }
        }
    }

    private static void checkUnpacked(Arena arena, Tensor dense, Linear packed) {
        Tensor wide = unpacked(arena, packed);
        assertEquals(Mask.of(wide).count(), packed.nonZeros());
        if (packed.format().exact()) {
            Tensor back = flush(arena, dense.dtype(), dense.rows(), dense.columns());
            packed.unpack(back);
            assertEquals(
                    -1,
                    back.segment().mismatch(dense.segment()),
                    () -> packed.format().name() + " " + dense);
            assertArrayEquals(dense.toFloats(), wide.toFloats());
            return;
        }
        for (int row = 0; row < dense.rows(); row++) {
            float largest = 0;
            for (int c = 0; c < dense.columns(); c++) {
                largest = Math.max(largest, Math.abs(dense.get(row, c)));
            }
            for (int c = 0; c < dense.columns(); c++) {
                float weight = dense.get(row, c);
                // A scale is at most the largest magnitude that shares it over 127.
                assertEquals(
                        weight,
                        wide.get(row, c),
                        largest / 254.0,
                        () -> packed.format().name() + " " + dense);
                assertTrue(weight != 0 || wide.get(row, c) == 0, "zeros stay zeros");
            }
        }
        // What was rounded once is not rounded again.
        try (Linear again = packed.format().pack(wide)) {
            assertArrayEquals(wide.toFloats(), unpacked(arena, again).toFloats());
        }
    }

    private static Tensor unpacked(Arena arena, Linear packed) {
        Tensor wide = flush(arena, DType.F32, packed.rows(), packed.columns());
        packed.unpack(wide);
        return wide;
    }

    @Test
    void eachGroupOfColumnsOfADenseRowHasItsOwnScale() {
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, 1, 2 * DenseInt8.GROUP);
            dense.set(0, 0, 100f);
            dense.set(0, DenseInt8.GROUP, 1f);
            dense.set(0, DenseInt8.GROUP + 1, 0.25f);
            try (Linear packed = DenseInt8.of().pack(dense)) {
                // With one scale for the row it would be a third of one step, and so nothing.
                assertEquals(0.25f, unpacked(arena, packed).get(0, DenseInt8.GROUP + 1), 0.5 / 127);
            }
            try (Linear packed = BitmaskInt8.of().pack(dense)) {
                assertEquals(0f, unpacked(arena, packed).get(0, DenseInt8.GROUP + 1));
                assertEquals(2, packed.nonZeros());
            }
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void aFormatThatRoundsRefusesWhatNoScaleFits(WeightFormat format) {
        try (Arena arena = Arena.ofShared()) {
            for (float odd : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                Tensor dense = Tensor.allocate(arena, DType.BF16, 3, 128);
                dense.set(2, 7, odd);
                if (format.exact()) {
                    assertNull(format.refuses(dense));
                } else {
                    assertEquals("row 2 holds a weight that is not finite, which no scale fits", format.refuses(dense));
                    assertThrows(IllegalArgumentException.class, () -> format.pack(dense));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void rowsWithoutWeightsGiveExactlyZeroOrTheBias(WeightFormat format) {
        Random random = new Random(3);
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                int rows = 37;
                int columns = 384;
                Tensor dense = Tensor.allocate(arena, type, rows, columns);
                Tensor one = weights(arena, random, format, type, 1, columns, 0.6);
                MemorySegment.copy(one.segment(), 0, dense.segment(), 20 * one.bytes(), one.bytes());
                try (Linear packed = format.pack(dense)) {
                    for (int tokens : tokens(packed)) {
                        Tensor x = flush(arena, DType.F32, tokens, columns);
                        fill(x, random);
                        Tensor bias = flush(arena, DType.F32, 1, rows);
                        fill(bias, random);
                        Tensor y = flush(arena, DType.F32, tokens, rows);
                        backends.get(1).linear(packed, null, x, y);
                        Tensor shifted = flush(arena, DType.F32, tokens, rows);
                        backends.get(1).linear(packed, bias, x, shifted);
                        for (int token = 0; token < tokens; token++) {
                            for (int row = 0; row < rows; row++) {
                                if (row != 20) {
                                    assertEquals(0f, y.get(token, row));
                                    assertEquals(bias.get(0, row), shifted.get(token, row));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void negativeZerosAreZeros(WeightFormat format) {
        try (Arena arena = Arena.ofShared()) {
            for (DType type : TYPES) {
                Tensor dense = Tensor.allocate(arena, type, 16, 128);
                for (int i = 0; i < dense.size(); i++) {
                    dense.set(i / 128, i % 128, -0f);
                }
                dense.set(3, 5, -1.5f);
                assertNull(format.refuses(dense));
                try (Linear packed = format.pack(dense)) {
                    assertEquals(1, packed.nonZeros());
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void subnormalAndLargeWeightsKeepTheirValue(WeightFormat format) {
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.F16, 16, 128);
            dense.set(0, 1, 0x1p-24f);
            dense.set(1, 2, -0x1.8p-15f);
            dense.set(2, 3, 65504f);
            try (Linear packed = format.pack(dense)) {
                Tensor x = Tensor.allocate(arena, DType.F32, 1, 128);
                for (int c = 0; c < 128; c++) {
                    x.set(0, c, 3f);
                }
                Tensor y = Tensor.allocate(arena, DType.F32, 1, 16);
                backends.get(0).linear(packed, null, x, y);
                // The only weight of a row is 127 steps; of the step's scale 16 bits are kept.
                double kept = format.exact() ? 0 : 0x1p-15;
                assertEquals(3 * 0x1p-24f, y.get(0, 0), 3 * 0x1p-24 * kept);
                assertEquals(-3 * 0x1.8p-15f, y.get(0, 1), 3 * 0x1.8p-15 * kept);
                assertEquals(3 * 65504f, y.get(0, 2), 3 * 65504 * kept);
            }
        }
    }

    @Test
    void aGroupThatKeepsTooManyIsNamed() {
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, 5, 16);
            for (int c = 9; c < 12; c++) {
                dense.set(3, c, 1f);
            }
            assertEquals("row 3 keeps 3 of columns 8 to 11", NOfM.of(2, 4).refuses(dense));
            assertThrows(IllegalArgumentException.class, () -> NOfM.of(2, 4).pack(dense));
            assertNull(NOfM.of(3, 4).refuses(dense));
            assertEquals("its 16 columns are no multiple of 5", NOfM.of(2, 5).refuses(dense));
        }
    }

    @Test
    void namesAreFoundAndUnknownOnesListed() {
        for (WeightFormat format : WeightFormats.all()) {
            assertEquals(format, WeightFormats.named(format.name()));
        }
        assertEquals(NOfM.of(7, 9), WeightFormats.named("7:9"));
        assertEquals(NOfM.of(13, 64).int8(), WeightFormats.named("13:64-int8"));
        InputException unknown = assertThrows(InputException.class, () -> WeightFormats.named("sparse"));
        assertTrue(unknown.getMessage().contains("bitmask"), unknown.getMessage());
        assertThrows(InputException.class, () -> WeightFormats.named("5:4"));
        assertThrows(InputException.class, () -> WeightFormats.named("0:4"));
        assertThrows(InputException.class, () -> WeightFormats.named("2:400"));
    }

    /// Some columns to go with the `i`th number of rows, so that over all rows every size comes up several times.
    private static int[] columns(WeightFormat format, int i) {
        if (format instanceof NOfM pattern) {
            int m = pattern.group();
            int[] columns = {m, 2 * m, 3 * m, 172 / m * m + m, 512 / m * m};
            return new int[] {columns[i % 5], columns[(i + 2) % 5]};
        }
        int n = SIZES.length;
        return new int[] {SIZES[i], SIZES[(i + 5) % n], SIZES[n - 1 - i]};
    }

    private static double[] sparsities(WeightFormat format) {
        return format instanceof NOfM ? new double[] {0, 0.5, 1} : new double[] {0, 0.5, 0.7, 0.9, 1};
    }

    /// Random weights that `format` takes: `sparsity` of them zero, or for N:M of those that a group may keep.
    private static Tensor weights(
            Arena arena, Random random, WeightFormat format, DType type, int rows, int columns, double sparsity) {
        Tensor dense = flush(arena, type, rows, columns);
        int kept = format instanceof NOfM pattern ? pattern.kept() : 1;
        int group = format instanceof NOfM pattern ? pattern.group() : 1;
        for (int row = 0; row < rows; row++) {
            for (int from = 0; from < columns; from += group) {
                int[] places = random.ints(0, group).distinct().limit(kept).toArray();
                for (int place : places) {
                    if (random.nextDouble() >= sparsity) {
                        dense.set(row, from + place, (float) random.nextGaussian() + 0.01f);
                    }
                }
            }
        }
        return dense;
    }

    private static void fill(Tensor x, Random random) {
        for (int row = 0; row < x.rows(); row++) {
            for (int c = 0; c < x.columns(); c++) {
                x.set(row, c, (float) random.nextGaussian());
            }
        }
    }

    /// A tensor that ends where its segment ends, so that the JDK's own checks catch reads past it.
    private static Tensor flush(Arena arena, DType type, int rows, int columns) {
        return Tensor.of(type, rows, columns, arena.allocate((long) rows * columns * type.bytes(), 4));
    }
}
