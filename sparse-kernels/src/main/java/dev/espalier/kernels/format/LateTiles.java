package dev.espalier.kernels.format;

import dev.espalier.kernels.DeferredLinear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/// A dense matrix that is read row by row where the checkpoint holds it ([DenseRows]) and, once packed, in tiles
/// ([DenseTiles]).
final class LateTiles implements CpuLinear, DeferredLinear {
    private final Tensor weights;
    private final long bytes;
    private volatile CpuLinear current;
    private boolean closed;

    /// @throws IllegalArgumentException if rows and tiles would give different sums
    LateTiles(Tensor weights) {
        if (!DenseRows.sumsAsTiles(weights)) {
            throw new IllegalArgumentException("rows of " + weights + " fill no whole vectors");
        }
        this.weights = weights;
        this.bytes = DenseTiles.bytes(weights.dtype(), weights.rows(), weights.columns());
        this.current = new DenseRows(weights);
    }

    @Override
    public synchronized boolean pack() {
        if (!closed && current instanceof DenseRows) {
            current = new DenseTiles(weights);
        }
        return !closed;
    }

    @Override
    public int rows() {
        return weights.rows();
    }

    @Override
    public int columns() {
        return weights.columns();
    }

    @Override
    public DType dtype() {
        return weights.dtype();
    }

    @Override
    public WeightFormat format() {
        return Dense.deferred();
    }

    /// Of the tiles, packed or not.
    @Override
    public long bytes() {
        return bytes;
    }

    @Override
    public long nonZeros() {
        return current.nonZeros();
    }

    @Override
    public void unpack(Tensor target) {
        current.unpack(target);
    }

    @Override
    public Input input() {
        return current.input();
    }

    /// Of the tiles: their ranges suit rows too.
    @Override
    public int grain() {
        return DenseTiles.tileRows(weights.dtype());
    }

    @Override
    public int fewTokens() {
        return DenseTiles.FEW_TOKENS;
    }

    @Override
    public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
        current.multiply(x, y, from, to);
    }

    @Override
    public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
        current.expand(rowFrom, rowTo, colFrom, colTo, panel, stride);
    }

    @Override
    public synchronized void close() {
        closed = true;
        current.close();
    }
}
