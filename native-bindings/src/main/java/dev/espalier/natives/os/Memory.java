package dev.espalier.natives.os;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;

/// The host's memory: large blocks on huge pages, page size, and how much this process may still take.
///
/// Weights that are streamed once per token read 1.4 to 1.5 times faster from huge pages than from ordinary ones. On Linux
/// the calls below ask for them; elsewhere, and where the system refuses, they fall back to what the JDK offers.
public final class Memory {
    /// Below this size a block is not worth pages of its own.
    private static final long LARGE = 1 << 20;

    private static final int PROT_READ_WRITE = 1 | 2;
    private static final int MAP_PRIVATE_ANONYMOUS = 2 | 0x20;
    private static final int MADV_DONTNEED = 4;
    private static final int MADV_HUGEPAGE = 14;
    private static final long ALIGNMENT = 64;

    private Memory() {}

    /// Zeroed memory of `bytes` bytes, aligned to 64 bytes at least, released with `arena`. From a mebibyte on it is mapped
    /// directly, on huge pages if the system has some, and does not count against `-XX:MaxDirectMemorySize`.
    ///
    /// @throws OutOfMemoryError if the system has no such block
    public static MemorySegment allocate(long bytes, Arena arena) {
        if (bytes < LARGE || Calls.LINUX.isEmpty()) {
            return arena.allocate(bytes, ALIGNMENT);
        }
        Calls calls = Calls.LINUX.get();
        long huge = hugePageSize();
        // A huge page starts at a multiple of its size; the margin is address space, not memory.
        long length = Math.addExact(roundUp(bytes, huge), huge);
        MemorySegment base = calls.map(length);
        if (base.address() == -1L) {
            throw new OutOfMemoryError("the system has no block of " + bytes + " bytes");
        }
        long skip = roundUp(base.address(), huge) - base.address();
        MemorySegment whole = base.reinterpret(length, arena, calls::unmap);
        MemorySegment block = whole.asSlice(skip, bytes, ALIGNMENT);
        calls.adviseHuge(whole.asSlice(skip, roundUp(bytes, huge)));
        return block;
    }

    /// Asks for huge pages under `segment`; tells whether the system accepted. Only whole huge pages inside it change, and
    /// memory mapped from a file usually does not.
    public static boolean adviseHugePages(MemorySegment segment) {
        if (Calls.LINUX.isEmpty() || !segment.isNative()) {
            return false;
        }
        long page = pageSize();
        long skip = roundUp(segment.address(), page) - segment.address();
        long length = (segment.byteSize() - skip) / page * page;
        return length > 0 && Calls.LINUX.get().adviseHuge(segment.asSlice(skip, length));
    }

    /// Gives the pages of `segment`, which is mapped from a file and only read, back to the system until they are read
    /// again; they stay in its file cache, but no longer count as this process' memory. Does nothing for other memory.
    public static void giveUp(MemorySegment segment) {
        if (!segment.isMapped() || !segment.isReadOnly() || Calls.LINUX.isEmpty()) {
            return;
        }
        // Whole pages only: the neighbours may be in use.
        long page = pageSize();
        long skip = roundUp(segment.address(), page) - segment.address();
        long length = (segment.byteSize() - skip) / page * page;
        if (length > 0) {
            Calls.LINUX.get().advise(segment.asSlice(skip, length), MADV_DONTNEED);
        }
    }

    /// Bytes of an ordinary page.
    public static long pageSize() {
        return Calls.LINUX.map(Calls::pageSize).orElse(4096L);
    }

    /// Bytes of a transparent huge page; 2 MiB where the system does not tell.
    public static long hugePageSize() {
        try {
            return Long.parseLong(Files.readString(Path.of("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"))
                    .strip());
        } catch (IOException | NumberFormatException e) {
            return 2 << 20;
        }
    }

    /// Bytes that this process can still take without swapping or being killed: the host's available memory or what its
    /// container leaves, whichever is less; empty where the system does not tell.
    public static OptionalLong available() {
        return available(Cgroup.systemRoot());
    }

    /// Bytes that this process and its container may hold in all: the container's limit or the host's memory, whichever
    /// is less; empty where the system does not tell.
    public static OptionalLong limit() {
        return limit(Cgroup.systemRoot());
    }

    static OptionalLong available(Path root) {
        return smaller(meminfo(root, "MemAvailable:"), new Cgroup(root).memory().map(Cgroup.MemoryLimit::free));
    }

    static OptionalLong limit(Path root) {
        return smaller(meminfo(root, "MemTotal:"), new Cgroup(root).memory().map(Cgroup.MemoryLimit::limit));
    }

    private static OptionalLong smaller(OptionalLong host, Optional<Long> container) {
        if (container.isEmpty()) {
            return host;
        }
        return OptionalLong.of(Math.min(host.orElse(Long.MAX_VALUE), container.get()));
    }

    private static OptionalLong meminfo(Path root, String key) {
        try {
            for (String line : Files.readAllLines(root.resolve("proc/meminfo"))) {
                if (line.startsWith(key)) {
                    String kibibytes =
                            line.substring(key.length()).replace("kB", "").strip();
                    return OptionalLong.of(Long.parseLong(kibibytes) * 1024);
                }
            }
        } catch (IOException | NumberFormatException e) {
            return OptionalLong.empty();
        }
        return OptionalLong.empty();
    }

    private static long roundUp(long value, long multiple) {
        return Math.ceilDiv(value, multiple) * multiple;
    }

    /// The C library's calls, on 64-bit Linux only: elsewhere the constants have other values.
    private record Calls(MethodHandle mmap, MethodHandle munmap, MethodHandle madvise, long pageSize) {
        static final Optional<Calls> LINUX = link();

        private static Optional<Calls> link() {
            if (!System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("linux")
                    || ValueLayout.ADDRESS.byteSize() != 8) {
                return Optional.empty();
            }
            try {
                Linker linker = Linker.nativeLinker();
                SymbolLookup c = linker.defaultLookup();
                MethodHandle pageSize = linker.downcallHandle(
                        c.findOrThrow("getpagesize"), FunctionDescriptor.of(ValueLayout.JAVA_INT));
                return Optional.of(new Calls(
                        linker.downcallHandle(
                                c.findOrThrow("mmap"),
                                FunctionDescriptor.of(
                                        ValueLayout.ADDRESS,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.JAVA_LONG,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_LONG)),
                        linker.downcallHandle(
                                c.findOrThrow("munmap"),
                                FunctionDescriptor.of(
                                        ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG)),
                        linker.downcallHandle(
                                c.findOrThrow("madvise"),
                                FunctionDescriptor.of(
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.JAVA_LONG,
                                        ValueLayout.JAVA_INT)),
                        (int) pageSize.invokeExact()));
            } catch (Throwable e) {
                // A C library without these, or native access denied: the JDK's own memory serves.
                return Optional.empty();
            }
        }

        MemorySegment map(long bytes) {
            try {
                return (MemorySegment)
                        mmap.invokeExact(MemorySegment.NULL, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0L);
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }

        void unmap(MemorySegment segment) {
            try {
                int ignored = (int) munmap.invokeExact(segment, segment.byteSize());
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }

        boolean adviseHuge(MemorySegment segment) {
            return advise(segment, MADV_HUGEPAGE);
        }

        boolean advise(MemorySegment segment, int advice) {
            try {
                return (int) madvise.invokeExact(segment, segment.byteSize(), advice) == 0;
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }
    }
}
