package dev.espalier.checkpoint;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.random.RandomGenerator;

/// Random weights in the shape of a named architecture, for timing only: they say nothing worth reading.
///
/// Matrices and biases are drawn from N(0, 0.02²), norm weights are 1. A million normal numbers are drawn once by the
/// seed; every tensor is that sequence over and over, from a start of its own and with a period that no row length
/// divides, so a model of a billion weights is there as fast as memory can be written. A tensor is made when it is read.
public final class RandomCheckpoint {
    /// Prime, so that rows start at ever different places of the sequence.
    private static final int PERIOD = 1_048_583;

    private static final double DEVIATION = 0.02;
    private static final Map<String, Shape> SHAPES = shapes();

    private RandomCheckpoint() {}

    private record Shape(boolean opt, int hidden, int blocks, int heads, int kvHeads, int ffn, int vocabulary) {}

    /// The names that [#of] knows.
    public static List<String> shapeNames() {
        return List.copyOf(SHAPES.keySet());
    }

    /// A checkpoint of random weights of type `dtype` in the shape `shape`, such as `llama-1b`; equal seeds give equal
    /// weights.
    ///
    /// @throws InputException if there is no such shape
    public static Checkpoint of(String shape, DType dtype, long seed) {
        Shape s = SHAPES.get(shape);
        if (s == null) {
            throw new InputException("There is no shape " + Safetensors.quoted(shape) + "; known: "
                    + String.join(", ", SHAPES.keySet()) + ".");
        }
        Arena arena = Arena.ofShared();
        Noise noise = new Noise(arena, dtype, seed);
        Map<String, StoredTensor> tensors = new TreeMap<>();
        String name = "random:" + shape;
        dimensions(s).forEach((tensor, size) -> tensors.put(tensor, new Made(name, tensor, size, dtype, noise)));
        ObjectNode config = s.opt ? optConfig(s, dtype) : llamaConfig(s, dtype);
        Map<String, byte[]> files =
                Map.of("config.json", config.toPrettyString().getBytes(StandardCharsets.UTF_8));
        return new Checkpoint(
                name, null, config, JsonNodeFactory.instance.objectNode(), files, tensors, Map.of(), arena);
    }

    private static Map<String, List<Long>> dimensions(Shape s) {
        Map<String, List<Long>> sizes = new LinkedHashMap<>();
        List<Long> vector = List.of((long) s.hidden);
        List<Long> table = List.of((long) s.vocabulary, (long) s.hidden);
        if (s.opt) {
            String model = "model.decoder.";
            sizes.put(model + "embed_tokens.weight", table);
            sizes.put(model + "embed_positions.weight", List.of(2050L, (long) s.hidden));
            for (String part : List.of(".weight", ".bias")) {
                sizes.put(model + "final_layer_norm" + part, vector);
            }
            for (int i = 0; i < s.blocks; i++) {
                String block = model + "layers." + i + ".";
                for (String projection : List.of("q_proj", "k_proj", "v_proj", "out_proj")) {
                    sizes.put(block + "self_attn." + projection + ".weight", square(s.hidden));
                    sizes.put(block + "self_attn." + projection + ".bias", vector);
                }
                for (String norm : List.of("self_attn_layer_norm", "final_layer_norm")) {
                    sizes.put(block + norm + ".weight", vector);
                    sizes.put(block + norm + ".bias", vector);
                }
                sizes.put(block + "fc1.weight", List.of((long) s.ffn, (long) s.hidden));
                sizes.put(block + "fc1.bias", List.of((long) s.ffn));
                sizes.put(block + "fc2.weight", List.of((long) s.hidden, (long) s.ffn));
                sizes.put(block + "fc2.bias", vector);
            }
            return sizes;
        }
        long kv = (long) s.hidden / s.heads * s.kvHeads;
        sizes.put("model.embed_tokens.weight", table);
        sizes.put("model.norm.weight", vector);
        sizes.put("lm_head.weight", table);
        for (int i = 0; i < s.blocks; i++) {
            String block = "model.layers." + i + ".";
            sizes.put(block + "self_attn.q_proj.weight", square(s.hidden));
            sizes.put(block + "self_attn.k_proj.weight", List.of(kv, (long) s.hidden));
            sizes.put(block + "self_attn.v_proj.weight", List.of(kv, (long) s.hidden));
            sizes.put(block + "self_attn.o_proj.weight", square(s.hidden));
            sizes.put(block + "mlp.gate_proj.weight", List.of((long) s.ffn, (long) s.hidden));
            sizes.put(block + "mlp.up_proj.weight", List.of((long) s.ffn, (long) s.hidden));
            sizes.put(block + "mlp.down_proj.weight", List.of((long) s.hidden, (long) s.ffn));
            sizes.put(block + "input_layernorm.weight", vector);
            sizes.put(block + "post_attention_layernorm.weight", vector);
        }
        return sizes;
    }

    private static List<Long> square(long size) {
        return List.of(size, size);
    }

    private static ObjectNode llamaConfig(Shape s, DType dtype) {
        return common("llama", s, dtype)
                .put("intermediate_size", s.ffn)
                .put("num_key_value_heads", s.kvHeads)
                .put("hidden_act", "silu")
                .put("rms_norm_eps", 1e-5)
                .put("rope_theta", 10000.0)
                .put("bos_token_id", 1)
                .put("eos_token_id", 2)
                .put("tie_word_embeddings", false);
    }

    private static ObjectNode optConfig(Shape s, DType dtype) {
        return common("opt", s, dtype)
                .put("ffn_dim", s.ffn)
                .put("word_embed_proj_dim", s.hidden)
                .put("activation_function", "relu")
                .put("do_layer_norm_before", true)
                .put("enable_bias", true)
                .put("layer_norm_elementwise_affine", true)
                .put("bos_token_id", 2)
                .put("eos_token_id", 2)
                .put("pad_token_id", 1)
                .put("tie_word_embeddings", true);
    }

    private static ObjectNode common(String family, Shape s, DType dtype) {
        return JsonNodeFactory.instance
                .objectNode()
                .put("model_type", family)
                .put("hidden_size", s.hidden)
                .put("num_hidden_layers", s.blocks)
                .put("num_attention_heads", s.heads)
                .put("max_position_embeddings", 2048)
                .put("vocab_size", s.vocabulary)
                .put("dtype", dtype == DType.BF16 ? "bfloat16" : dtype == DType.F16 ? "float16" : "float32");
    }

    private static Map<String, Shape> shapes() {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        shapes.put("llama-1b", new Shape(false, 2048, 22, 32, 4, 5632, 32000));
        shapes.put("llama-3b", new Shape(false, 3200, 26, 32, 32, 8640, 32000));
        shapes.put("llama-7b", new Shape(false, 4096, 32, 32, 32, 11008, 32000));
        shapes.put("llama-13b", new Shape(false, 5120, 40, 40, 40, 13824, 32000));
        shapes.put("opt-125m", new Shape(true, 768, 12, 12, 12, 3072, 50272));
        shapes.put("opt-1.3b", new Shape(true, 2048, 24, 32, 32, 8192, 50272));
        shapes.put("opt-2.7b", new Shape(true, 2560, 32, 32, 32, 10240, 50272));
        shapes.put("opt-6.7b", new Shape(true, 4096, 32, 32, 32, 16384, 50272));
        shapes.put("opt-13b", new Shape(true, 5120, 40, 40, 40, 20480, 50272));
        return shapes;
    }

    /// The sequence that all tensors are cut from, drawn when the first one is read.
    private static final class Noise {
        private final Arena arena;
        private final DType dtype;
        private final long seed;
        private MemorySegment sequence;

        Noise(Arena arena, DType dtype, long seed) {
            this.arena = arena;
            this.dtype = dtype;
            this.seed = seed;
        }

        synchronized MemorySegment sequence() {
            if (sequence == null) {
                sequence = arena.allocate((long) PERIOD * dtype.bytes(), 64);
                RandomGenerator random = new SplittableRandom(seed);
                for (int i = 0; i < PERIOD; i++) {
                    dtype.set(sequence, i, (float) (DEVIATION * random.nextGaussian()));
                }
            }
            return sequence;
        }
    }

    private record Made(String file, String name, List<Long> shape, DType dtype, Noise noise) implements StoredTensor {
        @Override
        public String type() {
            return dtype.name();
        }

        @Override
        public long bytes() {
            return (long) rows() * columns() * dtype.bytes();
        }

        @Override
        public boolean plain() {
            return false;
        }

        /// A normal number is never zero, and none of these is small enough to be rounded to it.
        @Override
        public long nonZeros() {
            return (long) rows() * columns();
        }

        @Override
        public Tensor read(Arena arena) {
            Tensor tensor = Tensor.allocate(arena, dtype, rows(), columns());
            MemorySegment to = tensor.segment();
            if (name.endsWith("norm.weight")) {
                for (long i = 0; i < tensor.size(); i++) {
                    dtype.set(to, i, 1f);
                }
                return tensor;
            }
            MemorySegment sequence = noise.sequence();
            long start = Math.floorMod(name.hashCode() * 2_654_435_761L, (long) PERIOD) * dtype.bytes();
            for (long at = 0; at < to.byteSize(); ) {
                long length = Math.min(sequence.byteSize() - start, to.byteSize() - at);
                MemorySegment.copy(sequence, start, to, at, length);
                at += length;
                start = 0;
            }
            return tensor;
        }
    }
}
