package dev.espalier.tools.gpu;

import dev.espalier.kernels.cuda.DeviceWeights;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.cuda.DeviceMemory;
import java.util.ArrayList;
import java.util.List;

/// A packed matrix several times over, so that no cache holds what a turn reads.
final class WeightCopies implements AutoCloseable {
    private final List<DeviceWeights> copies = new ArrayList<>();
    private final CudaStream stream;

    /// Takes over `first` and makes copies of it.
    WeightCopies(DeviceWeights first, CudaStream stream) {
        this.stream = stream;
        copies.add(first);
        try {
            for (int i = Race.copies(first.bytes()); i > 1; i--) {
                copies.add(copy(first));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    private DeviceWeights copy(DeviceWeights of) {
        return switch (of) {
            case DeviceWeights.Dense w ->
                new DeviceWeights.Dense(w.dtype(), w.rows(), w.columns(), w.stride(), copy(w.values()));
            case DeviceWeights.Bitmask w ->
                new DeviceWeights.Bitmask(
                        w.dtype(),
                        w.rows(),
                        w.columns(),
                        w.slot(),
                        copy(w.masks()),
                        copy(w.offsets()),
                        copy(w.values()));
            case DeviceWeights.TwoFour w ->
                new DeviceWeights.TwoFour(w.dtype(), w.rows(), w.columns(), copy(w.values()), copy(w.places()));
        };
    }

    private DeviceMemory copy(DeviceMemory of) {
        DeviceMemory memory = DeviceMemory.allocate(of.bytes(), of.what());
        memory.copyFrom(of, stream);
        return memory;
    }

    int count() {
        return copies.size();
    }

    DeviceWeights get(int i) {
        return copies.get(i % copies.size());
    }

    long bytes() {
        return copies.getFirst().bytes();
    }

    @Override
    public void close() {
        stream.synchronize();
        copies.forEach(DeviceWeights::close);
    }
}
