package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// Writes the weights of blocks whose lanes are rows into panels of float32, as [Swell] and [NOfM] store them: index words,
/// then values, step by step; their tails lie elsewhere ([Halved]).
///
/// ```
///   | words: 32 / field steps a word | values: 32-bit lanes, as many steps in each as fit |
/// ```
///
/// First the places and values of a block's weights are listed, a step of all lanes at a time, slots that hold no weight or
/// lie outside the panel left out; then they are stored one by one. Without vectors such a slot is written to a place that nobody
/// reads: which slots those are is not to be predicted, and a wrong guess costs more than a store.
final class Scatter {
    private static final boolean VECTORS = VectorCheck.compiled() && Kernel.LANES >= 8;
    /// Added to the columns of a lane that is not wanted.
    private static final int FAR = 1 << 30;

    private final Halved blocks;
    private final DType dtype;
    private final int lanes;
    private final int field;
    private final int wordSteps;
    /// How much further up the index of an odd step begins, and by how much a word is shifted after an even one.
    private final int odd;

    private final int afterEven;
    private final int steps;
    /// Steps whose values lie in the block's head.
    private final int headSteps;

    private final long firstValue;
    /// One a row for bytes, else null.
    private final float[] scales;
    /// The lanes that are wanted, and for each its row and the address of its columns in the panel.
    private final int[] wanted;

    private final int[] rows;
    private final long[] targets;
    private int count;
    /// For each lane an int, whether it is wanted (0, else [#FAR]), one, the bytes from the panel to its row, and a scale; then
    /// the list: for each slot bytes from the panel, then for each slot a value.
    private final long lists;

    private long panel;

    /// Of `blocks` of `steps` steps and `lanes` rows, whose index words lie in the heads. Indices have `field` bits, `wordSteps` of them
    /// a word: in order from its lowest bit on if `together` is 1; if it is 2, those of even steps so and those of odd steps from
    /// the middle on.
    Scatter(Halved blocks, DType dtype, int lanes, int field, int wordSteps, int together, int steps, float[] scales) {
        this.blocks = blocks;
        this.dtype = dtype;
        this.lanes = lanes;
        this.field = field;
        this.wordSteps = wordSteps;
        odd = together == 2 ? 16 : 0;
        afterEven = together == 2 ? 0 : field;
        this.steps = steps;
        this.firstValue = 4L * lanes * Math.ceilDiv(steps, wordSteps);
        headSteps = (int) ((blocks.headBytes() - firstValue) / (4L * lanes)) * (4 / dtype.bytes());
        this.scales = scales;
        wanted = new int[lanes];
        rows = new int[lanes];
        targets = new long[lanes];
        lists = VECTORS ? Kernel.LISTS.get().address() : 0;
        if (steps > Kernel.MOST_STEPS) {
            throw new IllegalArgumentException("blocks of " + steps + " steps");
        }
    }

    /// Wants no lane any more; what is wanted from now on goes to the panel at address `to`.
    void clear(long to) {
        count = 0;
        panel = to;
        for (int lane = 0; VECTORS && lane < lanes; lane++) {
            Raw.ALL.set(Raw.INT, lists + 4L * lane, FAR);
        }
    }

    /// Wants lane `lane`, which is row `row`, at address `to`, where the panel's first column of that row lies.
    void add(int lane, int row, long to) {
        wanted[count] = lane;
        rows[count] = row;
        targets[count] = to;
        count++;
        if (VECTORS) {
            Raw.ALL.set(Raw.INT, lists + 4L * lane, 0);
            Raw.ALL.set(Raw.INT, lists + 4L * (lanes + lane), Math.toIntExact(to - panel));
            Raw.ALL.set(Raw.FLOAT, lists + 4L * (2 * lanes + lane), scales == null ? 1f : scales[row]);
        }
    }

    boolean isEmpty() {
        return count == 0;
    }

    /// The wanted lanes of block `number` into a panel of `columns` columns, which holds zeros where nothing is
    /// written; step s's indices count from column `bases[s]` of the panel, which may lie outside.
    void block(long number, int[] bases, int columns) {
        long block = blocks.head(number);
        // As if the head lay right before it.
        long tail = blocks.tail(number) - blocks.headBytes();
        if (VECTORS) {
            list(block, tail, bases, columns);
            return;
        }
        long nowhere = Sums.scratch();
        for (int i = 0; i < count; i++) {
            switch (dtype) {
                case F32 -> singles(block, tail, wanted[i], bases, columns, targets[i], nowhere);
                case I8 -> bytes(block, tail, wanted[i], bases, columns, targets[i], nowhere, scales[rows[i]]);
                default -> halves(block, tail, wanted[i], bases, columns, targets[i], nowhere);
            }
        }
    }

    private void list(long block, long tail, int[] bases, int columns) {
        long values = block + firstValue;
        long others = tail + firstValue;
        long places = lists + 12L * lanes;
        int listed = switch (dtype) {
            case F32 -> Kernel.singles(this, block, values, others, bases, columns, places);
            case I8 -> Kernel.bytes(this, block, values, others, bases, columns, places);
            default -> {
                int shift = Weights.shift(dtype);
                int low = Weights.lowMask(dtype);
                float factor = Weights.scale(dtype) * Weights.scale(dtype);
                yield Kernel.halves(this, block, values, others, bases, columns, shift, low, factor, places);
            }
        };
        Kernel.put(places, listed, panel);
    }

    private void halves(long block, long tail, int lane, int[] bases, int columns, long to, long nowhere) {
        int shift = Weights.shift(dtype);
        int low = Weights.lowMask(dtype);
        float factor = Weights.scale(dtype) * Weights.scale(dtype);
        int mask = (1 << field) - 1;
        long value = block + firstValue + 4L * lane;
        long other = tail + firstValue + 4L * lane;
        long words = block + 4L * lane;
        for (int s = 0; s < steps; words += 4L * lanes) {
            int word = Raw.ALL.get(Raw.INT, words);
            for (int end = Math.min(steps, s + wordSteps); s < end; s++) {
                int bits =
                        Raw.ALL.get(Raw.SHORT, (s < headSteps ? value : other) + 4L * lanes * (s >> 1) + 2L * (s & 1));
                int column = bases[s] + (word >>> (s & 1) * odd & mask);
                long at = bits != 0 & column >= 0 & column < columns ? to + 4L * column : nowhere;
                Raw.ALL.set(Raw.FLOAT, at, Float.intBitsToFloat(bits << 16 >> shift & low) * factor);
                word >>>= (s & 1) == 0 ? afterEven : field;
            }
        }
    }

    private void bytes(long block, long tail, int lane, int[] bases, int columns, long to, long nowhere, float scale) {
        int mask = (1 << field) - 1;
        long value = block + firstValue + 4L * lane;
        long other = tail + firstValue + 4L * lane;
        long words = block + 4L * lane;
        for (int s = 0; s < steps; words += 4L * lanes) {
            int word = Raw.ALL.get(Raw.INT, words);
            for (int end = Math.min(steps, s + wordSteps); s < end; s++) {
                int bits = Raw.ALL.get(
                        ValueLayout.JAVA_BYTE, (s < headSteps ? value : other) + 4L * lanes * (s >> 2) + (s & 3));
                int column = bases[s] + (word >>> (s & 1) * odd & mask);
                long at = bits != 0 & column >= 0 & column < columns ? to + 4L * column : nowhere;
                Raw.ALL.set(Raw.FLOAT, at, bits * scale);
                word >>>= (s & 1) == 0 ? afterEven : field;
            }
        }
    }

    private void singles(long block, long tail, int lane, int[] bases, int columns, long to, long nowhere) {
        int mask = (1 << field) - 1;
        long value = block + firstValue + 4L * lane;
        long other = tail + firstValue + 4L * lane;
        long words = block + 4L * lane;
        for (int s = 0; s < steps; words += 4L * lanes) {
            int word = Raw.ALL.get(Raw.INT, words);
            for (int end = Math.min(steps, s + wordSteps); s < end; s++) {
                int bits = Raw.ALL.get(Raw.INT, (s < headSteps ? value : other) + 4L * lanes * s);
                int column = bases[s] + (word >>> (s & 1) * odd & mask);
                long at = bits != 0 & column >= 0 & column < columns ? to + 4L * column : nowhere;
                Raw.ALL.set(Raw.INT, at, bits);
                word >>>= (s & 1) == 0 ? afterEven : field;
            }
        }
    }

    /// Lists of a block's weights: what they are called with is what a [Scatter] holds. Each returns how many it has listed.
    private static final class Kernel {
        private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
        private static final int LANES = I.length();
        private static final int MOST_STEPS = 64;
        /// Bytes from a slot's place to its value.
        private static final long APART = 4L * (MOST_STEPS + 1) * LANES;

        private static final ThreadLocal<MemorySegment> LISTS =
                ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(12L * LANES + 2 * APART, 64));

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        static int halves(
                Scatter of,
                long words,
                long values,
                long others,
                int[] bases,
                int columns,
                int shift,
                int low,
                float factor,
                long places) {
            IntVector far = IntVector.fromMemorySegment(I, Raw.ALL, of.lists, Raw.ORDER);
            IntVector rows = IntVector.fromMemorySegment(I, Raw.ALL, of.lists + 4L * LANES, Raw.ORDER);
            int mask = (1 << of.field) - 1;
            int steps = of.steps;
            long at = places;
            long from = words;
            for (int s = 0; s < steps; from += 4L * LANES) {
                IntVector word = IntVector.fromMemorySegment(I, Raw.ALL, from, Raw.ORDER);
                int down = 0;
                for (int end = Math.min(steps, s + of.wordSteps); s < end; s++) {
                    int odd = s & 1;
                    IntVector column = word.lanewise(VectorOperators.LSHR, down + odd * of.odd)
                            .and(mask)
                            .add(bases[s]);
                    IntVector bits = IntVector.fromMemorySegment(
                                    I, Raw.ALL, (s < of.headSteps ? values : others) + 4L * LANES * (s >> 1), Raw.ORDER)
                            .lanewise(VectorOperators.LSHL, 16 - 16 * odd)
                            .and(0xFFFF0000);
                    VectorMask<Integer> kept = column.add(far)
                            .compare(VectorOperators.ULT, columns)
                            .and(bits.compare(VectorOperators.NE, 0));
                    column.lanewise(VectorOperators.LSHL, 2)
                            .add(rows)
                            .compress(kept)
                            .intoMemorySegment(Raw.ALL, at, Raw.ORDER);
                    bits.lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats()
                            .mul(factor)
                            .reinterpretAsInts()
                            .compress(kept)
                            .intoMemorySegment(Raw.ALL, at + APART, Raw.ORDER);
                    at += 4L * kept.trueCount();
                    down += odd == 0 ? of.afterEven : of.field;
                }
            }
            return (int) (at - places >> 2);
        }

        static int bytes(Scatter of, long words, long values, long others, int[] bases, int columns, long places) {
            IntVector far = IntVector.fromMemorySegment(I, Raw.ALL, of.lists, Raw.ORDER);
            IntVector rows = IntVector.fromMemorySegment(I, Raw.ALL, of.lists + 4L * LANES, Raw.ORDER);
            IntVector scales = IntVector.fromMemorySegment(I, Raw.ALL, of.lists + 8L * LANES, Raw.ORDER);
            int mask = (1 << of.field) - 1;
            int steps = of.steps;
            long at = places;
            long from = words;
            for (int s = 0; s < steps; from += 4L * LANES) {
                IntVector word = IntVector.fromMemorySegment(I, Raw.ALL, from, Raw.ORDER);
                int down = 0;
                for (int end = Math.min(steps, s + of.wordSteps); s < end; s++) {
                    int odd = s & 1;
                    IntVector column = word.lanewise(VectorOperators.LSHR, down + odd * of.odd)
                            .and(mask)
                            .add(bases[s]);
                    IntVector bits = IntVector.fromMemorySegment(
                                    I, Raw.ALL, (s < of.headSteps ? values : others) + 4L * LANES * (s >> 2), Raw.ORDER)
                            .lanewise(VectorOperators.LSHL, 24 - 8 * (s & 3))
                            .lanewise(VectorOperators.ASHR, 24);
                    VectorMask<Integer> kept = column.add(far)
                            .compare(VectorOperators.ULT, columns)
                            .and(bits.compare(VectorOperators.NE, 0));
                    column.lanewise(VectorOperators.LSHL, 2)
                            .add(rows)
                            .compress(kept)
                            .intoMemorySegment(Raw.ALL, at, Raw.ORDER);
                    ((FloatVector) bits.convert(VectorOperators.I2F, 0))
                            .mul(scales.reinterpretAsFloats())
                            .reinterpretAsInts()
                            .compress(kept)
                            .intoMemorySegment(Raw.ALL, at + APART, Raw.ORDER);
                    at += 4L * kept.trueCount();
                    down += odd == 0 ? of.afterEven : of.field;
                }
            }
            return (int) (at - places >> 2);
        }

        static int singles(Scatter of, long words, long values, long others, int[] bases, int columns, long places) {
            IntVector far = IntVector.fromMemorySegment(I, Raw.ALL, of.lists, Raw.ORDER);
            IntVector rows = IntVector.fromMemorySegment(I, Raw.ALL, of.lists + 4L * LANES, Raw.ORDER);
            int mask = (1 << of.field) - 1;
            int steps = of.steps;
            long at = places;
            long from = words;
            for (int s = 0; s < steps; from += 4L * LANES) {
                IntVector word = IntVector.fromMemorySegment(I, Raw.ALL, from, Raw.ORDER);
                int down = 0;
                for (int end = Math.min(steps, s + of.wordSteps); s < end; s++) {
                    int odd = s & 1;
                    IntVector column = word.lanewise(VectorOperators.LSHR, down + odd * of.odd)
                            .and(mask)
                            .add(bases[s]);
                    IntVector bits = IntVector.fromMemorySegment(
                            I, Raw.ALL, (s < of.headSteps ? values : others) + 4L * LANES * s, Raw.ORDER);
                    VectorMask<Integer> kept = column.add(far)
                            .compare(VectorOperators.ULT, columns)
                            .and(bits.compare(VectorOperators.NE, 0));
                    column.lanewise(VectorOperators.LSHL, 2)
                            .add(rows)
                            .compress(kept)
                            .intoMemorySegment(Raw.ALL, at, Raw.ORDER);
                    bits.compress(kept).intoMemorySegment(Raw.ALL, at + APART, Raw.ORDER);
                    at += 4L * kept.trueCount();
                    down += odd == 0 ? of.afterEven : of.field;
                }
            }
            return (int) (at - places >> 2);
        }

        /// Stores `count` listed values where they belong in `panel`.
        static void put(long places, int count, long panel) {
            for (int i = 0; i < count; i++) {
                long at = panel + Raw.ALL.get(Raw.INT, places + 4L * i);
                Raw.ALL.set(Raw.INT, at, Raw.ALL.get(Raw.INT, places + APART + 4L * i));
            }
        }
    }
}
