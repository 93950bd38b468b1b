package dev.espalier.generate;

import dev.espalier.model.Model;
import dev.espalier.model.Workspace;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Brings logits to the host, a few positions at a time, so that many positions need no memory of their own.
final class LogitReader implements AutoCloseable {
    /// What is done with the logits of position `row`; the array is reused.
    @FunctionalInterface
    interface Consumer {
        void accept(int row, float[] logits);
    }

    private static final int ROWS = 32;

    private final Model model;
    private final Arena arena = Arena.ofShared();
    private final Tensor host;
    private final Tensor device;
    private final float[] logits;

    LogitReader(Model model, int positions) {
        this.model = model;
        int rows = Math.min(ROWS, positions);
        this.host = Tensor.allocate(arena, DType.F32, rows, model.spec().vocabulary());
        this.device = model.backend().zeros(DType.F32, rows, model.spec().vocabulary());
        this.logits = new float[model.spec().vocabulary()];
    }

    /// Gives the logits of rows `from` (inclusive) to `to` (exclusive) of `hidden` `[tokens, hidden]`, what the last
    /// block left, one after another.
    void read(Tensor hidden, int from, int to, Workspace workspace, Consumer consumer) {
        for (int row = from; row < to; row += host.rows()) {
            int rows = Math.min(host.rows(), to - row);
            Tensor part = device.slice(0, rows);
            model.logits(hidden.slice(row, row + rows), part, workspace);
            model.backend().download(part, host.slice(0, rows));
            for (int i = 0; i < rows; i++) {
                copy(host, i, logits);
                consumer.accept(row + i, logits);
            }
        }
    }

    /// Copies row `row` of the host tensor `from` into `to`.
    static void copy(Tensor from, int row, float[] to) {
        MemorySegment.copy(
                from.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * row * from.columns(), to, 0, from.columns());
    }

    @Override
    public void close() {
        model.backend().free(device);
        arena.close();
    }
}
