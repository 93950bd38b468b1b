package dev.espalier.testing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.Checkpoint;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/// A model's files in memory, to be changed by a test and then opened or written: what happens to a checkpoint with one
/// key or tensor different.
public final class ModelFiles {
    /// A tensor as a safetensors file stores it.
    @SuppressWarnings("ArrayRecordComponent")
    public record Stored(String dtype, int[] shape, byte[] bytes) {
        /// An F32 tensor of `values`.
        public static Stored of(int[] shape, float... values) {
            ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
            for (float value : values) {
                bytes.putFloat(value);
            }
            return new Stored("F32", shape, bytes.array());
        }

        /// The elements of an F32 tensor.
        public float[] floats() {
            float[] values = new float[bytes.length / 4];
            ByteBuffer.wrap(bytes)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asFloatBuffer()
                    .get(values);
            return values;
        }
    }

    private static final ObjectMapper JSON = new ObjectMapper();

    private final ObjectNode config;
    private final ObjectNode generationConfig;
    private final Map<String, Stored> tensors;
    private final Map<String, byte[]> others = new TreeMap<>();

    private ModelFiles(ObjectNode config, ObjectNode generationConfig, Map<String, Stored> tensors) {
        this.config = config;
        this.generationConfig = generationConfig;
        this.tensors = tensors;
    }

    /// The files of `folder`, which holds one `model.safetensors`.
    public static ModelFiles read(Path folder) {
        try {
            Path generation = folder.resolve("generation_config.json");
            ModelFiles files = new ModelFiles(
                    (ObjectNode) JSON.readTree(folder.resolve("config.json").toFile()),
                    Files.exists(generation)
                            ? (ObjectNode) JSON.readTree(generation.toFile())
                            : JSON.createObjectNode(),
                    tensors(Files.readAllBytes(folder.resolve("model.safetensors"))));
            try (Stream<Path> all = Files.list(folder)) {
                for (Path file : all.toList()) {
                    String name = file.getFileName().toString();
                    if (name.startsWith("tokenizer")
                            || name.equals("vocab.json")
                            || name.equals("merges.txt")
                            || name.equals("special_tokens_map.json")) {
                        files.others.put(name, Files.readAllBytes(file));
                    }
                }
            }
            return files;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public ObjectNode config() {
        return config;
    }

    public ObjectNode generationConfig() {
        return generationConfig;
    }

    /// The tensors by name, in the file's order; may be changed.
    public Map<String, Stored> tensors() {
        return tensors;
    }

    /// The files beside config and weights; may be changed.
    public Map<String, byte[]> others() {
        return others;
    }

    /// Replaces `from` by `to` at the start of all tensors' names.
    public void renamePrefix(String from, String to) {
        Map<String, Stored> old = new LinkedHashMap<>(tensors);
        tensors.clear();
        old.forEach((name, tensor) ->
                tensors.put(name.startsWith(from) ? to + name.substring(from.length()) : name, tensor));
    }

    /// All files by name.
    public Map<String, byte[]> files() {
        try {
            Map<String, byte[]> files = new TreeMap<>(others);
            files.put("config.json", JSON.writeValueAsBytes(config));
            files.put("generation_config.json", JSON.writeValueAsBytes(generationConfig));
            files.put("model.safetensors", safetensors());
            return files;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// Opens them without writing them.
    public Checkpoint open() {
        return Checkpoint.of("test", files());
    }

    /// Writes them into `folder`.
    public Path write(Path folder) {
        try {
            Files.createDirectories(folder);
            for (Map.Entry<String, byte[]> file : files().entrySet()) {
                Files.write(folder.resolve(file.getKey()), file.getValue());
            }
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private byte[] safetensors() throws IOException {
        ObjectNode header = JSON.createObjectNode();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        for (Map.Entry<String, Stored> tensor : tensors.entrySet()) {
            ObjectNode entry = header.putObject(tensor.getKey());
            entry.put("dtype", tensor.getValue().dtype());
            ArrayNode shape = entry.putArray("shape");
            Arrays.stream(tensor.getValue().shape()).forEach(shape::add);
            entry.putArray("data_offsets")
                    .add(data.size())
                    .add(data.size() + tensor.getValue().bytes().length);
            data.write(tensor.getValue().bytes());
        }
        byte[] json = JSON.writeValueAsBytes(header);
        int padded = (json.length + 7) / 8 * 8;
        ByteBuffer file = ByteBuffer.allocate(8 + padded + data.size()).order(ByteOrder.LITTLE_ENDIAN);
        file.putLong(padded).put(json);
        while (file.position() < 8 + padded) {
            file.put((byte) ' ');
        }
        return file.put(data.toByteArray()).array();
    }

    private static Map<String, Stored> tensors(byte[] file) throws IOException {
        int length = (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
        JsonNode header = JSON.readTree(new String(file, 8, length, StandardCharsets.UTF_8));
        Map<String, Stored> tensors = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> entry : header.properties()) {
            if (!entry.getKey().equals("__metadata__")) {
                JsonNode offsets = entry.getValue().get("data_offsets");
                int[] shape = new int[entry.getValue().get("shape").size()];
                for (int i = 0; i < shape.length; i++) {
                    shape[i] = entry.getValue().get("shape").get(i).intValue();
                }
                tensors.put(
                        entry.getKey(),
                        new Stored(
                                entry.getValue().get("dtype").textValue(),
                                shape,
                                Arrays.copyOfRange(
                                        file,
                                        8 + length + offsets.get(0).intValue(),
                                        8 + length + offsets.get(1).intValue())));
            }
        }
        return tensors;
    }
}
