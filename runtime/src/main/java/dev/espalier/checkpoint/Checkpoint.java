package dev.espalier.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// A model at rest: its config, its tokenizer's files, and its weights by name.
///
/// Weights are memory-mapped and handed out as slices of the map; nothing is copied until somebody asks for a packed or
/// converted tensor. Whoever opens a checkpoint closes it; its tensors are gone then.
public final class Checkpoint implements AutoCloseable {
    static final ObjectMapper JSON = JsonMapper.builder()
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    private static final String WEIGHTS = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";
    private static final List<String> WEIGHT_ENDINGS = List.of(
            ".safetensors",
            ".index.json",
            ".bin",
            ".pt",
            ".pth",
            ".ckpt",
            ".gguf",
            ".h5",
            ".msgpack",
            ".onnx",
            ".onnx_data",
            ".npz",
            ".part",
            ".lock");

    private final String name;
    private final Path folder;
    private final JsonNode config;
    private final JsonNode generationConfig;
    private final Map<String, byte[]> ownFiles;
    private final Map<String, StoredTensor> tensors;
    private final Map<String, String> metadata;
    private final Arena arena;
    private final Map<String, Tensor> made = new HashMap<>();

    Checkpoint(
            String name,
            Path folder,
            JsonNode config,
            JsonNode generationConfig,
            Map<String, byte[]> ownFiles,
            Map<String, StoredTensor> tensors,
            Map<String, String> metadata,
            Arena arena) {
        this.name = name;
        this.folder = folder;
        this.config = config;
        this.generationConfig = generationConfig;
        this.ownFiles = ownFiles;
        this.tensors = tensors;
        this.metadata = Collections.unmodifiableMap(metadata);
        this.arena = arena;
    }

    /// Opens a folder in Hugging Face layout: `config.json`, and weights in `model.safetensors`, in the shards that
    /// `model.safetensors.index.json` lists, or packed (see [Packed]).
    ///
    /// @throws InputException if the folder or a file in it cannot be used
    public static Checkpoint open(Path folder) {
        requireFolder(folder);
        Arena arena = Arena.ofShared();
        try {
            JsonNode config = object(folder.resolve("config.json"), true);
            refuseForeignPacking(folder.resolve("config.json").toString(), config);
            JsonNode generation = object(folder.resolve("generation_config.json"), false);
            List<Safetensors> files = weightFiles(folder, arena);
            Map<String, StoredTensor> tensors = new TreeMap<>();
            for (Safetensors file : files) {
                Packed.tensors(file, tensors);
            }
            Path last = folder.toAbsolutePath().normalize().getFileName();
            Map<String, String> metadata = files.getFirst().metadata();
            return new Checkpoint(
                    last == null ? folder.toString() : last.toString(),
                    folder,
                    config,
                    generation,
                    Map.of(),
                    tensors,
                    metadata,
                    arena);
        } catch (IOException e) {
            arena.close();
            throw unreadable(folder, e);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /// A checkpoint whose files are at hand as bytes, such as a model inside a jar; the weights are copied to native
    /// memory. `files` has the names that [#open] would look for.
    ///
    /// @throws InputException if a file cannot be used
    public static Checkpoint of(String name, Map<String, byte[]> files) {
        Map<String, byte[]> rest = new TreeMap<>(files);
        byte[] weights = rest.remove(WEIGHTS);
        if (weights == null) {
            throw new InputException(name + " has no " + WEIGHTS + ".");
        }
        JsonNode config = files.containsKey("config.json")
                ? object(name + "/config.json", files.get("config.json"))
                : missing(name + "/config.json");
        JsonNode generation = files.containsKey("generation_config.json")
                ? object(name + "/generation_config.json", files.get("generation_config.json"))
                : JsonNodeFactory.instance.objectNode();
        Arena arena = Arena.ofShared();
        try {
            MemorySegment memory =
                    arena.allocate(Math.max(1, weights.length), 64).asSlice(0, weights.length);
            MemorySegment.copy(MemorySegment.ofArray(weights), 0, memory, 0, weights.length);
            Safetensors file = Safetensors.of(name + "/" + WEIGHTS, memory);
            Map<String, StoredTensor> tensors = new TreeMap<>();
            Packed.tensors(file, tensors);
            return new Checkpoint(name, null, config, generation, rest, tensors, file.metadata(), arena);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /// This checkpoint with every float tensor rounded to `dtype`, and its config saying so; F32 values beyond F16's
    /// range are refused when they are read. The result owns this checkpoint: close only the result.
    public Checkpoint as(DType dtype) {
        if (dtype == DType.I8) {
            throw new IllegalArgumentException("a checkpoint cannot be converted to I8");
        }
        Map<String, StoredTensor> converted = new TreeMap<>();
        boolean change = false;
        for (StoredTensor tensor : tensors.values()) {
            boolean other = Set.of("F32", "BF16", "F16").contains(tensor.type()) && tensor.dtype() != dtype;
            change |= other;
            converted.put(tensor.name(), other ? new StoredTensor.Converted(tensor, dtype) : tensor);
        }
        if (!change) {
            return this;
        }
        ObjectNode changed = config.deepCopy();
        String spelled = switch (dtype) {
            case BF16 -> "bfloat16";
            case F16 -> "float16";
            default -> "float32";
        };
        changed.put(changed.has("torch_dtype") && !changed.has("dtype") ? "torch_dtype" : "dtype", spelled);
        Map<String, byte[]> files = new TreeMap<>(ownFiles);
        try {
            files.put("config.json", JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(changed));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a JSON tree that cannot be written", e);
        }
        return new Checkpoint(name, folder, changed, generationConfig, files, converted, metadata, arena);
    }

    /// This checkpoint with the tensors `edited` changed by `edit`, which gets each as a copy of its own, when it is read.
    /// The result shares this checkpoint's memory: close this one, after the result is no longer used.
    public Checkpoint edited(Set<String> edited, Consumer<Tensor> edit) {
        Map<String, StoredTensor> changed = new TreeMap<>(tensors);
        edited.forEach(tensor -> changed.put(tensor, new StoredTensor.Edited(stored(tensor), edit)));
        return new Checkpoint(name, folder, config, generationConfig, ownFiles, changed, metadata, arena);
    }

    /// The folder's last name, or the built-in model's.
    public String name() {
        return name;
    }

    /// The folder it was opened from; empty for built-in models.
    public Optional<Path> folder() {
        return Optional.ofNullable(folder);
    }

    /// The contents of `config.json`, an object.
    public JsonNode config() {
        return config;
    }

    /// The contents of `generation_config.json`, an empty object where there is none.
    public JsonNode generationConfig() {
        return generationConfig;
    }

    /// The bytes of the file `file` beside the weights; empty where there is none.
    ///
    /// @throws InputException if it cannot be read
    public Optional<byte[]> file(String file) {
        byte[] own = ownFiles.get(file);
        if (own != null) {
            return Optional.of(own.clone());
        }
        if (folder == null || !auxiliaryFiles().contains(file)) {
            return Optional.empty();
        }
        try {
            return Optional.of(Files.readAllBytes(folder.resolve(file)));
        } catch (IOException e) {
            throw unreadable(folder.resolve(file), e);
        }
    }

    /// The names of all files that are neither weights nor an index of them, sorted: configs, tokenizer, templates,
    /// licences. They belong to the model, and a saved copy has them too.
    public List<String> auxiliaryFiles() {
        if (folder == null) {
            return List.copyOf(ownFiles.keySet());
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(Files::isRegularFile)
                    .map(file -> file.getFileName().toString())
                    .filter(Checkpoint::auxiliary)
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw unreadable(folder, e);
        }
    }

    /// The names of all tensors, sorted.
    public Set<String> names() {
        return Collections.unmodifiableSet(tensors.keySet());
    }

    /// Whether there is a tensor called `tensor`.
    public boolean has(String tensor) {
        return tensors.containsKey(tensor);
    }

    /// The stored shape of a tensor, any number of dimensions.
    public int[] shape(String tensor) {
        StoredTensor stored = stored(tensor);
        return stored.shape().stream()
                .mapToInt(size -> {
                    if (size > Integer.MAX_VALUE) {
                        throw new InputException("%s holds the tensor %s with the shape %s, which is too large."
                                .formatted(stored.file(), Safetensors.quoted(tensor), stored.shape()));
                    }
                    return (int) (long) size;
                })
                .toArray();
    }

    /// The element type of a tensor.
    ///
    /// @throws InputException if it is none that can be used
    public DType dtype(String tensor) {
        return stored(tensor).dtype();
    }

    /// The element type of a tensor as the file spells it, also where it cannot be used: `I64`, `BOOL`.
    public String typeName(String tensor) {
        return stored(tensor).type();
    }

    /// The file that holds a tensor, for error messages.
    public String fileOf(String tensor) {
        return stored(tensor).file();
    }

    /// The format that a tensor is packed in, such as `bitmask` or `2:4`; empty for a plain one.
    public Optional<String> packedFormat(String tensor) {
        return stored(tensor).packedFormat();
    }

    /// Bytes that a tensor takes in its file.
    public long bytes(String tensor) {
        return stored(tensor).bytes();
    }

    /// How many elements of a tensor are not zero; -0.0 is a zero. A packed tensor knows, of others all are looked at.
    public long nonZeros(String tensor) {
        return stored(tensor).nonZeros();
    }

    /// Bytes that all tensors take in their files.
    public long bytes() {
        return tensors.values().stream().mapToLong(StoredTensor::bytes).sum();
    }

    /// A tensor as a matrix, `[n]` as `[1, n]`: a slice of the map for a plain one; a packed, converted or random one is
    /// made on the first call and kept until the checkpoint is closed.
    ///
    /// @throws InputException if there is none, or its type or shape cannot be used
    public Tensor tensor(String tensor) {
        StoredTensor stored = stored(tensor);
        if (stored.plain()) {
            return stored.read(arena);
        }
        synchronized (made) {
            Tensor known = made.get(tensor);
            if (known == null) {
                known = stored.read(arena);
                made.put(tensor, known);
            }
            return known;
        }
    }

    /// A tensor as a matrix: a slice of the map for a plain one; a packed, converted or random one is made in
    /// `scratch`, and nothing is kept.
    ///
    /// @throws InputException if there is none, or its type or shape cannot be used
    public Tensor read(String tensor, Arena scratch) {
        return stored(tensor).read(scratch);
    }

    /// The metadata of the weights' (first) file.
    public Map<String, String> metadata() {
        return metadata;
    }

    StoredTensor stored(String tensor) {
        StoredTensor stored = tensors.get(tensor);
        if (stored == null) {
            throw new InputException((folder == null ? name : folder.toString()) + " has no tensor "
                    + Safetensors.quoted(tensor) + "; the checkpoint is incomplete or of another family.");
        }
        return stored;
    }

    /// Unmaps the weights. Closing twice does nothing.
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }

    @Override
    public String toString() {
        return name + " (" + tensors.size() + " tensors, " + bytes() + " bytes)";
    }

    private static void requireFolder(Path folder) {
        String shown = folder.toString();
        String lower = shown.toLowerCase(Locale.ROOT);
        if (Files.isRegularFile(folder)) {
            if (lower.endsWith(".gguf")) {
                throw new InputException(
                        shown + " is a GGUF file, which cannot be read yet; give a folder in Hugging Face layout.");
            }
            throw new InputException(
                    shown + " is a file; give the folder that holds config.json and model.safetensors.");
        }
        if (!Files.isDirectory(folder)) {
            if (shown.matches("[A-Za-z0-9][\\w.-]*/[\\w.-]+")) {
                throw new InputException(shown + " is no folder here, and models cannot be fetched from a hub yet;"
                        + " download its files and give their folder.");
            }
            throw new InputException("There is no model folder " + shown + ".");
        }
    }

    private static List<Safetensors> weightFiles(Path folder, Arena arena) throws IOException {
        for (String single : List.of(WEIGHTS, Packed.FILE)) {
            if (Files.exists(folder.resolve(single))) {
                return List.of(Safetensors.map(folder.resolve(single), arena));
            }
        }
        if (Files.exists(folder.resolve(INDEX))) {
            return shards(folder, arena);
        }
        List<String> names;
        try (Stream<Path> files = Files.list(folder)) {
            names = files.map(file -> file.getFileName().toString()).sorted().toList();
        }
        if (names.stream().anyMatch(n -> n.matches("pytorch_model.*\\.bin"))) {
            throw new InputException(folder + " holds its weights in pytorch_model.bin only, which is not read; load it"
                    + " with transformers and call save_pretrained, which writes model.safetensors.");
        }
        Optional<String> gguf = names.stream().filter(n -> n.endsWith(".gguf")).findFirst();
        if (gguf.isPresent()) {
            throw new InputException(folder + " holds its weights as " + gguf.get()
                    + ", and GGUF cannot be read yet; convert it to model.safetensors.");
        }
        throw new InputException(folder + " has no " + WEIGHTS + " and no " + INDEX + ", so there are no weights.");
    }

    private static List<Safetensors> shards(Path folder, Arena arena) throws IOException {
        Path indexFile = folder.resolve(INDEX);
        JsonNode map = object(indexFile, true).path("weight_map");
        if (!map.isObject() || map.isEmpty()) {
            throw new InputException(indexFile + " has no weight_map from tensor names to files.");
        }
        Map<String, Safetensors> shards = new TreeMap<>();
        Map<String, String> listed = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> field : map.properties()) {
            String shard = field.getValue().asText("");
            if (!field.getValue().isTextual() || !shard.matches("[\\w.-]+\\.safetensors")) {
                throw new InputException("%s puts the tensor %s into %s, which is not the name of a safetensors file."
                        .formatted(indexFile, Safetensors.quoted(field.getKey()), Safetensors.quoted(shard)));
            }
            listed.put(field.getKey(), shard);
            if (!shards.containsKey(shard)) {
                if (!Files.isRegularFile(folder.resolve(shard))) {
                    throw new InputException("%s lacks %s, which %s names for the tensor %s; fetch the missing file."
                            .formatted(folder, shard, INDEX, Safetensors.quoted(field.getKey())));
                }
                shards.put(shard, Safetensors.map(folder.resolve(shard), arena));
            }
        }
        Map<String, String> found = new HashMap<>();
        for (Map.Entry<String, Safetensors> shard : shards.entrySet()) {
            for (String tensor : shard.getValue().entries().keySet()) {
                String other = found.put(tensor, shard.getKey());
                if (other != null) {
                    throw new InputException("%s holds the tensor %s twice, in %s and in %s."
                            .formatted(folder, Safetensors.quoted(tensor), other, shard.getKey()));
                }
            }
        }
        for (Map.Entry<String, String> entry : listed.entrySet()) {
            String place = found.get(entry.getKey());
            if (!entry.getValue().equals(place)) {
                throw new InputException("%s puts the tensor %s into %s, %s; index and shards do not belong together."
                        .formatted(
                                indexFile,
                                Safetensors.quoted(entry.getKey()),
                                entry.getValue(),
                                place == null ? "where it is not" : "but it is in " + place));
            }
        }
        return new ArrayList<>(shards.values());
    }

    private static void refuseForeignPacking(String file, JsonNode config) {
        for (String key : List.of("quantization_config", "compression_config")) {
            if (config.hasNonNull(key)) {
                JsonNode how = config.get(key);
                String method =
                        how.path("quant_method").asText(how.path("format").asText("unknown"));
                throw new InputException("%s says by %s that the weights are quantized or compressed (%s), which cannot"
                                .formatted(file, key, method)
                        + " be read; use the uncompressed model.");
            }
        }
    }

    private static boolean auxiliary(String file) {
        return !file.startsWith(".") && WEIGHT_ENDINGS.stream().noneMatch(file::endsWith);
    }

    private static JsonNode missing(String file) {
        throw new InputException(file + " is missing; a model folder needs it.");
    }

    private static JsonNode object(Path file, boolean required) {
        try {
            return object(file.toString(), Files.readAllBytes(file));
        } catch (NoSuchFileException e) {
            return required ? missing(file.toString()) : JsonNodeFactory.instance.objectNode();
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    private static JsonNode object(String file, byte[] bytes) {
        JsonNode tree;
        try {
            tree = JSON.readTree(bytes);
        } catch (JsonProcessingException e) {
            String place = e.getLocation() == null
                    ? ""
                    : " at line " + e.getLocation().getLineNr() + ", column "
                            + e.getLocation().getColumnNr();
            throw new InputException(file + " is not JSON" + place + ": " + Safetensors.plain(e) + ".", e);
        } catch (IOException e) {
            throw new UncheckedIOException("reading from an array", e);
        }
        if (!tree.isObject()) {
            throw new InputException(file + " does not hold a JSON object.");
        }
        return tree;
    }

    private static InputException unreadable(Path path, IOException e) {
        return new InputException(
                "%s cannot be read (%s)."
                        .formatted(path, e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage()),
                e);
    }
}
