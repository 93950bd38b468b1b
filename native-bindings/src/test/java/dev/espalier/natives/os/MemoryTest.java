package dev.espalier.natives.os;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MemoryTest {
    private static final long MIB = 1 << 20;

    @TempDir
    Path root;

    @Test
    void smallAndLargeBlocksAreZeroedAlignedAndReleasedWithTheirArena() {
        for (long bytes : new long[] {1, 100, MIB - 1, MIB, 5 * MIB + 7}) {
            MemorySegment block;
            try (Arena arena = Arena.ofConfined()) {
                block = Memory.allocate(bytes, arena);
                assertEquals(bytes, block.byteSize());
                assertEquals(0, block.address() % 64);
                for (long i = 0; i < bytes; i += 1021) {
                    assertEquals(0, block.get(ValueLayout.JAVA_BYTE, i));
                }
                block.set(ValueLayout.JAVA_BYTE, bytes - 1, (byte) 1);
                assertThrows(IndexOutOfBoundsException.class, () -> block.get(ValueLayout.JAVA_BYTE, bytes));
            }
            assertThrows(IllegalStateException.class, () -> block.get(ValueLayout.JAVA_BYTE, 0));
        }
    }

    @Test
    void aLargeBlockAsksForHugePages() throws IOException {
        Path smaps = Path.of("/proc/self/smaps");
        assumeTrue(Files.isReadable(smaps), "platform: no /proc/self/smaps");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment block = Memory.allocate(64 * MIB, arena);
            assertEquals(0, block.address() % Memory.hugePageSize());
            String flags = "";
            boolean inside = false;
            for (String line : Files.readAllLines(smaps)) {
                if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) {
                    long from = Long.parseUnsignedLong(line.substring(0, line.indexOf('-')), 16);
                    long to = Long.parseUnsignedLong(line.substring(line.indexOf('-') + 1, line.indexOf(' ')), 16);
                    inside = from <= block.address() && block.address() < to;
                } else if (inside && line.startsWith("VmFlags:")) {
                    flags = line;
                }
            }
            assumeTrue(!flags.isEmpty(), "platform: the kernel does not list the flags of a mapping");
            assertTrue(flags.contains(" hg"), flags);
        }
    }

    @Test
    void blocksLargerThanTheJvmsDirectMemoryLimitAreMappedAndAdvisable() {
        assertTrue(Memory.pageSize() >= 4096);
        assumeTrue(System.getProperty("os.name").equals("Linux"), "platform: madvise is called on Linux only");
        try (Arena arena = Arena.ofConfined()) {
            // Untouched pages take no memory.
            MemorySegment block = Memory.allocate(6L << 30, arena);
            block.set(ValueLayout.JAVA_LONG, (6L << 30) - 8, 42);
            assertTrue(Memory.adviseHugePages(block));
            assertThrows(OutOfMemoryError.class, () -> Memory.allocate(1L << 50, arena));
        }
        assertFalse(Memory.adviseHugePages(MemorySegment.ofArray(new byte[10])));
    }

    @Test
    void memoryIsTheHostsWithoutALimit() throws IOException {
        meminfo(8000, 5000);
        assertEquals(OptionalLong.of(5000 * 1024), Memory.available(root));
        assertEquals(OptionalLong.of(8000 * 1024), Memory.limit(root));
        file("proc/self/cgroup", "0::/\n");
        file("sys/fs/cgroup/memory.max", "max\n");
        assertEquals(OptionalLong.of(5000 * 1024), Memory.available(root));
        assertEquals(OptionalLong.empty(), Memory.available(root.resolve("elsewhere")));
    }

    @Test
    void theTightestGroupOfVersionTwoRulesAndItsFileCacheIsFree() throws IOException {
        meminfo(8_000_000, 5_000_000);
        file("proc/self/cgroup", "0::/user/job\n");
        group("sys/fs/cgroup/user", "memory.max", "512000000", "memory.current", "400000000");
        file("sys/fs/cgroup/user/memory.stat", "anon 1\ninactive_file 300000000\n");
        group("sys/fs/cgroup/user/job", "memory.max", "max", "memory.current", "100000");
        file("sys/fs/cgroup/user/cpu.max", "150000 100000\n");
        file("sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
        assertEquals(OptionalLong.of(412_000_000), Memory.available(root));
        assertEquals(OptionalLong.of(512_000_000), Memory.limit(root));
        assertEquals(OptionalDouble.of(1.5), new Cgroup(root).cpus());
    }

    @Test
    void versionOneIsReadToo() throws IOException {
        meminfo(8_000_000, 5_000_000);
        file("proc/self/cgroup", "4:memory:/box\n2:cpu,cpuacct:/box\n0::/\n");
        group("sys/fs/cgroup/memory/box", "memory.limit_in_bytes", "1000", "memory.usage_in_bytes", "900");
        file("sys/fs/cgroup/memory/box/memory.stat", "cache 5\ntotal_inactive_file 100\n");
        group("sys/fs/cgroup/memory", "memory.limit_in_bytes", "9223372036854771712", "memory.usage_in_bytes", "5");
        group("sys/fs/cgroup/cpu,cpuacct/box", "cpu.cfs_quota_us", "50000", "cpu.cfs_period_us", "100000");
        assertEquals(OptionalLong.of(200), Memory.available(root));
        assertEquals(OptionalDouble.of(0.5), new Cgroup(root).cpus());
    }

    @Test
    void aGroupNamedFromOutsideTheContainerMeansTheMountItself() throws IOException {
        meminfo(8_000_000, 5_000_000);
        file("proc/self/cgroup", "0::/../../docker/abc\n");
        group("sys/fs/cgroup", "memory.max", "7000", "memory.current", "6000");
        assertEquals(OptionalLong.of(1000), Memory.available(root));
    }

    @Test
    void unreadableNumbersAreNoLimit() throws IOException {
        meminfo(8000, 5000);
        file("proc/self/cgroup", "0::/\nnonsense\n");
        group("sys/fs/cgroup", "memory.max", "lots", "cpu.max", "? ?");
        assertEquals(OptionalLong.of(5000 * 1024), Memory.available(root));
        assertEquals(OptionalDouble.empty(), new Cgroup(root).cpus());
    }

    @Test
    void threadsFollowTheQuotaNotTheHost() {
        assertEquals(2, Cpu.allowed(64, OptionalDouble.of(1.5)));
        assertEquals(1, Cpu.allowed(64, OptionalDouble.of(0.2)));
        assertEquals(64, Cpu.allowed(64, OptionalDouble.empty()));
        assertEquals(1, Cpu.allowed(1, OptionalDouble.of(8)));
        assertTrue(Cpu.allowed() >= 1 && Cpu.allowed() <= Runtime.getRuntime().availableProcessors());
        assertFalse(Cpu.name().isBlank());
    }

    private void meminfo(long totalKb, long availableKb) throws IOException {
        file("proc/meminfo", "MemTotal: " + totalKb + " kB\nMemFree: 1 kB\nMemAvailable:   " + availableKb + " kB\n");
    }

    private void group(String folder, String... namesAndValues) throws IOException {
        for (int i = 0; i < namesAndValues.length; i += 2) {
            file(folder + "/" + namesAndValues[i], namesAndValues[i + 1] + "\n");
        }
    }

    private void file(String path, String text) throws IOException {
        Path file = root.resolve(path);
        Files.createDirectories(file.getParent());
        Files.writeString(file, text);
    }

    @Test
    void pagesOfAFileThatAreGivenUpComeBackWithTheirBytesAndOtherMemoryIsLeftAlone() throws IOException {
        Path file = root.resolve("file");
        byte[] bytes = new byte[3 * (int) MIB + 5];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (i * 31);
        }
        Files.write(file, bytes);
        try (Arena arena = Arena.ofConfined();
                FileChannel channel = FileChannel.open(file)) {
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes.length, arena);
            assertArrayEquals(bytes, mapped.toArray(ValueLayout.JAVA_BYTE));
            Memory.giveUp(mapped.asSlice(7, MIB));
            Memory.giveUp(mapped.asSlice(5, 100));
            Memory.giveUp(mapped);
            assertArrayEquals(bytes, mapped.toArray(ValueLayout.JAVA_BYTE));
            MemorySegment own = Memory.allocate(2 * MIB, arena);
            own.fill((byte) 1);
            Memory.giveUp(own);
            Memory.giveUp(own.asReadOnly());
            Memory.giveUp(MemorySegment.ofArray(bytes));
            assertEquals(1, own.get(ValueLayout.JAVA_BYTE, MIB));
        }
    }
}
