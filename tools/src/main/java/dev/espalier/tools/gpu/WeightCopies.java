package dev.espalier.tools.gpu;

import dev.espalier.kernels.cuda.DeviceWeights;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.cuda.DeviceMemory;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/// A packed matrix several times over, so that no cache holds what a turn reads.
final class WeightCopies implements AutoCloseable {
    private static final int MOST = 64;

    private final List<DeviceWeights> copies = new ArrayList<>();
    private final CudaStream stream;
    private final int launches;

    /// Takes over `first` and makes copies of it.
    WeightCopies(GpuRig rig, DeviceWeights first) {
        this.stream = rig.stream;
        copies.add(first);
        try {
            long enough = Math.ceilDiv(rig.workload.workingSet(), Math.max(first.bytes(), 1));
            for (int i = Math.clamp(enough, 1, MOST); i > 1; i--) {
                copies.add(copy(first));
            }
            launches = Math.max(rig.workload.launches(), copies.size());
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    private DeviceWeights copy(DeviceWeights of) {
        List<DeviceMemory> made = new ArrayList<>();
        UnaryOperator<DeviceMemory> copy = memory -> {
            made.add(DeviceMemory.allocate(memory.bytes(), memory.what()));
            made.getLast().copyFrom(memory, stream);
            return made.getLast();
        };
        try {
            return switch (of) {
                case DeviceWeights.Dense w ->
                    new DeviceWeights.Dense(w.dtype(), w.rows(), w.columns(), w.stride(), copy.apply(w.values()));
                case DeviceWeights.Delta w ->
                    new DeviceWeights.Delta(
                            w.dtype(),
                            w.rows(),
                            w.columns(),
                            copy.apply(w.starts()),
                            copy.apply(w.values()),
                            copy.apply(w.deltas()));
                case DeviceWeights.TwoFour w ->
                    new DeviceWeights.TwoFour(
                            w.dtype(), w.rows(), w.columns(), copy.apply(w.values()), copy.apply(w.places()));
            };
        } catch (RuntimeException e) {
            made.forEach(DeviceMemory::close);
            throw e;
        }
    }

    /// Launches of one turn, each on the next copy: all are read.
    int launches() {
        return launches;
    }

    /// The copy that the i-th launch reads.
    DeviceWeights get(int i) {
        return copies.get(i % copies.size());
    }

    /// Bytes of one copy.
    long bytes() {
        return copies.getFirst().bytes();
    }

    @Override
    public void close() {
        stream.synchronize();
        copies.forEach(DeviceWeights::close);
    }
}
