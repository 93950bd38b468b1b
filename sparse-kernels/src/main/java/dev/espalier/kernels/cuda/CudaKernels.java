package dev.espalier.kernels.cuda;

import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.Backend.Attention;
import dev.espalier.kernels.Backend.Norm;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaKernel;
import dev.espalier.natives.cuda.CudaKernel.Dim;
import dev.espalier.natives.cuda.CudaModule;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/// Our kernels on one device: compiled when first used, launched into a stream, shapes checked before each launch.
///
/// Nothing here waits, allocates or copies, except for the first use of a file, which loads it: a whole step can be recorded
/// as a graph, once every kernel in it was used or [#loadAll] was called. Activations are F32. One thread at a time.
public final class CudaKernels implements AutoCloseable {
    /// Dimensions of an attention head that the kernels have registers for.
    public static final int MAX_HEAD_DIM = 256;

    private static final int WARP = 32;
    private static final int MAX_TOKENS = 65535;

    /// 9.0 and newer. The PTX is made for 8.0 and does not wait.
    private static final Pattern EARLY_ARCHITECTURE = Pattern.compile("sm_(9\\d|\\d{3,})");

    /// Warps of a block of the dense kernel, and blocks of a multiprocessor.
    private static final int DENSE_WARPS = 4;

    private static final int DENSE_BLOCKS = 8;

    /// What the kernels must know of a device.
    ///
    /// @param architecture as NVRTC says it, `sm_90`
    /// @param multiprocessors how many it has
    /// @param sharedBytes shared memory that one block may have at most
    public record Device(String architecture, int multiprocessors, int sharedBytes) {
        public Device {
            if (!architecture.startsWith("sm_") || multiprocessors < 1 || sharedBytes < 48 << 10) {
                throw new IllegalArgumentException(
                        architecture + ", " + multiprocessors + " multiprocessors, " + sharedBytes + " bytes");
            }
        }

        /// The GPU that everything computes on.
        ///
        /// @throws IllegalStateException if there is none that is usable
        public static Device of(Cuda cuda) {
            Cuda.Device gpu = cuda.device();
            return new Device(gpu.architecture(), gpu.multiprocessors(), cuda.sharedBytesPerBlock());
        }
    }

    private final Device device;
    private final KernelImages images;
    private final Map<KernelFile, CudaModule> modules = new EnumMap<>(KernelFile.class);
    private final Map<KernelFile, KernelImages.Origin> origins = new EnumMap<>(KernelFile.class);
    private final Map<String, CudaKernel> kernels = new HashMap<>();

    /// The kernels of the current device.
    public CudaKernels(Device device, KernelImages images) {
        this.device = device;
        this.images = images;
    }

    public Device device() {
        return device;
    }

    /// Compiles and loads every file.
    public void loadAll() {
        for (KernelFile file : KernelFile.values()) {
            for (String entry : file.entries()) {
                kernel(file, entry);
            }
        }
    }

    /// Where the images that are loaded came from.
    public Map<KernelFile, KernelImages.Origin> origins() {
        return new TreeMap<>(origins);
    }

    private CudaKernel kernel(KernelFile file, String entry) {
        CudaKernel kernel = kernels.get(entry);
        if (kernel == null) {
            CudaModule module = modules.get(file);
            if (module == null) {
                KernelImages.Image image = images.image(file, device.architecture());
                module = CudaModule.load(file.baseName(), image.bytes());
                modules.put(file, module);
                origins.put(file, image.origin());
            }
            kernel = module.kernel(entry);
            switch (file) {
                case DELTA_GEMV, DELTA_EXPAND, TWO_FOUR_GEMV -> kernel.allowSharedBytes(device.sharedBytes());
                default -> {} // what it has is declared in the source
            }
            kernels.put(entry, kernel);
        }
        return kernel;
    }

    /// Why [#gemv] cannot apply this matrix on this device, as a clause; null if it can.
    public String refuses(DeviceWeights weights) {
        long shared = switch (weights) {
            case DeviceWeights.Dense dense -> 0;
            case DeviceWeights.Delta delta -> deltaShared(delta);
            case DeviceWeights.TwoFour pairs -> twoFourShared(pairs);
        };
        boolean fits = shared <= device.sharedBytes();
        return fits ? null : "%d input features do not fit into shared memory".formatted(weights.columns());
    }

    /// y = x Wᵀ + bias for few tokens: `x` `[tokens, in]`, `bias` F32 `[1, out]` or null, `y` `[tokens, out]` overwritten.
    /// Every token reads the weights anew, so that from a handful on a GEMM is faster. The weights may be read before kernels that were
    /// put into the stream earlier have ended: none of those may be about to write them.
    public void gemv(DeviceWeights weights, DeviceTensor bias, DeviceTensor x, DeviceTensor y, CudaStream stream) {
        requireFloats(x);
        requireFloats(y);
        require(x.columns() == weights.columns() && y.columns() == weights.rows(), x, y);
        require(x.rows() == y.rows() && x.rows() <= MAX_TOKENS, x, y);
        if (bias != null) {
            requireFloats(bias);
            require(bias.size() == weights.rows(), bias, y);
        }
        String refusal = refuses(weights);
        if (refusal != null) {
            throw new IllegalArgumentException(refusal);
        }
        if (x.rows() == 0 || weights.rows() == 0) {
            return;
        }
        DeviceMemory shift = bias == null ? null : bias.memory();
        String type = weights.dtype() == DType.F16 ? "_f16" : "_bf16";
        int rows = weights.rows();
        int columns = weights.columns();
        int tokens = x.rows();
        switch (weights) {
            case DeviceWeights.Dense dense -> {
                int rowsAWarp = denseRowsAWarp(rows);
                product(
                        KernelFile.DENSE_GEMV,
                        "dense_gemv" + type,
                        // Few blocks, each with two rows a warp, gather on some multiprocessors if they come early.
                        rowsAWarp == 1,
                        stream,
                        new Dim(Math.ceilDiv(rows, DENSE_WARPS * rowsAWarp), tokens),
                        new Dim(DENSE_WARPS * WARP),
                        0,
                        dense.values(),
                        x.memory(),
                        shift,
                        y.memory(),
                        rows,
                        columns,
                        dense.stride(),
                        rowsAWarp);
            }
            case DeviceWeights.Delta delta -> {
                int shared = (int) deltaShared(delta);
                // Two blocks on each multiprocessor where both find room, each with a KiB of the system's.
                int blocks = 2 * (shared + 1024) <= device.sharedBytes() + 1024 ? 2 : 1;
                product(
                        KernelFile.DELTA_GEMV,
                        "delta_gemv" + type,
                        true,
                        stream,
                        new Dim(Math.min(blocks * device.multiprocessors(), rows), tokens),
                        new Dim(WARP * evenWarps(rows, blocks, 20)),
                        shared,
                        delta.starts(),
                        delta.values(),
                        delta.deltas(),
                        x.memory(),
                        shift,
                        y.memory(),
                        rows,
                        columns);
            }
            case DeviceWeights.TwoFour pairs ->
                product(
                        KernelFile.TWO_FOUR_GEMV,
                        "two_four_gemv" + type,
                        true,
                        stream,
                        new Dim(Math.min(device.multiprocessors(), rows), tokens),
                        new Dim(WARP * evenWarps(rows, 1, 32)),
                        (int) twoFourShared(pairs),
                        pairs.values(),
                        pairs.places(),
                        x.memory(),
                        shift,
                        y.memory(),
                        rows,
                        columns);
        }
    }

    /// Launches a kernel that waits for the one before it by itself, if it shall and the device and the image can: its first weights
    /// are on their way while the other ends.
    private void product(
            KernelFile file,
            String entry,
            boolean early,
            CudaStream stream,
            Dim grid,
            Dim block,
            int sharedBytes,
            Object... arguments) {
        CudaKernel kernel = kernel(file, entry);
        if (early
                && EARLY_ARCHITECTURE.matcher(device.architecture()).matches()
                && origins.get(file) != KernelImages.Origin.PTX) {
            kernel.launchEarly(stream, grid, block, sharedBytes, arguments);
        } else {
            kernel.launch(stream, grid, block, sharedBytes, arguments);
        }
    }

    /// Rows that a warp of the dense kernel takes, 1 or 2: with how many the multiprocessors are busy to the end. One if equal.
    private int denseRowsAWarp(int rows) {
        return denseBusy(Math.ceilDiv(rows, DENSE_WARPS)) >= denseBusy(Math.ceilDiv(rows, 2 * DENSE_WARPS)) ? 1 : 2;
    }

    /// The share of a launch for which its blocks keep the multiprocessors busy, if all blocks take equally long.
    private double denseBusy(int blocks) {
        int atOnce = DENSE_BLOCKS * device.multiprocessors();
        double rounds = (double) blocks / (blocks <= atOnce ? device.multiprocessors() : atOnce);
        return rounds / Math.ceil(rounds);
    }

    /// Warps of a block, at most `most` and at least half of them: rows are dealt out whole, so that as many are best of which
    /// all have nearly equally many rows; of numbers that are equally good, the largest.
    private int evenWarps(int rows, int blocks, int most) {
        int best = most;
        double least = 0;
        for (int warps = most; warps >= most / 2; warps--) {
            double each = (double) rows / (blocks * device.multiprocessors() * warps);
            double busy = each / Math.ceil(each);
            if (busy > least + 0.02) {
                least = busy;
                best = warps;
            }
        }
        return best;
    }

    private static long deltaShared(DeviceWeights.Delta weights) {
        return 4L * (weights.columns() + DeltaLayout.UNIT);
    }

    private static long twoFourShared(DeviceWeights.TwoFour weights) {
        return 4L * Layouts.roundUp(weights.columns(), 512);
    }

    /// Rows `first` to `first + count` of `weights` as a dense tile `out` `[count, stride]` of the same type; columns from
    /// `weights.columns()` on are left as they are. `stride`, `out`'s columns, is a multiple of 8.
    public void expand(DeviceWeights.Delta weights, int first, int count, DeviceTensor out, CudaStream stream) {
        if (first < 0 || count < 0 || first > weights.rows() - count) {
            throw new IndexOutOfBoundsException("rows " + first + " to " + (first + count) + " of " + weights.rows());
        }
        boolean fits = out.dtype() == weights.dtype()
                && out.rows() >= count
                && out.columns() >= weights.columns()
                && out.columns() % 8 == 0;
        if (!fits) {
            throw new IllegalArgumentException(count + " rows of " + weights.columns() + " columns of "
                    + weights.dtype() + " do not fit into " + out);
        }
        long shared = 32 + 2L * Layouts.roundUp(weights.columns() + 8, 8);
        if (shared > device.sharedBytes()) {
            throw new IllegalArgumentException(
                    "rows of %d input features do not fit into shared memory".formatted(weights.columns()));
        }
        if (count > 0) {
            kernel(KernelFile.DELTA_EXPAND, "delta_expand")
                    .launch(
                            stream,
                            new Dim(count),
                            new Dim(8 * WARP),
                            (int) shared,
                            weights.starts(),
                            weights.values(),
                            weights.deltas(),
                            out.memory(),
                            first,
                            weights.columns(),
                            out.columns());
        }
    }

    /// y = norm(x) row by row; `weight` and `bias` F32 `[1, features]` or null; `y` may be `x`.
    public void norm(
            Norm norm, DeviceTensor x, DeviceTensor weight, DeviceTensor bias, DeviceTensor y, CudaStream stream) {
        requireFloats(x);
        requireSame(x, y);
        requireVector(weight, x);
        requireVector(bias, x);
        if (x.size() > 0) {
            kernel(KernelFile.NORM, norm.kind() == Norm.Kind.RMS ? "rms_norm" : "layer_norm")
                    .launch(
                            stream,
                            new Dim(x.rows()),
                            new Dim(rowThreads(x.columns(), 1024)),
                            0,
                            x.memory(),
                            memory(weight),
                            memory(bias),
                            y.memory(),
                            x.columns(),
                            norm.epsilon(),
                            norm.weightOffset());
        }
    }

    /// cosSin[t] = cosines, then sines, of positions[t] · frequencies: `frequencies` F32 `[1, half]`, `positions` int
    /// `[tokens]`, `cosSin` F32 `[tokens, 2 half]` overwritten.
    public void angles(DeviceTensor frequencies, DeviceMemory positions, DeviceTensor cosSin, CudaStream stream) {
        requireFloats(frequencies);
        requireFloats(cosSin);
        require(cosSin.columns() == 2 * frequencies.size(), frequencies, cosSin);
        requireInts(positions, cosSin.rows());
        if (cosSin.size() > 0) {
            kernel(KernelFile.ROTARY, "angles")
                    .launch(
                            stream,
                            new Dim(cosSin.rows()),
                            new Dim(rowThreads(cosSin.columns() / 2, 256)),
                            0,
                            frequencies.memory(),
                            positions,
                            cosSin.memory(),
                            cosSin.columns() / 2);
        }
    }

    /// Rotates each head of `x` `[tokens, heads * headDim]` in place; `cosSin` `[tokens, headDim]` as [#angles] makes it.
    public void rotate(DeviceTensor x, DeviceTensor cosSin, CudaStream stream) {
        requireFloats(x);
        requireFloats(cosSin);
        int dim = cosSin.columns();
        require(x.rows() == cosSin.rows() && dim > 0 && dim % 2 == 0 && x.columns() % dim == 0, x, cosSin);
        if (x.size() > 0) {
            kernel(KernelFile.ROTARY, "rotate")
                    .launch(
                            stream,
                            new Dim(x.rows()),
                            new Dim(rowThreads(x.columns() / 2, 256)),
                            0,
                            x.memory(),
                            cosSin.memory(),
                            x.columns() / dim,
                            dim / 2);
        }
    }

    /// Into how many parts an attention over `rows` cache rows is best cut, so that few tokens still use the whole device.
    public int attentionSplits(Attention shape, int tokens, int rows) {
        int wanted = Math.ceilDiv(16 * device.multiprocessors(), Math.max(1, shape.heads() * tokens));
        int most = Math.ceilDiv(Math.max(rows, 1), WARP);
        return Layouts.roundUp(Math.clamp(wanted, 1, most), 4);
    }

    /// Floats of scratch that [#attention] needs.
    public static long attentionScratch(Attention shape, int tokens, int splits) {
        return (long) tokens * shape.heads() * splits * (2 + shape.headDim());
    }

    /// Causal attention over a cache: token t of `q` `[tokens, heads * headDim]` sees rows 0 to positions[t] of `keys` and
    /// `values` `[rows, kvHeads * headDim]`, less what the window hides. `positions` int `[tokens]`, each below `rows`, which
    /// is not checked: they are on the device. `out` like `q`, overwritten.
    ///
    /// @param splits as [#attentionSplits] says; any number gives the same up to rounding
    /// @param scratch [#attentionScratch] floats
    public void attention(
            Attention shape,
            DeviceTensor q,
            DeviceTensor keys,
            DeviceTensor values,
            DeviceMemory positions,
            int splits,
            DeviceMemory scratch,
            DeviceTensor out,
            CudaStream stream) {
        requireFloats(q);
        requireFloats(keys);
        requireSame(q, out);
        requireSame(keys, values);
        int dim = shape.headDim();
        require(q.columns() == shape.heads() * dim && keys.columns() == shape.kvHeads() * dim, q, keys);
        boolean known = dim >= 1 && dim <= MAX_HEAD_DIM && shape.heads() % shape.kvHeads() == 0;
        if (!known || splits < 1 || splits > 4 * MAX_TOKENS) {
            throw new IllegalArgumentException("%s in %d splits; the kernel has heads of 1 to %d dimensions"
                    .formatted(shape, splits, MAX_HEAD_DIM));
        }
        require(q.rows() <= MAX_TOKENS, q, out);
        requireInts(positions, q.rows());
        long floats = attentionScratch(shape, q.rows(), splits);
        if (scratch.bytes() < 4 * floats) {
            throw new IllegalArgumentException("scratch for " + floats + " floats is needed, there is " + scratch);
        }
        if (q.size() == 0) {
            return;
        }
        kernel(KernelFile.ATTENTION, "attention_split")
                .launch(
                        stream,
                        new Dim(shape.heads(), Math.ceilDiv(splits, 4), q.rows()),
                        new Dim(4 * WARP),
                        0,
                        q.memory(),
                        keys.memory(),
                        values.memory(),
                        positions,
                        scratch,
                        shape.heads(),
                        shape.kvHeads(),
                        dim,
                        splits,
                        shape.scale(),
                        shape.softcap(),
                        shape.window());
        kernel(KernelFile.ATTENTION, "attention_merge")
                .launch(
                        stream,
                        new Dim(shape.heads(), 1, q.rows()),
                        new Dim(rowThreads(dim, 256)),
                        0,
                        scratch,
                        out.memory(),
                        shape.heads(),
                        dim,
                        splits);
    }

    /// x = f(x), element by element, in place.
    public void activate(Activation f, DeviceTensor x, CudaStream stream) {
        requireFloats(x);
        elements(stream, "activate", x, x.memory(), x.size(), f.ordinal());
    }

    /// gate = f(gate) ⊙ up, in place; SILU makes it SwiGLU.
    public void gate(Activation f, DeviceTensor gate, DeviceTensor up, CudaStream stream) {
        requireFloats(gate);
        requireSame(gate, up);
        elements(stream, "gate", gate, gate.memory(), up.memory(), gate.size(), f.ordinal());
    }

    /// y += x.
    public void add(DeviceTensor x, DeviceTensor y, CudaStream stream) {
        requireFloats(x);
        requireSame(x, y);
        elements(stream, "add", x, x.memory(), y.memory(), x.size());
    }

    /// x = cap · tanh(x / cap), in place.
    public void softcap(float cap, DeviceTensor x, CudaStream stream) {
        requireFloats(x);
        elements(stream, "softcap", x, x.memory(), x.size(), cap);
    }

    private void elements(CudaStream stream, String entry, DeviceTensor shape, Object... arguments) {
        if (shape.size() > 0) {
            long blocks = Math.min(Math.ceilDiv(shape.size(), 256L), 32L * device.multiprocessors());
            kernel(KernelFile.ELEMENTWISE, entry).launch(stream, new Dim((int) blocks), new Dim(256), 0, arguments);
        }
    }

    /// y[t] = scale · table[rows[t]], or added to y[t]: `table` `[entries, features]` of F32, BF16 or F16, `rows` int
    /// `[y.rows()]`, each below `entries`, which is not checked: they are on the device.
    public void gather(
            DeviceTensor table, DeviceMemory rows, float scale, boolean accumulate, DeviceTensor y, CudaStream stream) {
        requireFloats(y);
        require(table.columns() == y.columns(), table, y);
        requireInts(rows, y.rows());
        String entry = switch (table.dtype()) {
            case F32 -> "gather_f32";
            case BF16 -> "gather_bf16";
            case F16 -> "gather_f16";
            case I8 -> throw new IllegalArgumentException("a table of floats is needed, not " + table);
        };
        if (y.size() > 0) {
            kernel(KernelFile.ROWS, entry)
                    .launch(
                            stream,
                            new Dim(y.rows()),
                            new Dim(rowThreads(y.columns(), 1024)),
                            0,
                            table.memory(),
                            rows,
                            y.memory(),
                            y.columns(),
                            scale,
                            accumulate ? 1 : 0);
        }
    }

    /// target[rows[t]] = source[t]: appends to a cache; `rows` int `[source.rows()]`, each below `target.rows()`, which is not
    /// checked: they are on the device.
    public void scatterRows(DeviceTensor source, DeviceTensor target, DeviceMemory rows, CudaStream stream) {
        requireFloats(source);
        requireFloats(target);
        require(source.columns() == target.columns(), source, target);
        requireInts(rows, source.rows());
        if (source.size() > 0) {
            kernel(KernelFile.ROWS, "scatter_rows")
                    .launch(
                            stream,
                            new Dim(source.rows()),
                            new Dim(rowThreads(source.columns(), 1024)),
                            0,
                            source.memory(),
                            target.memory(),
                            rows,
                            source.columns());
        }
    }

    /// Unloads what was loaded; no kernel of it may be running.
    @Override
    public void close() {
        kernels.clear();
        modules.values().forEach(CudaModule::close);
        modules.clear();
    }

    /// Threads of a block that walks over a row: whole warps, no more than there is work for.
    private static int rowThreads(int columns, int most) {
        return Math.clamp(Layouts.roundUp(columns, WARP), WARP, most);
    }

    private static DeviceMemory memory(DeviceTensor tensor) {
        return tensor == null ? null : tensor.memory();
    }

    private static void requireFloats(DeviceTensor tensor) {
        if (tensor.dtype() != DType.F32) {
            throw new IllegalArgumentException("F32 is needed, not " + tensor);
        }
    }

    private static void requireSame(DeviceTensor a, DeviceTensor b) {
        require(a.dtype() == b.dtype() && a.rows() == b.rows() && a.columns() == b.columns(), a, b);
    }

    private static void requireVector(DeviceTensor vector, DeviceTensor x) {
        if (vector != null) {
            requireFloats(vector);
            require(vector.size() == x.columns(), vector, x);
        }
    }

    private static void requireInts(DeviceMemory memory, int count) {
        if (memory.bytes() < 4L * count) {
            throw new IllegalArgumentException(count + " ints are needed, there is " + memory);
        }
    }

    private static void require(boolean fits, DeviceTensor a, DeviceTensor b) {
        if (!fits) {
            throw new IllegalArgumentException(a + " does not fit " + b);
        }
    }
}
