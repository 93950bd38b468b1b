package dev.espalier.natives.os;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PrefetchTest {
    @Test
    void askingChangesNothingAndAnyAddressMayBeAskedFor() {
        try (Arena arena = Arena.ofConfined()) {
            long bytes = 1 << 20;
            MemorySegment block = Memory.allocate(bytes, arena);
            for (long i = 0; i < bytes; i += Long.BYTES) {
                block.set(ValueLayout.JAVA_LONG, i, i * 31);
            }
            long from = block.address();
            for (int i = 0; i < 10_000; i++) {
                Prefetch.ask(from + i, from + 3L * i, from + bytes - i, from + bytes + i);
                Prefetch.ask(from + i, from);
                Prefetch.pages(from + i, from + 3L * i);
            }
            for (long outside : new long[] {0, 1, -1, Long.MAX_VALUE, Long.MIN_VALUE, from + bytes - 1}) {
                Prefetch.ask(outside, outside + 1000, outside - 1000, outside);
                Prefetch.pages(outside, outside + 10_000);
            }
            for (long i = 0; i < bytes; i += Long.BYTES) {
                assertEquals(i * 31, block.get(ValueLayout.JAVA_LONG, i));
            }
        }
    }

    /// So that a typing error here would not pass for a processor that cannot.
    @Test
    void itIsThereOnLinuxAndX86() {
        boolean expected = System.getProperty("os.name").equals("Linux")
                && System.getProperty("os.arch").equals("amd64");
        assertEquals(expected, Prefetch.available());
    }

    @ParameterizedTest
    @CsvSource({"-Despalier.prefetch=false, false", "-Dos.arch=aarch64, false", "-Dos.name=Windows 11, false"})
    void itCanBeLeftOut(String option, boolean available) throws Exception {
        String java = ProcessHandle.current().info().command().orElseThrow();
        String path = System.getProperty("jdk.module.path");
        String places = path == null
                ? System.getProperty("java.class.path")
                : path + File.pathSeparator + System.getProperty("java.class.path");
        Process process = new ProcessBuilder(List.of(
                        java, "--enable-native-access=ALL-UNNAMED", option, "-cp", places, Asks.class.getName()))
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), said);
        assertTrue(said.contains("available " + available), said);
    }

    /// Another process, which asks and says whether that has an effect.
    static final class Asks {
        private Asks() {}

        public static void main(String[] arguments) {
            Prefetch.ask(0, 4096);
            Prefetch.pages(0, 4096);
            System.out.println("available " + Prefetch.available());
        }
    }
}
