package dev.espalier.tools.gpu;

import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.cuda.CudaKernels;
import dev.espalier.kernels.cuda.KernelImages;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaEvent;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.cuda.DeviceMemory;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

/// A GPU made ready to be checked: our kernels, a stream, a clock, and the CPU to compare with.
final class GpuRig implements AutoCloseable {
    private static final int COPIES = 20;

    final GpuCheck check;
    final Workload workload;
    final CudaKernels kernels;
    final CudaStream stream;
    final CpuBackend cpu;
    private final CudaEvent start;
    private final CudaEvent end;
    private double copyBandwidth;

    /// @param cache where compiled kernels are kept
    GpuRig(GpuCheck check, Cuda cuda, Path cache) {
        this.check = check;
        this.workload = check.workload(cuda.device());
        this.kernels = new CudaKernels(CudaKernels.Device.of(cuda), new KernelImages(cache));
        this.cpu = new CpuBackend(CpuBackend.defaultThreads());
        this.stream = CudaStream.create();
        this.start = CudaEvent.create();
        this.end = CudaEvent.create();
    }

    /// Why a library cannot be used, as a clause; empty if it can.
    Optional<String> absent(CudaLibrary library) {
        return check.whyNot(library).map(why -> library.baseName() + " is absent: " + why);
    }

    /// Seconds that `work`, put into the stream, takes on the device's clock.
    double seconds(Runnable work) {
        start.record(stream);
        work.run();
        end.record(stream);
        end.synchronize();
        return end.secondsSince(start);
    }

    /// Bytes read plus bytes written a second when memory is copied on the device: the best of several, measured once.
    double copyBandwidth() {
        if (copyBandwidth == 0) {
            int bytes = workload.copyBytes();
            try (DeviceMemory from = DeviceMemory.allocate(bytes, "the source of a copy");
                    DeviceMemory to = DeviceMemory.allocate(bytes, "the target of a copy")) {
                from.fill((byte) 1, stream);
                double best = Double.MAX_VALUE;
                for (int i = 0; i < COPIES; i++) {
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
