package dev.espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import dev.espalier.testing.SharedFolder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointWriterTest {
    private static final String UP = "model.layers.0.mlp.up_proj.weight";
    private static final String DOWN = "model.layers.0.mlp.down_proj.weight";

    @TempDir
    Path temp;

    @Test
    void anUnchangedCopyHasTheSameBytes() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.BF16, 1, 1);
        save(folder, "copy", SaveAs.DENSE, Map.of());
        assertSameFiles(folder, temp.resolve("copy"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"stories260K", "tinystories-656k", "opt-wt2-4m"})
    void anUnchangedCopyOfARealModelHasTheSameBytes(String model) throws IOException {
        Path folder = SharedFolder.require("models/" + model);
        save(folder, "copy", SaveAs.DENSE, Map.of());
        assertSameFiles(folder, temp.resolve("copy"));
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16", "F16"})
    void prunedWeightsComeBackWhateverTheyAreSavedAs(DType dtype) throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), dtype, 5, 2);
        try (Checkpoint source = Checkpoint.open(folder);
                Arena arena = Arena.ofConfined()) {
            Map<String, Tensor> pruned = new HashMap<>();
            for (String name : List.of(UP, DOWN)) {
                pruned.put(name, CheckpointFiles.sparse(arena, source.tensor(name), 0.7, 6));
            }
            for (SaveAs saveAs : SaveAs.values()) {
                Path out = temp.resolve(saveAs.name());
                CheckpointWriter.save(
                        source, out, saveAs, pruned, Map.of("by", "test"), Map.of("report.json", bytes()));
                try (Checkpoint saved = Checkpoint.open(out)) {
                    assertEquals(source.names(), saved.names());
                    assertEquals("test", saved.metadata().get("by"));
                    assertArrayEquals(bytes(), saved.file("report.json").orElseThrow());
                    assertArrayEquals(
                            source.file("tokenizer.json").orElseThrow(),
                            saved.file("tokenizer.json").orElseThrow());
                    for (String name : source.names()) {
                        Tensor expected = pruned.getOrDefault(name, source.tensor(name));
                        Tensor actual = saved.read(name, arena);
                        assertEquals(dtype, actual.dtype());
                        assertArrayEquals(source.shape(name), saved.shape(name));
                        for (int row = 0; row < expected.rows(); row++) {
                            for (int column = 0; column < expected.columns(); column++) {
                                // + 0f: -0.0 is a zero and is stored as 0.0.
                                assertEquals(
                                        Float.floatToRawIntBits(expected.get(row, column) + 0f),
                                        Float.floatToRawIntBits(actual.get(row, column)),
                                        name);
                            }
                        }
                    }
                }
            }
        }
    }

    @Test
    void aPackedCopyIsSmallerByWhatTheZerosFreeAndSaysItsFormat() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        try (Checkpoint source = Checkpoint.open(folder);
                Arena arena = Arena.ofConfined()) {
            Tensor up = CheckpointFiles.sparse(arena, source.tensor(UP), 0.7, 6);
            Tensor down = Tensor.allocate(arena, DType.F32, 6, 16);
            for (int row = 0; row < 6; row++) {
                for (int column = 0; column < 16; column += 4) {
                    down.set(row, column + row % 3, 1 + row);
                    down.set(row, column + 3, -2);
                }
            }
            Path out = temp.resolve("packed");
            CheckpointWriter.save(source, out, SaveAs.PACKED, Map.of(UP, up, DOWN, down), Map.of(), Map.of());
            assertFalse(Files.exists(out.resolve("model.safetensors")));
            try (Checkpoint saved = Checkpoint.open(out)) {
                assertEquals("2:4", saved.packedFormat(DOWN).orElseThrow());
                assertEquals("bitmask", saved.packedFormat(UP).orElseThrow());
                assertTrue(saved.packedFormat("model.norm.weight").isEmpty());
                assertEquals(6 * 2 + 6 * 8 * 4, saved.bytes(DOWN));
                assertEquals(5 * 2 + Packed.kept(up) * 4, saved.bytes(UP));
                assertTrue(saved.bytes() < source.bytes());
            }
        }
    }

    @Test
    void packingIsCanonicalAndADensePackedDenseRoundTripKeepsTheBytes() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.BF16, 5, 1);
        try (Checkpoint source = Checkpoint.open(folder);
                Arena arena = Arena.ofConfined()) {
            Map<String, Tensor> pruned = Map.of(UP, CheckpointFiles.sparse(arena, source.tensor(UP), 0.6, 1));
            CheckpointWriter.save(source, temp.resolve("dense"), SaveAs.DENSE, pruned, Map.of(), Map.of());
            CheckpointWriter.save(source, temp.resolve("packed"), SaveAs.PACKED, pruned, Map.of(), Map.of());
        }
        save(temp.resolve("dense"), "packed again", SaveAs.PACKED, Map.of());
        assertSameFiles(temp.resolve("packed"), temp.resolve("packed again"));
        save(temp.resolve("packed"), "dense again", SaveAs.DENSE, Map.of());
        assertSameFiles(temp.resolve("dense"), temp.resolve("dense again"));
        save(temp.resolve("packed"), "repacked", SaveAs.PACKED, Map.of());
        assertSameFiles(temp.resolve("packed"), temp.resolve("repacked"));
    }

    @Test
    void aPackedFileThatIsDamagedOrNewerIsRefusedWithItsFault() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        Path out = temp.resolve("packed");
        try (Checkpoint source = Checkpoint.open(folder);
                Arena arena = Arena.ofConfined()) {
            Tensor up = CheckpointFiles.sparse(arena, source.tensor(UP), 0.7, 6);
            CheckpointWriter.save(source, out, SaveAs.PACKED, Map.of(UP, up), Map.of(), Map.of());
        }
        Path file = out.resolve(Packed.FILE);
        byte[] good = Files.readAllBytes(file);
        // Replacements of equal length keep the header's length and the tensors' places.
        assertRefused(out, good, "version\":\"1\"", "version\":\"2\"", "version 2", "up to version 1");
        assertRefused(out, good, "version\":\"1\"", "version\":\"x\"", "version as x");
        assertRefused(out, good, "espalier-packed", "espalier-pocket", "espalier-pocket");
        assertRefused(out, good, UP + ".mask", UP + ".mosk", "lacks '" + UP + ".mask'");
        assertRefused(out, good, UP + ".values", UP + ".valves", "lacks '" + UP + ".values'");
        assertRefused(out, good, "[5,13]", "[4,13]", "needs U8 [4, 2]");
        assertRefused(out, good, "{\\\"format\\\"", "{\\\"farmat\\\"", "no shape");
        assertRefused(out, good, "\"packed\":\"{", "\"pocked\":\"{", "lacks the list");

        // A flipped mask bit and a bit past the last column are found when the tensor is read.
        byte[] flipped = good.clone();
        int header = (int) ByteBuffer.wrap(good).order(ByteOrder.LITTLE_ENDIAN).getLong() + 8;
        int mask = header + Math.toIntExact(maskOffset(good));
        flipped[mask] ^= 1;
        Files.write(file, flipped);
        try (Checkpoint checkpoint = Checkpoint.open(out)) {
            InputException e = assertThrows(InputException.class, () -> checkpoint.tensor(UP));
            assertTrue(e.getMessage().contains("keeps") && e.getMessage().contains(UP + ".mask"), e.getMessage());
        }
        byte[] padding = good.clone();
        assertTrue(padding[mask] != 0, "the first 8 weights are all zero, so none can be exchanged");
        padding[mask] &= (byte) (padding[mask] - 1);
        padding[mask + 1] |= (byte) 0x80;
        Files.write(file, padding);
        try (Checkpoint checkpoint = Checkpoint.open(out)) {
            InputException e = assertThrows(InputException.class, () -> checkpoint.tensor(UP));
            assertTrue(e.getMessage().contains("past the last column"), e.getMessage());
        }
    }

    @Test
    void anOutputFolderThatIsTakenIsRefusedAndLeftAlone() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        Path out = Files.createDirectory(temp.resolve("out"));
        Files.writeString(out.resolve("precious"), "data");
        InputException e = assertThrows(InputException.class, () -> save(folder, "out", SaveAs.DENSE, Map.of()));
        assertTrue(e.getMessage().contains("not empty"), e.getMessage());
        assertEquals("data", Files.readString(out.resolve("precious")));
        assertThrows(InputException.class, () -> save(folder, "m/config.json", SaveAs.DENSE, Map.of()));
        Files.delete(out.resolve("precious"));
        save(folder, "out", SaveAs.DENSE, Map.of());
        assertSameFiles(folder, out);
        assertFalse(Files.exists(temp.resolve("out.partial")));
    }

    @Test
    void workThatEndsBeforeItIsFinishedLeavesNothing() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        for (SaveAs saveAs : SaveAs.values()) {
            try (Checkpoint source = Checkpoint.open(folder)) {
                try (CheckpointWriter writer = CheckpointWriter.open(source, temp.resolve("out"), saveAs, Map.of())) {
                    writer.put(UP, source.tensor(UP));
                    assertFalse(Files.exists(temp.resolve("out")));
                    assertTrue(Files.exists(temp.resolve("out.partial")));
                }
                assertFalse(Files.exists(temp.resolve("out")));
                assertFalse(Files.exists(temp.resolve("out.partial")));
            }
        }
    }

    @Test
    void whatAKilledRunLeftIsClearedButNotFilesOfOthers() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        Path partial = Files.createDirectory(temp.resolve("out.partial"));
        Files.writeString(partial.resolve("model.safetensors"), "half");
        InputException e = assertThrows(InputException.class, () -> save(folder, "out", SaveAs.DENSE, Map.of()));
        assertTrue(e.getMessage().contains("out.partial"), e.getMessage());
        Files.writeString(partial.resolve(".espalier-lock"), "");
        save(folder, "out", SaveAs.DENSE, Map.of());
        assertSameFiles(folder, temp.resolve("out"));
    }

    @Test
    void twoWritersOfOneFolderDoNotMix() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        try (Checkpoint source = Checkpoint.open(folder);
                CheckpointWriter first = CheckpointWriter.open(source, temp.resolve("out"), SaveAs.DENSE, Map.of())) {
            InputException e = assertThrows(InputException.class, () -> save(folder, "out", SaveAs.DENSE, Map.of()));
            assertTrue(e.getMessage().contains("Somebody else is writing"), e.getMessage());
            first.finish(Map.of());
        }
        assertSameFiles(folder, temp.resolve("out"));
    }

    /// A limit on file sizes stands in for a disk that is full: the write fails half-way in both cases.
    @ParameterizedTest
    @EnumSource(SaveAs.class)
    void aFullDiskIsAnIoExceptionThatLeavesNothing(SaveAs saveAs) throws Exception {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 5, 1);
        Files.delete(folder.resolve("model.safetensors"));
        try (SafetensorsWriter writer = new SafetensorsWriter(
                        folder.resolve("model.safetensors"),
                        Map.of(),
                        List.of(new SafetensorsWriter.Declared("a", "F32", List.of(1000L, 1000L))));
                Arena arena = Arena.ofConfined()) {
            writer.write(
                    "a",
                    CheckpointFiles.random(arena, DType.F32, List.of(1000L, 1000L), new SplittableRandom(1))
                            .segment());
            writer.finish();
        }
        Process process = new ProcessBuilder(
                        "sh",
                        "-c",
                        "ulimit -f 1000 && exec \"$@\"",
                        "sh",
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:-UsePerfData",
                        "--enable-native-access=ALL-UNNAMED",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Save.class.getName(),
                        folder.toString(),
                        temp.resolve("out").toString(),
                        saveAs.name())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(1, process.waitFor(), output);
        assertTrue(output.startsWith("writing " + temp.resolve("out") + " failed: "), output);
        assertFalse(Files.exists(temp.resolve("out")));
        assertFalse(Files.exists(temp.resolve("out.partial")));
    }

    /// Saves a copy in a process of its own.
    static final class Save {
        private Save() {}

        public static void main(String[] arguments) {
            try (Checkpoint source = Checkpoint.open(Path.of(arguments[0]))) {
                CheckpointWriter.save(
                        source, Path.of(arguments[1]), SaveAs.valueOf(arguments[2]), Map.of(), Map.of(), Map.of());
            } catch (IOException e) {
                System.out.println(e.getMessage());
                System.exit(1);
            }
        }
    }

    private void save(Path folder, String out, SaveAs saveAs, Map<String, Tensor> replaced) throws IOException {
        try (Checkpoint source = Checkpoint.open(folder)) {
            CheckpointWriter.save(source, temp.resolve(out), saveAs, replaced, Map.of(), Map.of());
        }
    }

    private static long maskOffset(byte[] file) {
        Safetensors parsed = Safetensors.of("f", java.lang.foreign.MemorySegment.ofArray(file));
        return parsed.entries().get(UP + ".mask").from();
    }

    private static void assertRefused(Path out, byte[] good, String find, String replace, String... parts)
            throws IOException {
        String text = new String(good, StandardCharsets.ISO_8859_1);
        assertTrue(text.contains(find), find);
        Files.write(out.resolve(Packed.FILE), text.replace(find, replace).getBytes(StandardCharsets.ISO_8859_1));
        InputException e =
                assertThrows(InputException.class, () -> Checkpoint.open(out).close());
        for (String part : parts) {
            assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
        }
    }

    private static byte[] bytes() {
        return "{\"a\":1}".getBytes(StandardCharsets.UTF_8);
    }

    private static void assertSameFiles(Path expected, Path actual) throws IOException {
        List<String> names;
        try (var files = Files.list(expected)) {
            names = files.map(file -> file.getFileName().toString()).sorted().toList();
        }
        try (var files = Files.list(actual)) {
            assertEquals(
                    names,
                    files.map(file -> file.getFileName().toString()).sorted().toList());
        }
        for (String name : names) {
            byte[] one = Files.readAllBytes(expected.resolve(name));
            byte[] other = Files.readAllBytes(actual.resolve(name));
            assertEquals(-1, Arrays.mismatch(one, other), name);
        }
    }
}
