package dev.espalier.prune;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.Model;
import dev.espalier.tensor.DType;
import dev.espalier.tokenizer.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/// The small random models that runtime's tests use, and those of the folder `shared` beside the repository.
public final class TestModels {
    /// Every layer dense, in the memory it is given.
    public static final FormatChoice DENSE = weight -> Dense.mapped();

    private TestModels() {}

    /// The folder of a random model of runtime's tests.
    public static Path family(String name) {
        return Path.of("..", "runtime", "src", "test", "resources", "families", name);
    }

    public static Model load(Path folder, Backend backend) {
        return Model.load(Checkpoint.open(folder), backend, DENSE);
    }

    /// `shared/relative` in a folder above; skips the calling test where it does not exist.
    public static Path shared(String relative) {
        String named = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
        Path shared = named == null ? null : Path.of(named);
        for (Path folder = Path.of("").toAbsolutePath();
                shared == null && folder != null;
                folder = folder.getParent()) {
            shared = Files.isDirectory(folder.resolve("shared/models")) ? folder.resolve("shared") : null;
        }
        Assumptions.assumeTrue(shared != null, "shared: no folder ../shared beside the repository");
        Path path = shared.resolve(relative);
        Assumptions.assumeTrue(Files.exists(path), "shared: ../shared/" + relative + " does not exist");
        return path;
    }

    /// The files of a folder, to be edited and opened with [Checkpoint#of].
    public static Map<String, byte[]> files(Path folder) {
        Map<String, byte[]> files = new HashMap<>();
        try (Stream<Path> paths = Files.list(folder)) {
            for (Path path : paths.toList()) {
                files.put(path.getFileName().toString(), Files.readAllBytes(path));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return files;
    }

    /// Stores `value` as element `index` of an F32 tensor in the bytes of a safetensors file.
    public static void set(byte[] safetensors, String tensor, int index, float value) {
        ByteBuffer buffer = ByteBuffer.wrap(safetensors).order(ByteOrder.LITTLE_ENDIAN);
        int length = (int) buffer.getLong(0);
        String header = new String(safetensors, 8, length, StandardCharsets.UTF_8);
        int at = header.indexOf('"' + tensor + '"');
        if (at < 0) {
            throw new IllegalArgumentException(tensor + " is not in " + header);
        }
        String entry = header.substring(at, header.indexOf('}', at));
        if (!entry.contains(DType.F32.name())) {
            throw new IllegalArgumentException(entry);
        }
        String offset = entry.replaceFirst("(?s).*data_offsets\"\\s*:\\s*\\[\\s*(\\d+).*", "$1");
        buffer.putFloat(8 + length + Integer.parseInt(offset) + 4 * index, value);
    }

    /// `count` random token ids.
    public static int[] tokens(int count, int vocabulary, long seed) {
        return new Random(seed).ints(count, 3, vocabulary).toArray();
    }

    /// A tokenizer that knows the letters a to z, space and line break, a token each, and puts `<s>` (0) in front.
    public static Tokenizer letters() {
        StringBuilder vocabulary = new StringBuilder("\"<s>\":0,\"Ġ\":1,\"Ċ\":2");
        for (char c = 'a'; c <= 'z'; c++) {
            vocabulary.append(",\"").append(c).append("\":").append(c - 'a' + 3);
        }
        String json =
                "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":0,\"content\":\"<s>\","
                        + "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
                        + "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                        + "\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":{\"type\":\"TemplateProcessing\","
                        + "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
                        + "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
                        + "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[0],\"tokens\":[\"<s>\"]}}},"
                        + "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
                        + "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
                        + "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{"
                        + vocabulary
                        + "},\"merges\":[]}}";
        return Tokenizer.of(json.getBytes(StandardCharsets.UTF_8), null);
    }
}
