package dev.espalier.tools.gpu;

import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.cuda.CudaKernels;
import dev.espalier.kernels.cuda.KernelImages;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaEvent;
import dev.espalier.natives.cuda.CudaGraph;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.cuda.DeviceMemory;
import java.nio.file.Path;
import java.util.Arrays;

/// A GPU made ready to be checked: our kernels, a stream, a clock, and the CPU to compare with.
final class GpuRig implements AutoCloseable {
    final Cuda cuda;
    final CudaKernels kernels;
    final CudaStream stream = CudaStream.create();
    final CpuBackend cpu;
    private final CudaEvent start = CudaEvent.create();
    private final CudaEvent end = CudaEvent.create();
    private double copyBandwidth;

    GpuRig(Cuda cuda, Path cache) {
        this.cuda = cuda;
        this.kernels = new CudaKernels(CudaKernels.Device.of(cuda), new KernelImages(cache));
        this.cpu = new CpuBackend(CpuBackend.defaultThreads());
    }

    /// Whether the device computes the shapes of real models in no time.
    boolean large() {
        return cuda.device().multiprocessors() >= 16;
    }

    /// Seconds that `work`, put into the stream, takes on the device's clock.
    double seconds(Runnable work) {
        start.record(stream);
        work.run();
        end.record(stream);
        end.synchronize();
        return end.secondsSince(start);
    }

    /// What `work` puts into the stream `times` times over, as one graph: the host's own time for a launch is longer than a
    /// kernel's.
    CudaGraph repeated(int times, java.util.function.IntConsumer work) {
        return CudaGraph.capture(stream, () -> {
            for (int i = 0; i < times; i++) {
                work.accept(i);
            }
        });
    }

    /// Bytes read plus bytes written a second when memory is copied on the device: the best of several, measured once.
    double copyBandwidth() {
        if (copyBandwidth == 0) {
            int bytes = large() ? 1 << 29 : 1 << 24;
            try (DeviceMemory from = DeviceMemory.allocate(bytes, "the source of a copy");
                    DeviceMemory to = DeviceMemory.allocate(bytes, "the target of a copy")) {
                from.fill((byte) 1, stream);
                double best = Double.MAX_VALUE;
                for (int i = 0; i < 20; i++) {
                    best = Math.min(best, seconds(() -> to.copyFrom(from, stream)));
                }
                copyBandwidth = 2.0 * bytes / best;
            }
        }
        return copyBandwidth;
    }

    static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }

    @Override
    public void close() {
        end.close();
        start.close();
        kernels.close();
        stream.close();
        cpu.close();
    }
}
