package dev.espalier.kernels.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class StripsTest {
    private static final int GROUP = 32;

    @ParameterizedTest
    @CsvSource({
        "1, 1, 8",
        "16, 2048, 16",
        "127, 2049, 8",
        "128, 4096, 16",
        "129, 5000, 8",
        "515, 8192, 16",
        "300, 11008, 4",
        "7, 0, 8"
    })
    void unitsAreNumberedInTheOrderInWhichTheyAreTaken(int rows, int columns, int unit) {
        Strips strips = Strips.of(rows, columns, unit);
        int[] next = {0};
        strips.forEach((index, row, strip) -> {
            assertEquals(next[0]++, index);
            assertEquals(index, strips.index(row, strip));
        });
        assertEquals(strips.units(), next[0]);
        int covered = 0;
        for (int strip = 0; strip < strips.count(); strip++) {
            assertTrue(strips.columns(strip) <= 2048, "columns of strip " + strip);
            assertEquals(covered, strips.first(strip));
            covered += strips.columns(strip);
        }
        assertEquals(columns, covered);
    }

    @ParameterizedTest
    @CsvSource({"16, 2048, 16", "127, 2049, 8", "129, 5000, 8", "515, 8192, 16"})
    void groupsAreNumberedInTheOrderOfTheirUnits(int rows, int columns, int unit) {
        Strips strips = Strips.of(rows, columns, unit);
        int perStrip = strips.width() / GROUP;
        int all = Math.ceilDiv(columns, GROUP);
        long[] next = {0};
        Set<Long> seen = new HashSet<>();
        strips.forEach((index, row, strip) -> {
            for (int g = strip * perStrip; g < Math.min(all, (strip + 1) * perStrip); g++) {
                assertEquals(next[0]++, strips.index(row, g, perStrip, all));
                seen.add(strips.index(row, g, perStrip, all));
            }
        });
        assertEquals((long) Math.ceilDiv(rows, unit) * all, seen.size());
    }
}
