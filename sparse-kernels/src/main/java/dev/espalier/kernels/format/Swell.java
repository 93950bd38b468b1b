package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/// Any mask: a window of x slides over the columns, and rows take from it what they keep (sliding-window ELL).
///
/// A vector's lanes are the rows of a slice, L (16, 8 or 4), as many as the machine's vectors have 32-bit lanes. A *step*
/// serves at most one kept weight of each row, all of them inside a window of W consecutive columns: its base is the lowest column
/// of the slice that is not served yet; a row whose next weight lies beyond the window is filled with a zero. With 16 lanes two
/// steps share a window, and W is 32. With 8 or 4 each has its own, and W is L, because a second lookup costs more than the
/// filling, but 2 L for 16-bit values of which few are kept.
///
/// ```
///   block   | index words: 1 or 2 vectors | values |
///
///   index word of lane (row) r, 16 lanes, 6 steps:
///     bits 5 s / 2 to 5 s / 2 + 4       = column of an even step s, counted from its base
///     the same 16 bits higher           = column of the odd step after it
///     bits 15 and 31                    = bits 2 r and 2 r + 1 of the moves: 10 bits for each two steps, how far their window
///                                         lies from the one before (the first of a slice: from column 0)
///   8 or 4 lanes, 8 steps: bits 4 s to 4 s + 3 = column of step s; the bases are a stream of their own, a u16 a step
///
///   16-bit values, lane r:       a vector has two steps: 2 i in the low half, 2 i + 1 in the high half
///   8-bit values, lane r:        a vector has four steps, 4 i in the lowest byte; with 16 lanes a block has 12 steps
///   F32 values:                  one vector a step
/// ```
///
/// The kernel loads W activations from the base on, permutes them by the index words and multiplies: no gather, no sum over
/// lanes at the end, x in float32. With 16 lanes it permutes halves of floats, 32 at a time ([SwellPairs]). Bytes a weight:
/// `d · fill · (b + 4/s)`, and 2/L more with fewer lanes, where d is the fraction kept, b the bytes of
/// a value, s the steps a word, and fill is how many slots a kept weight takes. With random masks fill is about 1.06 at 50 %,
/// 1.14 at 70 %, 1.23 at 80 %, 1.5 at 90 % for L = 16; for L = 8 1.16, 1.33, 1.3, 1.6. Pays from about 60 % on; on
/// machines without AVX-512 it is the format for any mask.
///
/// A slice is L rows of a strip of columns ([Strips]); columns count from the strip's first one. Blocks are cut in two ([Halved]).
/// It takes at least as many steps as its fullest row has weights. Where rows differ in that, as they do in real masks,
/// each 128 rows are sorted by their number of weights before they are cut into slices; the products are put back in order as
/// they are stored. ALPS' masks of SmolLM2-135M at 80 % then have 1.18 to 1.28 slots a weight instead of 1.22 to 1.85 (L = 16).
///
/// In `swell-int8`, which is not exact, values are bytes with one scale a row ([Int8]).
public final class Swell implements WeightFormat {
    /// See [CpuLinear#fewTokens].
    private static final int FEW_TOKENS = 40;

    /// The same where at most a third is kept.
    private static final int FEW_TOKENS_SPARSE = 64;

    private static final int LANES = SwellKernels.LANES;
    /// Whether two steps share a window.
    private static final boolean PAIRS = LANES == 16;
    /// Steps that share a window.
    private static final int TOGETHER = PAIRS ? 2 : 1;
    /// Bits of an index.
    private static final int FIELD = PAIRS ? 5 : 4;
    /// Steps that an index word describes.
    private static final int WORD_STEPS = PAIRS ? 6 : 8;
    /// Columns from one window to the next at the most.
    private static final int REACH = PAIRS ? (1 << SwellPairs.MOVE) - 1 : 1 << 16;

    /// Rows that are sorted among themselves: few enough for a panel to find its rows.
    private static final int SORTED = Strips.BAND;

    /// Rows are sorted if that saves more than a tenth of the slots that the fullest rows ask for.
    private static final double WORTH = 0.9;

    /// Below this fraction 16-bit values look up two vectors in narrow lanes.
    private static final double FEW = 0.22;

    private static final int MAX_COLUMNS = 1 << 16;

    private static final Swell EXACT = new Swell(false);
    private static final Swell INT8 = new Swell(true);

    private final boolean rounds;

    private Swell(boolean rounds) {
        this.rounds = rounds;
    }

    public static Swell of() {
        return EXACT;
    }

    /// With bytes and scales for values.
    public static Swell int8() {
        return INT8;
    }

    @Override
    public String name() {
        return rounds ? "swell-int8" : "swell";
    }

    @Override
    public boolean exact() {
        return !rounds;
    }

    @Override
    public String refuses(Tensor dense) {
        if (dense.columns() > MAX_COLUMNS) {
            return "its %d columns are more than %d".formatted(dense.columns(), MAX_COLUMNS);
        }
        return rounds ? Int8.refuses(dense) : Weights.refuses(dense);
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException(name() + ": " + reason);
        }
        if (!rounds) {
            return new Packed(this, dense, null);
        }
        try (Arena scratch = Arena.ofShared()) {
            Int8 bytes = Int8.of(dense, Math.max(1, dense.columns()), scratch);
            return new Packed(this, bytes.values(), bytes.scales());
        }
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear, Strips.Matrix {
        private static final ThreadLocal<AheadChoice> AHEAD = AheadChoice.perThread();

        private final Arena arena = Arena.ofShared();
        private final Swell format;
        private final DType dtype;
        private final int rows;
        private final int columns;
        private final Strips strips;
        /// Columns that a step reaches.
        private final int window;
        /// Steps in a block.
        private final int steps;

        private final long blockBytes;
        /// One a row for bytes, else null.
        private final float[] scales;
        /// Which row lies at each place, lane by lane and slice by slice; null if they lie in order.
        private final int[] order;
        /// Blocks before each slice, and in all.
        private final long[] starts;

        private final long nonZeros;
        /// A u16 for each window: for panels and, with fewer than 16 lanes, for products.
        private final long bases;
        private final Halved blocks;

        Packed(Swell format, Tensor dense, float[] scales) {
            this.format = format;
            this.scales = scales;
            dtype = dense.dtype();
            rows = dense.rows();
            columns = dense.columns();
            int words = dtype == DType.I8 && PAIRS ? 2 : 1;
            steps = words * WORD_STEPS;
            blockBytes = 4L * LANES * words + (long) steps * LANES * dtype.bytes();
            int[] counts = counts(dense);
            nonZeros = Arrays.stream(counts).asLongStream().sum();
            boolean far = PAIRS || dtype.bytes() == 2 && nonZeros < FEW * dense.size();
            window = far ? 2 * LANES : LANES;
            order = order(counts);
            strips = Strips.of(rows, columns, LANES);
            int slices = strips.units();
            starts = new long[slices + 1];
            Slice slice = new Slice(dense);
            strips.forEach((i, place, strip) -> {
                slice.read(place, strip);
                starts[i + 1] = starts[i] + Math.ceilDiv(slice.count(), steps);
            });
            bases = Memory.allocate(Math.max(1, starts[slices] * steps / TOGETHER * 2), arena)
                    .address();
            blocks = Halved.allocate(starts[slices], blockBytes, 4L * LANES, arena);
            strips.forEach((i, place, strip) -> {
                slice.read(place, strip);
                slice.write(starts[i], starts[i + 1]);
            });
        }

        private static int[] counts(Tensor dense) {
            int[] counts = new int[dense.rows()];
            Arrays.setAll(counts, row -> (int) NonZeros.count(dense.slice(row, row + 1)));
            return counts;
        }

        /// Each [#SORTED] rows by descending count; null if that is not worth it.
        private static int[] order(int[] counts) {
            int[] order = IntStream.range(0, (counts.length + SORTED - 1) / SORTED)
                    .flatMap(group -> IntStream.range(group * SORTED, Math.min(counts.length, (group + 1) * SORTED))
                            .boxed()
                            .sorted(Comparator.comparingInt(row -> -counts[row]))
                            .mapToInt(row -> row))
                    .toArray();
            long plain = 0;
            long sorted = 0;
            for (int place = 0; place < order.length; place += LANES) {
                int fullest = 0;
                for (int row = place; row < Math.min(order.length, place + LANES); row++) {
                    fullest = Math.max(fullest, counts[row]);
                }
                plain += fullest;
                sorted += counts[order[place]];
            }
            return sorted < WORTH * plain ? order : null;
        }

        /// The row that lies at a place.
        private int row(int place) {
            return order == null ? place : order[place];
        }

        /// The kept weights of one slice's rows, taken off step by step. Whether a row is served by a step cannot be
        /// predicted: nothing branches on it.
        private final class Slice {
            private final KeptRow[] lanes = new KeptRow[LANES];
            /// Columns of the strip.
            private int stripColumns;
            private final int[] next = new int[LANES];
            private final int[] words = new int[LANES];

            Slice(Tensor dense) {
                Arrays.setAll(lanes, lane -> new KeptRow(dense));
            }

            /// Begins the slice at place `from` of a strip; columns count from the strip's first one.
            void read(int from, int strip) {
                int first = strips.first(strip);
                stripColumns = strips.columns(strip);
                for (int lane = 0; lane < LANES; lane++) {
                    if (from + lane < rows) {
                        lanes[lane].read(row(from + lane), first, first + stripColumns);
                    } else {
                        lanes[lane].empty();
                    }
                }
                Arrays.fill(next, 0);
            }

            /// The base of the window after the one at `base`: the lowest column that is not served yet, if that is within
            /// reach; the number of columns if all are served.
            private int after(int base) {
                int lowest = stripColumns;
                for (int lane = 0; lane < LANES; lane++) {
                    lowest = Math.min(lowest, lanes[lane].column(next[lane]));
                }
                return lowest < stripColumns ? Math.min(lowest, base + REACH) : stripColumns;
            }

            /// The steps that the slice takes.
            int count() {
                int taken = 0;
                for (int base = after(0); base < stripColumns; base = after(base)) {
                    int end = Math.min(stripColumns, base + window);
                    for (int step = 0; step < TOGETHER; step++) {
                        for (int lane = 0; lane < LANES; lane++) {
                            next[lane] += lanes[lane].column(next[lane]) < end ? 1 : 0;
                        }
                    }
                    taken += TOGETHER;
                }
                return taken;
            }

            /// Writes all steps, to blocks `first` to `last`; the filling of the last one keeps the last base.
            void write(long first, long last) {
                int base = 0;
                long moves = 0;
                for (long block = first; block < last; block++) {
                    for (int step = 0; step < steps; step++) {
                        if (step % TOGETHER == 0) {
                            int after = after(base);
                            int move = after < stripColumns ? after - base : 0;
                            base += move;
                            Raw.ALL.set(Raw.SHORT, baseAt(block, step), (short) base);
                            moves |= (long) move << step % WORD_STEPS / TOGETHER * SwellPairs.MOVE;
                        }
                        serve(base, block, step);
                        if (step % WORD_STEPS == WORD_STEPS - 1) {
                            finish(moves, word(block, 0, step));
                            moves = 0;
                        }
                    }
                }
            }

            private void serve(int base, long block, int step) {
                int end = Math.min(stripColumns, base + window);
                int shift = field(step);
                long at = value(block, 0, step);
                for (int lane = 0; lane < LANES; lane++) {
                    KeptRow kept = lanes[lane];
                    int i = next[lane];
                    int column = kept.column(i);
                    int served = column < end ? -1 : 0;
                    words[lane] |= (column - base & served) << shift;
                    Weights.store(dtype, at + 4L * lane, kept.bits(i) & served);
                    next[lane] = i - served;
                }
            }

            /// Writes the index words of some steps and begins the next ones; pairs have their moves in the free bits.
            private void finish(long moves, long to) {
                for (int lane = 0; PAIRS && lane < LANES; lane++) {
                    int two = (int) (moves >>> 2 * lane & 3);
                    words[lane] |= (two & 1) << 15 | (two & 2) << 30;
                }
                MemorySegment.copy(words, 0, Raw.ALL, Raw.INT, to, LANES);
                Arrays.fill(words, 0);
            }
        }

        /// Where the index of a step begins in its word.
        private static int field(int step) {
            int inWord = step % WORD_STEPS;
            return PAIRS ? (inWord & 1) * 16 + inWord / 2 * FIELD : inWord * FIELD;
        }

        /// The address of the base of a step.
        private long baseAt(long block, int step) {
            return bases + (block * steps + step) / TOGETHER * 2;
        }

        /// The address of the index word of a step.
        private long word(long block, int lane, int step) {
            return blocks.address(block, 4L * ((long) (step / WORD_STEPS) * LANES + lane));
        }

        /// The address of the value of a step: a 32-bit lane has as many steps as values fit.
        private long value(long block, int lane, int step) {
            int together = 4 / dtype.bytes();
            long vector = (long) steps / WORD_STEPS + step / together;
            return blocks.address(block, 4L * (vector * LANES + lane) + (long) step % together * dtype.bytes());
        }

        @Override
        public int rows() {
            return rows;
        }

        @Override
        public int columns() {
            return columns;
        }

        @Override
        public DType dtype() {
            return dtype;
        }

        @Override
        public WeightFormat format() {
            return format;
        }

        @Override
        public long bytes() {
            return starts[starts.length - 1] * (blockBytes + (PAIRS ? 0 : 2L * steps))
                    + (scales == null ? 0 : 4L * rows);
        }

        @Override
        public long nonZeros() {
            return nonZeros;
        }

        @Override
        public void unpack(Tensor target) {
            Weights.unpack(this, target);
        }

        @Override
        public Input input() {
            return PAIRS && VectorCheck.compiled() ? Input.HALVES : Input.PLAIN;
        }

        @Override
        public AheadChoice ahead() {
            return AHEAD.get();
        }

        @Override
        public int grain() {
            return LANES;
        }

        @Override
        public int fewTokens() {
            return 3 * nonZeros <= (long) rows * columns ? FEW_TOKENS_SPARSE : FEW_TOKENS;
        }

        @Override
        public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
            long xs = Raw.address(x, input().bytes(columns));
            long ys = Raw.address(y, 4L * rows);
            strips.multiply(this, input(), from, to, xs, ys);
        }

        /// The products of places: their rows lie in the same band.
        @Override
        public void multiplyStrip(int strip, int from, int to, long x, long y, boolean pages) {
            long result = Sums.scratch();
            int slice = strips.index(from, strip);
            for (int place = from; place < to; place += LANES) {
                int last = Math.min(to, place + LANES);
                if (VectorCheck.compiled()) {
                    run(slice, x, result, pages);
                    store(place, last, strip > 0, result, y);
                } else {
                    scalar(place, last, slice, strip > 0, x, y);
                }
                slice++;
            }
        }

        /// The sums of places `from` to `to` to where their rows belong, added to what is there if there are `more`.
        private void store(int from, int to, boolean more, long result, long y) {
            float scale = scales == null ? Weights.scale(dtype) : Weights.TOP_BYTE_SCALE;
            if (order == null && to - from == LANES) {
                SwellKernels.store(result, scale, scales, from, more, y + 4L * from);
                return;
            }
            for (int place = from; place < to; place++) {
                int row = row(place);
                float factor = scales == null ? scale : scale * scales[row];
                put(factor * Raw.ALL.get(Raw.FLOAT, result + 4L * (place - from)), more, y + 4L * row);
            }
        }

        private static void put(float sum, boolean more, long y) {
            Raw.ALL.set(Raw.FLOAT, y, more ? Raw.ALL.get(Raw.FLOAT, y) + sum : sum);
        }

        /// A slice's sums; `x` is where the activations of its strip begin.
        private void run(int slice, long x, long result, boolean pages) {
            long begin = blocks.head(starts[slice]);
            long end = blocks.head(starts[slice + 1]);
            long tail = blocks.tail(starts[slice]);
            long base = baseAt(starts[slice], 0);
            float scale = Weights.scale(dtype);
            int shift = Weights.shift(dtype);
            int low = Weights.lowMask(dtype);
            int high = Weights.highMask(dtype);
            int top = Weights.TOP_BYTE;
            if (PAIRS) {
                switch (dtype) {
                    case F32 -> SwellPairs.f32(begin, end, tail, x, result, pages);
                    case I8 -> SwellPairs.bytes(begin, end, tail, x, top, result, pages);
                    case BF16 -> SwellPairs.bf16(begin, end, tail, x, result, pages);
                    case F16 -> SwellPairs.f16(begin, end, tail, x, scale, shift, low, high, result, pages);
                }
                return;
            }
            switch (dtype) {
                case F32 -> SwellKernels.near32(begin, end, tail, base, x, result, pages);
                case I8 -> SwellKernels.bytes(begin, end, tail, base, x, top, result, pages);
                case BF16 -> {
                    if (window == LANES) {
                        SwellKernels.nearBf16(begin, end, tail, base, x, high, result, pages);
                    } else {
                        SwellKernels.farBf16(begin, end, tail, base, x, high, result, pages);
                    }
                }
                case F16 -> {
                    if (window == LANES) {
                        SwellKernels.nearF16(begin, end, tail, base, x, scale, shift, low, high, result, pages);
                    } else {
                        SwellKernels.farF16(begin, end, tail, base, x, scale, shift, low, high, result, pages);
                    }
                }
            }
        }

        private void scalar(int from, int to, int slice, boolean more, long x, long y) {
            for (int place = from; place < to; place++) {
                float sum = 0;
                for (long block = starts[slice]; block < starts[slice + 1]; block++) {
                    for (int step = 0; step < steps; step++) {
                        long at = x + 4L * column(place % LANES, block, step);
                        sum += weight(place % LANES, block, step) * Raw.ALL.get(Raw.FLOAT, at);
                    }
                }
                int row = row(place);
                put(scales == null ? sum : scales[row] * sum, more, y + 4L * row);
            }
        }

        /// Which column of its strip a lane has in a step of a block.
        private int column(int lane, long block, int step) {
            int word = Raw.ALL.get(Raw.INT, word(block, lane, step));
            return base(block, step) + (word >>> field(step) & window - 1);
        }

        private float weight(int lane, long block, int step) {
            return Weights.value(dtype, value(block, lane, step));
        }

        private int base(long block, int step) {
            return Short.toUnsignedInt(Raw.ALL.get(Raw.SHORT, baseAt(block, step)));
        }

        @Override
        public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
            long target = Raw.address(panel, 0);
            for (int row = rowFrom; row < rowTo; row++) {
                Raw.ALL
                        .asSlice(target + 4L * (row - rowFrom) * stride, 4L * (colTo - colFrom))
                        .fill((byte) 0);
            }
            Scatter scatter = new Scatter(blocks, dtype, LANES, FIELD, WORD_STEPS, TOGETHER, steps, scales);
            int[] windows = new int[steps];
            int last = order == null ? rowTo : Math.min(rows, Math.ceilDiv(rowTo, SORTED) * SORTED);
            for (int place = order == null ? rowFrom : rowFrom / SORTED * SORTED; place < last; place += LANES) {
                scatter.clear(target);
                for (int lane = 0; lane < Math.min(LANES, last - place); lane++) {
                    int row = row(place + lane);
                    if (row >= rowFrom && row < rowTo) {
                        scatter.add(lane, row, target + 4L * (row - rowFrom) * stride);
                    }
                }
                for (int strip = colFrom / strips.width(); !scatter.isEmpty() && strips.first(strip) < colTo; strip++) {
                    int first = strips.first(strip);
                    scatter(scatter, strips.index(place, strip), colFrom - first, colTo - first, windows);
                }
            }
        }

        /// What a slice has of the columns `from` to `to` of its strip, which may lie outside of it, to the panel that begins at
        /// `from`.
        private void scatter(Scatter scatter, int slice, int from, int to, int[] windows) {
            for (long block = first(slice, from); block < starts[slice + 1]; block++) {
                for (int step = 0; step < steps; step++) {
                    windows[step] = base(block, step) - from;
                }
                if (windows[0] >= to - from) {
                    break;
                }
                scatter.block(block, windows, to - from);
            }
        }

        /// The first block of a slice whose last window reaches `column`; bases ascend.
        private long first(int slice, int column) {
            long low = starts[slice];
            long high = starts[slice + 1];
            while (low < high) {
                long middle = (low + high) >>> 1;
                if (base(middle, steps - 1) + window <= column) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            return low;
        }

        @Override
        public void close() {
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }
    }
}
