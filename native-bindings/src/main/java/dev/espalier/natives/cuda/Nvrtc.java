package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.nvrtc.Nvrtc.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// CUDA's compiler at run time. It needs neither a GPU nor a driver.
public final class Nvrtc {
    /// A compiled source.
    ///
    /// @param image a cubin for `sm_…`, PTX for `compute_…` (without the zero at its end)
    /// @param log what the compiler said, warnings for example; empty if nothing
    @SuppressWarnings("ArrayRecordComponent")
    public record Image(byte[] image, String log) {}

    private static final int OK = NVRTC_SUCCESS();

    private Nvrtc() {}

    /// Compiles one source without headers.
    ///
    /// @param name the source's name in messages
    /// @param source CUDA C++; its kernels are declared `extern "C" __global__`
    /// @param architecture `sm_90` for a cubin of that architecture alone, `compute_80` for PTX
    /// @param options the compiler's options, as in `--std=c++17`
    /// @throws CudaException if the library is not there, or the source does not compile: with the compiler's log
    public static Image compile(String name, String source, String architecture, List<String> options) {
        CudaLibrary.NVRTC.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            check(
                    "nvrtcCreateProgram",
                    nvrtcCreateProgram(
                            slot,
                            arena.allocateFrom(source),
                            arena.allocateFrom(name),
                            0,
                            MemorySegment.NULL,
                            MemorySegment.NULL),
                    name);
            MemorySegment program = Runtime.handle(slot);
            try {
                return compile(arena, program, name, architecture, options);
            } finally {
                check("nvrtcDestroyProgram", nvrtcDestroyProgram(slot), name);
            }
        }
    }

    private static Image compile(
            Arena arena, MemorySegment program, String name, String architecture, List<String> options) {
        List<String> all = new ArrayList<>(options);
        all.add("--gpu-architecture=" + architecture);
        MemorySegment pointers = arena.allocate(ValueLayout.ADDRESS, all.size());
        for (int i = 0; i < all.size(); i++) {
            pointers.setAtIndex(ValueLayout.ADDRESS, i, arena.allocateFrom(all.get(i)));
        }
        int status = nvrtcCompileProgram(program, all.size(), pointers);
        String log = log(arena, program);
        check(
                "nvrtcCompileProgram",
                status,
                name + " for " + architecture + (log.isEmpty() ? "" : System.lineSeparator() + log));
        MemorySegment size = arena.allocate(Runtime.SIZE);
        boolean ptx = architecture.startsWith("compute_");
        check(
                ptx ? "nvrtcGetPTXSize" : "nvrtcGetCUBINSize",
                ptx ? nvrtcGetPTXSize(program, size) : nvrtcGetCUBINSize(program, size),
                name);
        MemorySegment image = arena.allocate(size.get(Runtime.SIZE, 0));
        check(
                ptx ? "nvrtcGetPTX" : "nvrtcGetCUBIN",
                ptx ? nvrtcGetPTX(program, image) : nvrtcGetCUBIN(program, image),
                name);
        byte[] bytes = image.toArray(ValueLayout.JAVA_BYTE);
        // The size of a PTX counts the zero at its end, which assemblers refuse in a file.
        return new Image(ptx ? Arrays.copyOf(bytes, bytes.length - 1) : bytes, log);
    }

    private static String log(Arena arena, MemorySegment program) {
        MemorySegment size = arena.allocate(Runtime.SIZE);
        if (nvrtcGetProgramLogSize(program, size) != OK || size.get(Runtime.SIZE, 0) <= 1) {
            return "";
        }
        MemorySegment log = arena.allocate(size.get(Runtime.SIZE, 0));
        return nvrtcGetProgramLog(program, log) == OK ? log.getString(0).strip() : "";
    }

    /// The architectures it compiles for, as in `sm_90`, oldest first.
    public static List<String> architectures() {
        CudaLibrary.NVRTC.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
            check("nvrtcGetNumSupportedArchs", nvrtcGetNumSupportedArchs(count), "");
            MemorySegment numbers = arena.allocate(ValueLayout.JAVA_INT, count.get(ValueLayout.JAVA_INT, 0));
            check("nvrtcGetSupportedArchs", nvrtcGetSupportedArchs(numbers), "");
            return Arrays.stream(numbers.toArray(ValueLayout.JAVA_INT))
                    .mapToObj(number -> "sm_" + number)
                    .toList();
        }
    }

    private static void check(String function, int status, String detail) {
        if (status != OK) {
            throw new CudaException(function, status, Runtime.text(nvrtcGetErrorString(status)), detail);
        }
    }
}
