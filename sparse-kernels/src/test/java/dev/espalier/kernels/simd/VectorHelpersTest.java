package dev.espalier.kernels.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import javax.management.ObjectName;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("lanes")
class VectorHelpersTest {
    @Test
    void matricesOfEveryShapeAreTransposedAndNothingBesideThemIsWritten() {
        try (Arena arena = Arena.ofConfined()) {
            for (int rows = 1; rows <= 35; rows += 2) {
                for (int columns = 1; columns <= 35; columns += 3) {
                    int sourceStride = columns + 2;
                    int targetStride = rows + 1;
                    // Both segments end with the last element.
                    MemorySegment source = arena.allocate(4L * (5 + (rows - 1L) * sourceStride + columns), 4);
                    MemorySegment target = arena.allocate(4L * (3 + (columns - 1L) * targetStride + rows), 4);
                    for (long i = 0; i < source.byteSize() / 4; i++) {
                        source.setAtIndex(ValueLayout.JAVA_FLOAT, i, i + 1);
                    }
                    Transpose.transpose(source, 5, sourceStride, rows, columns, target, 3, targetStride);
                    for (int j = 0; j < columns; j++) {
                        for (int i = 0; i < rows; i++) {
                            assertEquals(
                                    source.getAtIndex(ValueLayout.JAVA_FLOAT, 5 + (long) i * sourceStride + j),
                                    target.getAtIndex(ValueLayout.JAVA_FLOAT, 3 + (long) j * targetStride + i));
                        }
                        if (j + 1 < columns) {
                            assertEquals(
                                    0f, target.getAtIndex(ValueLayout.JAVA_FLOAT, 3 + (long) j * targetStride + rows));
                        }
                    }
                }
            }
        }
    }

    @Test
    void oneBadElementAnywhereIsNoticed() {
        try (Arena arena = Arena.ofShared();
                Workers workers = new Workers(2)) {
            int count = 40_003;
            MemorySegment values = arena.allocate(4L * count, 4);
            values.setAtIndex(ValueLayout.JAVA_FLOAT, 0, Float.MAX_VALUE);
            values.setAtIndex(ValueLayout.JAVA_FLOAT, 1, -0f);
            assertTrue(Scan.allFinite(values, count, workers));
            for (int at : new int[] {0, 17, 16_383, 16_384, 39_999, 40_002}) {
                for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, at, bad);
                    assertFalse(Scan.allFinite(values, count, workers), bad + " at " + at);
                }
                values.setAtIndex(ValueLayout.JAVA_FLOAT, at, 1f);
            }
        }
    }

    @Test
    void theVirtualMachineTakesTheHintAboutLargeKernels() throws Exception {
        assertEquals(0, MicroKernel.ROW_STRIDE % 16);
        CompilerHints.excludeFromC1(MicroKernel.class);
        String directives = (String) ManagementFactory.getPlatformMBeanServer()
                .invoke(
                        new ObjectName("com.sun.management:type=DiagnosticCommand"),
                        "compilerDirectivesPrint",
                        new Object[0],
                        new String[0]);
        assertTrue(directives.contains("MicroKernel"), directives);
        assertTrue(directives.contains("Exclude:true"), directives);
    }
}
