package dev.espalier.checkpoint;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/// Small checkpoints for tests, written with the project's own writer.
final class CheckpointFiles {
    private CheckpointFiles() {}

    /// Names and shapes of a small decoder's tensors.
    static Map<String, List<Long>> shapes() {
        Map<String, List<Long>> shapes = new LinkedHashMap<>();
        shapes.put("model.embed_tokens.weight", List.of(11L, 8L));
        shapes.put("model.layers.0.mlp.up_proj.weight", List.of(5L, 13L));
        shapes.put("model.layers.0.mlp.down_proj.weight", List.of(6L, 16L));
        shapes.put("model.norm.weight", List.of(8L));
        return shapes;
    }

    /// Writes a folder with these tensors, random by `seed`, in `shards` files, and returns it.
    static Path folder(Path folder, DType dtype, long seed, int shards) throws IOException {
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("config.json"), "{\"model_type\":\"llama\",\"dtype\":\"" + dtype + "\"}");
        Files.writeString(folder.resolve("tokenizer.json"), "{\"made\":\"up\"}\n");
        Files.writeString(folder.resolve("LICENSE"), "none\n");
        List<String> names = new ArrayList<>(shapes().keySet());
        StringBuilder map = new StringBuilder();
        SplittableRandom random = new SplittableRandom(seed);
        for (int shard = 0; shard < shards; shard++) {
            String file =
                    shards == 1 ? "model.safetensors" : "model-%05d-of-%05d.safetensors".formatted(shard + 1, shards);
            List<SafetensorsWriter.Declared> declared = new ArrayList<>();
            for (int i = shard; i < names.size(); i += shards) {
                declared.add(new SafetensorsWriter.Declared(names.get(i), dtype.name(), shapes().get(names.get(i))));
                map.append(map.isEmpty() ? "" : ",").append("\"%s\":\"%s\"".formatted(names.get(i), file));
            }
            try (SafetensorsWriter writer =
                            new SafetensorsWriter(folder.resolve(file), Map.of("format", "pt"), declared);
                    Arena arena = Arena.ofConfined()) {
                for (SafetensorsWriter.Declared tensor : declared) {
                    writer.write(
                            tensor.name(),
                            random(arena, dtype, tensor.shape(), random).segment());
                }
                writer.finish();
            }
        }
        if (shards > 1) {
            Files.writeString(folder.resolve("model.safetensors.index.json"), "{\"weight_map\":{" + map + "}}");
        }
        return folder;
    }

    static Tensor random(Arena arena, DType dtype, List<Long> shape, SplittableRandom random) {
        int rows = shape.size() == 1 ? 1 : (int) (long) shape.getFirst();
        Tensor tensor = Tensor.allocate(arena, dtype, rows, (int) (long) shape.getLast());
        for (long i = 0; i < tensor.size(); i++) {
            dtype.set(tensor.segment(), i, (float) random.nextGaussian());
        }
        return tensor;
    }

    /// A copy of `source` in which about `share` of the weights are zero, some of them -0.0.
    static Tensor sparse(Arena arena, Tensor source, double share, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Tensor copy = Tensor.allocate(arena, source.dtype(), source.rows(), source.columns());
        for (int row = 0; row < source.rows(); row++) {
            for (int column = 0; column < source.columns(); column++) {
                boolean zero = random.nextDouble() < share;
                copy.set(row, column, zero ? (random.nextBoolean() ? 0f : -0f) : source.get(row, column));
            }
        }
        return copy;
    }
}
