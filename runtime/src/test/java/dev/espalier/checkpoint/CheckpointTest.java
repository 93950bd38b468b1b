package dev.espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import dev.espalier.testing.SharedFolder;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
    @TempDir
    Path temp;

    @Test
    void aFolderIsReadWithoutCopyingItsWeights() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.BF16, 1, 1);
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertEquals("m", checkpoint.name());
            assertEquals("llama", checkpoint.config().path("model_type").asText());
            assertTrue(checkpoint.generationConfig().isEmpty());
            assertEquals(List.of("LICENSE", "config.json", "tokenizer.json"), checkpoint.auxiliaryFiles());
            assertEquals(CheckpointFiles.shapes().keySet(), checkpoint.names());
            assertArrayEquals(new int[] {8}, checkpoint.shape("model.norm.weight"));
            Tensor norm = checkpoint.tensor("model.norm.weight");
            assertEquals(1, norm.rows());
            assertEquals(DType.BF16, norm.dtype());
            assertTrue(norm.segment().isMapped());
            assertEquals((11 * 8 + 5 * 13 + 6 * 16 + 8) * 2, checkpoint.bytes());
        }
    }

    @Test
    void shardsHoldTheSameTensorsAsOneFile() throws IOException {
        Path sharded = CheckpointFiles.folder(temp.resolve("sharded"), DType.F16, 2, 3);
        try (Checkpoint checkpoint = Checkpoint.open(sharded)) {
            assertEquals(CheckpointFiles.shapes().keySet(), checkpoint.names());
            assertEquals(List.of("LICENSE", "config.json", "tokenizer.json"), checkpoint.auxiliaryFiles());
        }
    }

    @Test
    void aMissingShardIsNamed() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 2);
        Files.delete(folder.resolve("model-00002-of-00002.safetensors"));
        assertRefused(folder, "lacks model-00002-of-00002.safetensors", "model.layers.0.mlp.up_proj.weight");
    }

    @ParameterizedTest(name = "{1}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{}                                              | no weight_map",
                "{'weight_map':{}}                               | no weight_map",
                "{'weight_map':[1]}                              | no weight_map",
                "{'weight_map':{'a':3}}                          | not the name of a safetensors file",
                "{'weight_map':{'a':'../x.safetensors'}}         | not the name of a safetensors file",
                "{'weight_map':{'model.norm.weight':'model-00001-of-00002.safetensors','model.embed_tokens.weight':'model-00001-of-00002.safetensors','a':'model-00002-of-00002.safetensors'}} | but it is in model-00002",
                "{'weight_map':{'a':'model-00001-of-00002.safetensors'}} | where it is not",
                "{'weight_map':                                  | is not JSON at line 1",
            })
    void anIndexThatDoesNotFitItsShardsIsRefused(String index, String fault) throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 2);
        Files.writeString(folder.resolve("model.safetensors.index.json"), index.replace('\'', '"'));
        assertRefused(folder, fault);
    }

    @Test
    void aTensorInTwoShardsIsRefused() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 2);
        Files.copy(
                folder.resolve("model-00001-of-00002.safetensors"), folder.resolve("model-00003-of-00002.safetensors"));
        String index = Files.readString(folder.resolve("model.safetensors.index.json"))
                .replace("{\"weight_map\":{", "{\"weight_map\":{\"x\":\"model-00003-of-00002.safetensors\",");
        Files.writeString(folder.resolve("model.safetensors.index.json"), index);
        assertRefused(folder, "twice");
    }

    @Test
    void aTruncatedOrLengthenedFileIsRefusedByName() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 1);
        Path weights = folder.resolve("model.safetensors");
        byte[] good = Files.readAllBytes(weights);
        try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
            file.setLength(good.length / 2);
        }
        assertRefused(folder, weights.toString());
        Files.write(weights, good);
        Files.write(weights, new byte[8], java.nio.file.StandardOpenOption.APPEND);
        assertRefused(folder, weights.toString(), "8 bytes behind");
        Files.write(weights, new byte[0]);
        assertRefused(folder, weights.toString(), "0 bytes long");
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'model_type':          | is not JSON at line 1, column",
                "[]                      | does not hold a JSON object",
                "{} {}                   | is not JSON",
                "{'quantization_config':{'quant_method':'gptq'}} | gptq",
            })
    void aConfigThatCannotBeReadIsRefusedByName(String config, String fault) throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 1);
        Files.writeString(folder.resolve("config.json"), config.replace('\'', '"'));
        assertRefused(folder, folder.resolve("config.json").toString(), fault);
    }

    @Test
    void aConfigThatIsNotThereIsMissed() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 1);
        Files.delete(folder.resolve("config.json"));
        assertRefused(folder, "config.json is missing");
    }

    @Test
    void foldersWithoutSafetensorsSayWhatToDo() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 1);
        Files.delete(folder.resolve("model.safetensors"));
        assertRefused(folder, "no model.safetensors");
        Files.write(folder.resolve("model.gguf"), new byte[8]);
        assertRefused(folder, "model.gguf", "convert");
        Files.write(folder.resolve("pytorch_model-00001-of-00002.bin"), new byte[8]);
        assertRefused(folder, "pytorch_model.bin", "save_pretrained");
    }

    @Test
    void whatIsNoModelFolderIsRefusedWithARemedy() throws IOException {
        Path gguf = Files.write(temp.resolve("m.gguf"), new byte[8]);
        assertRefused(gguf, "GGUF", "folder in Hugging Face layout");
        assertRefused(Files.write(temp.resolve("m.safetensors"), new byte[8]), "give the folder");
        assertRefused(Path.of("facebook/opt-125m"), "hub", "download");
        assertRefused(temp.resolve("nothing"), "no model folder");
    }

    @Test
    void aTypeThatCannotBeComputedWithIsNamedWhenItIsUsed() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 1);
        Path weights = folder.resolve("model.safetensors");
        Files.delete(weights);
        try (SafetensorsWriter writer = new SafetensorsWriter(
                        weights, Map.of(), List.of(new SafetensorsWriter.Declared("a", "F64", List.of(2L, 2L))));
                Arena arena = Arena.ofConfined()) {
            writer.write("a", arena.allocate(32));
            writer.finish();
        }
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            InputException e = assertThrows(InputException.class, () -> checkpoint.tensor("a"));
            assertTrue(e.getMessage().contains("F64") && e.getMessage().contains("'a'"), e.getMessage());
            InputException absent = assertThrows(InputException.class, () -> checkpoint.tensor("b"));
            assertTrue(absent.getMessage().contains("no tensor 'b'"), absent.getMessage());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"F32", "BF16", "F16"})
    void conversionRoundsEveryElementToNearest(String target) throws IOException {
        DType dtype = DType.valueOf(target);
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 3, 1);
        try (Checkpoint checkpoint = Checkpoint.open(folder).as(dtype);
                Checkpoint original = Checkpoint.open(folder);
                Arena arena = Arena.ofConfined()) {
            for (String name : original.names()) {
                Tensor from = original.tensor(name);
                Tensor to = checkpoint.tensor(name);
                assertSame(dtype, checkpoint.dtype(name));
                assertEquals(
                        to.segment().address(),
                        checkpoint.tensor(name).segment().address());
                Tensor expected = Tensor.allocate(arena, dtype, 1, 1);
                for (long i = 0; i < from.size(); i++) {
                    dtype.set(expected.segment(), 0, from.dtype().get(from.segment(), i));
                    assertEquals(expected.get(0, 0), to.dtype().get(to.segment(), i));
                }
            }
            if (dtype == DType.BF16) {
                assertEquals("bfloat16", checkpoint.config().path("dtype").asText());
                assertEquals("F32", original.config().path("dtype").asText());
            }
        }
    }

    @Test
    void aValueBeyondFloat16IsRefusedRatherThanMadeInfinite() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.F32, 3, 1);
        Path weights = folder.resolve("model.safetensors");
        byte[] file = Files.readAllBytes(weights);
        byte[] huge = {0, 0, (byte) 0x80, 0x47}; // 65536
        System.arraycopy(huge, 0, file, file.length - 4, 4);
        Files.write(weights, file);
        try (Checkpoint checkpoint = Checkpoint.open(folder).as(DType.F16)) {
            InputException e = assertThrows(InputException.class, () -> {
                for (String name : checkpoint.names()) {
                    checkpoint.tensor(name);
                }
            });
            assertTrue(e.getMessage().contains("65536"), e.getMessage());
        }
    }

    @Test
    void aModelInAJarIsReadFromItsBytes() throws IOException {
        Path folder = CheckpointFiles.folder(temp.resolve("m"), DType.BF16, 4, 1);
        Map<String, byte[]> files = new TreeMap<>();
        for (String file : List.of("config.json", "tokenizer.json", "model.safetensors")) {
            files.put(file, Files.readAllBytes(folder.resolve(file)));
        }
        try (Checkpoint inJar = Checkpoint.of("inside", files);
                Checkpoint onDisk = Checkpoint.open(folder)) {
            assertEquals("inside", inJar.name());
            assertTrue(inJar.folder().isEmpty());
            assertEquals(List.of("config.json", "tokenizer.json"), inJar.auxiliaryFiles());
            assertTrue(inJar.file("tokenizer.json").isPresent());
            assertFalse(inJar.file("merges.txt").isPresent());
            for (String name : onDisk.names()) {
                assertEquals(
                        -1,
                        inJar.tensor(name)
                                .segment()
                                .mismatch(onDisk.tensor(name).segment()));
                assertTrue(inJar.tensor(name).segment().isNative());
            }
        }
        files.remove("model.safetensors");
        assertThrows(InputException.class, () -> Checkpoint.of("inside", files));
    }

    @Test
    void closingTwiceDoesNothing() throws IOException {
        Checkpoint checkpoint = Checkpoint.open(CheckpointFiles.folder(temp.resolve("m"), DType.F32, 2, 1));
        checkpoint.close();
        checkpoint.close();
    }

    @Test
    void realCheckpointsOpen() {
        for (String model : List.of("stories260K", "tinystories-656k", "opt-wt2-4m")) {
            try (Checkpoint checkpoint = Checkpoint.open(SharedFolder.require("models/" + model))) {
                assertTrue(checkpoint.names().size() > 10, checkpoint.toString());
                assertTrue(checkpoint.auxiliaryFiles().contains("tokenizer.json"));
            }
        }
    }

    private static void assertRefused(Path folder, String... parts) {
        InputException e =
                assertThrows(InputException.class, () -> Checkpoint.open(folder).close());
        for (String part : parts) {
            assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
        }
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
        assertTrue(e.getMessage().endsWith("."), e.getMessage());
    }
}
