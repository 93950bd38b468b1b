package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import dev.espalier.natives.NativeLibrary;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Whether a usable GPU is there and, if not, why not, in one sentence.
///
/// The first usable device is the one that everything here computes on; `CUDA_VISIBLE_DEVICES` chooses it.
public final class Cuda {
    /// A GPU.
    ///
    /// @param index its number among those that CUDA shows
    /// @param name what its maker calls it
    /// @param major first part of the compute capability
    /// @param minor second part of the compute capability
    /// @param multiprocessors how many it has
    /// @param memoryBytes its memory
    public record Device(int index, String name, int major, int minor, int multiprocessors, long memoryBytes) {
        /// What NVRTC calls its architecture, as in `sm_90`.
        public String architecture() {
            return "sm_" + major + minor;
        }

        /// As in `9.0`.
        public String computeCapability() {
            return major + "." + minor;
        }

        boolean usable() {
            return major >= OLDEST_MAJOR;
        }
    }

    /// From 8.0 on there is arithmetic in BF16 and the 2:4 pattern in hardware.
    private static final int OLDEST_MAJOR = 8;

    /// What `cudaDriverGetVersion` says of the first driver that runs CUDA 13.
    private static final int OLDEST_DRIVER = 13000;

    /// More than the struct takes in any CUDA 13 (1008 bytes), and where these two fields are in it.
    private static final long PROPERTIES_BYTES = 16384;

    private static final long PROPERTIES_NAME = 0;
    private static final long PROPERTIES_TOTAL_MEMORY = 288;

    /// Where the driver says what it is: "NVRM version: NVIDIA UNIX … Kernel Module  580.95.05  …" in its first line.
    private static final Path DRIVER_FILE = Path.of("/proc/driver/nvidia/version");

    private static final Pattern RELEASE = Pattern.compile("\\b\\d{3}\\.\\d+(\\.\\d+)?\\b");

    private static Cuda probed;

    private final List<Device> devices;
    private final int driver;
    private final String whyNot;

    private Cuda(List<Device> devices, int driver, String whyNot) {
        this.devices = List.copyOf(devices);
        this.driver = driver;
        this.whyNot = whyNot;
    }

    /// Looks once; later calls give the same answer. Never throws.
    public static synchronized Cuda probe() {
        if (probed == null) {
            probed = look();
        }
        return probed;
    }

    /// Looks, whatever was found before.
    static Cuda look() {
        NativeLibrary runtime = CudaLibrary.CUDART.library();
        if (!runtime.found()) {
            return none("CUDA's runtime library (libcudart.so.13) was not found: "
                    + runtime.whyNot().orElse("no reason is known"));
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment number = arena.allocate(ValueLayout.JAVA_INT);
            Runtime.check("cudaDriverGetVersion", cudaDriverGetVersion(number));
            int driver = number.get(ValueLayout.JAVA_INT, 0);
            if (driver == 0) {
                return none("no NVIDIA driver is loaded (libcuda.so.1 was not found or does not work); "
                        + "CUDA 13 needs one of release 580 or newer");
            }
            if (driver < OLDEST_DRIVER) {
                return none("the NVIDIA driver supports CUDA " + cudaVersion(driver)
                        + " at most; CUDA 13 needs a driver of release 580 or newer");
            }
            int status = cudaGetDeviceCount(number);
            if (status != cudaErrorNoDevice()) {
                Runtime.check("cudaGetDeviceCount", status);
            }
            int count = status == cudaErrorNoDevice() ? 0 : number.get(ValueLayout.JAVA_INT, 0);
            return of(devices(arena, count), driver);
        } catch (CudaException e) {
            return none("CUDA does not start: " + e.getMessage());
        }
    }

    private static String cudaVersion(int number) {
        return number / 1000 + "." + number % 1000 / 10;
    }

    private static Cuda of(List<Device> devices, int driver) {
        if (devices.isEmpty()) {
            return none("the NVIDIA driver shows no GPU; see nvidia-smi, and CUDA_VISIBLE_DEVICES if it is set");
        }
        // Memory, streams and kernels are those of device 0, where a thread of CUDA starts.
        Device first = devices.getFirst();
        return new Cuda(
                devices,
                driver,
                first.usable()
                        ? null
                        : "GPU 0, " + first.name + ", has compute capability " + first.computeCapability()
                                + "; 8.0 or newer is needed (CUDA_VISIBLE_DEVICES chooses another GPU)");
    }

    private static List<Device> devices(Arena arena, int count) {
        List<Device> devices = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            MemorySegment properties = arena.allocate(PROPERTIES_BYTES, 16);
            Runtime.check("cudaGetDeviceProperties", cudaGetDeviceProperties(properties, i), "device " + i);
            devices.add(new Device(
                    i,
                    properties.getString(PROPERTIES_NAME),
                    attribute(arena, cudaDevAttrComputeCapabilityMajor(), i),
                    attribute(arena, cudaDevAttrComputeCapabilityMinor(), i),
                    attribute(arena, cudaDevAttrMultiProcessorCount(), i),
                    properties.get(ValueLayout.JAVA_LONG, PROPERTIES_TOTAL_MEMORY)));
        }
        return devices;
    }

    private static int attribute(Arena arena, int attribute, int device) {
        MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
        Runtime.check("cudaDeviceGetAttribute", cudaDeviceGetAttribute(value, attribute, device), "device " + device);
        return value.get(ValueLayout.JAVA_INT, 0);
    }

    private static Cuda none(String whyNot) {
        return new Cuda(List.of(), 0, whyNot);
    }

    /// Whether there is a GPU that this can compute on.
    public boolean usable() {
        return whyNot == null;
    }

    /// Why there is none, in one sentence without a full stop; empty if there is one.
    public Optional<String> whyNot() {
        return Optional.ofNullable(whyNot);
    }

    /// The driver, as in `580.95.05, CUDA 13.0`: its release, where the system tells it, and the newest CUDA that it runs.
    ///
    /// @throws IllegalStateException if no GPU is usable
    public String driver() {
        device();
        String cuda = "CUDA " + cudaVersion(driver);
        try {
            return release(Files.readString(DRIVER_FILE))
                    .map(release -> release + ", " + cuda)
                    .orElse(cuda);
        } catch (IOException e) {
            return cuda; // A container may hide the file.
        }
    }

    /// The release in the driver's own description of itself.
    static Optional<String> release(String description) {
        Matcher matcher = RELEASE.matcher(description.lines().findFirst().orElse(""));
        return matcher.find() ? Optional.of(matcher.group()) : Optional.empty();
    }

    /// The GPUs that are there, usable or not.
    public List<Device> devices() {
        return devices;
    }

    /// The GPU that everything computes on.
    ///
    /// @throws IllegalStateException if there is none that is usable
    public Device device() {
        if (!usable()) {
            throw new IllegalStateException(whyNot);
        }
        return devices.getFirst();
    }

    /// Shared memory that one block may have on the GPU that everything computes on, in bytes, once its kernel is allowed
    /// more than the usual 48 KiB.
    public int sharedBytesPerBlock() {
        try (Arena arena = Arena.ofConfined()) {
            return attribute(arena, cudaDevAttrMaxSharedMemoryPerBlockOptin(), device().index);
        }
    }

    /// What of the device's memory is free, in bytes.
    public long freeBytes() {
        Device device = device();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(Runtime.SIZE);
            MemorySegment total = arena.allocate(Runtime.SIZE);
            Runtime.check("cudaMemGetInfo", cudaMemGetInfo(free, total), "device " + device.index);
            return free.get(Runtime.SIZE, 0);
        }
    }
}
