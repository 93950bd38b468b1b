package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.Backend.Activation;
import dev.espalier.model.ModelSpec.Norms.Placement;
import dev.espalier.model.ModelSpec.Positions;
import dev.espalier.tensor.InputException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What a `config.json` may say, in which spelling, and what is refused.
class ModelConfigTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String LLAMA = """
            {"model_type": "llama", "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2,
             "num_attention_heads": 4, "vocab_size": 97, "max_position_embeddings": 48, "rms_norm_eps": 1e-5}""";
    private static final String OPT = """
            {"model_type": "opt", "hidden_size": 32, "ffn_dim": 56, "num_hidden_layers": 2,
             "num_attention_heads": 4, "vocab_size": 97, "max_position_embeddings": 48}""";

    @Test
    void aMinimalLlamaConfigMeansLlamaOne() {
        ModelSpec spec = spec(LLAMA, "{}");
        assertEquals(4, spec.attention().shape().kvHeads());
        assertEquals(8, spec.attention().shape().headDim());
        assertEquals(Activation.SILU, spec.mlp().activation());
        assertTrue(!spec.attention().inputBias()
                && !spec.mlp().bias()
                && !spec.head().tied());
        assertEquals(1e-5f, spec.norms().norm().epsilon());
        assertArrayEquals(new float[] {1f, 0.1f, 0.01f, 0.001f}, frequencies(spec), 1e-9f);
    }

    @Test
    void aMinimalOptConfigMeansTheUsualShape() {
        ModelSpec spec = spec(OPT, "{}");
        assertEquals(Placement.BEFORE, spec.norms().placement());
        assertEquals(new Positions.Learned(2), spec.positions());
        assertEquals(Activation.RELU, spec.mlp().activation());
        assertTrue(
                spec.norms().last() && spec.norms().bias() && spec.attention().inputBias());
        assertTrue(spec.head().tied() && !spec.projectsEmbedding());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "{'rope_theta': 500000.0}",
                "{'rope_theta': 500000}",
                "{'rope_theta': 500000.0, 'rope_scaling': null}",
                "{'rope_theta': 500000.0, 'rope_scaling': {}}",
                "{'rope_parameters': {'rope_type': 'default', 'rope_theta': 500000.0}}",
                "{'rope_parameters': {'rope_theta': 500000.0}}",
                "{'rope_theta': 500000.0, 'rope_parameters': {'rope_type': 'default'}}",
            })
    void theBaseOfRotaryPositionsIsReadInEverySpelling(String change) {
        float[] expected = new float[4];
        for (int i = 0; i < 4; i++) {
            expected[i] = (float) Math.pow(500_000, -i / 4.0);
        }
        assertArrayEquals(expected, frequencies(spec(LLAMA, change)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{'rope_scaling': {'type': 'linear', 'factor': 2.0}}",
                "{'rope_scaling': {'rope_type': 'linear', 'factor': 2}}",
                "{'rope_parameters': {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 10000.0}}",
                "{'rope_scaling': {'rope_type': 'linear', 'type': 'linear', 'factor': 2.0}}",
            })
    void linearScalingIsReadInEverySpelling(String change) {
        assertArrayEquals(new float[] {0.5f, 0.05f, 0.005f, 0.0005f}, frequencies(spec(LLAMA, change)), 1e-9f);
    }

    @Test
    void llamaThreeScalingKeepsShortWavesDividesLongOnesAndBlendsBetween() {
        float[] scaled = frequencies(spec(LLAMA, """
                {'head_dim': 16, 'rope_scaling': {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0,
                 'high_freq_factor': 4.0, 'original_max_position_embeddings': 64}}"""));
        double[] plain = new double[8];
        for (int i = 0; i < 8; i++) {
            plain[i] = Math.pow(10_000, -i / 8.0);
        }
        // Wavelengths 2π, 19.9, 62.8, 199, …: below 64/4, between, between (just), above 64.
        assertEquals(plain[0], scaled[0], 1e-7);
        double blend = (64 / (2 * Math.PI / plain[1]) - 1) / 3;
        assertEquals((1 - blend) * plain[1] / 8 + blend * plain[1], scaled[1], 1e-7);
        assertEquals(plain[3] / 8, scaled[3], 1e-8);
        assertEquals(plain[7] / 8, scaled[7], 1e-9);
    }

    @ParameterizedTest
    @ValueSource(strings = {"yarn", "dynamic", "longrope", "su", "nonsense"})
    void anUnknownKindOfScalingIsRefusedByName(String type) {
        for (String key : List.of("type", "rope_type")) {
            InputException refused =
                    refused(LLAMA, "{'rope_scaling': {'%s': '%s', 'factor': 2.0}}".formatted(key, type));
            assertContains(refused, "rope_scaling." + key, type, "default, linear, llama3");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            quoteCharacter = '"',
            value = {
                "hidden_size; -32",
                "hidden_size; 0",
                "hidden_size; 1.0E30",
                "hidden_size; 99999999999999999999",
                "hidden_size; '32'",
                "hidden_size; 32.5",
                "hidden_size; [32]",
                "hidden_size; true",
                "intermediate_size; 0",
                "num_hidden_layers; -1",
                "num_hidden_layers; 1000000000",
                "num_attention_heads; 0",
                "num_attention_heads; 5",
                "num_attention_heads; 64",
                "num_key_value_heads; 3",
                "num_key_value_heads; 8",
                "head_dim; 7",
                "head_dim; -8",
                "vocab_size; 0",
                "max_position_embeddings; 0",
                "rms_norm_eps; -1.0E-5",
                "rms_norm_eps; 0",
                "rms_norm_eps; 7",
                "rms_norm_eps; 'tiny'",
                "rope_theta; 0",
                "rope_theta; -10000",
                "hidden_act; 'mish'",
                "hidden_act; 3",
                "attention_bias; 'no'",
                "tie_word_embeddings; 1",
                "rope_scaling; 'linear'",
                "partial_rotary_factor; 0.5",
            })
    void anAbsurdValueIsRefusedWithKeyValueAndFile(String key, String value) {
        InputException refused = refused(LLAMA, "{'%s': %s}".formatted(key, value));
        assertContains(refused, "some/config.json", key, value.replace('\'', '"'));
    }

    @ParameterizedTest
    @ValueSource(strings = {"NaN", "Infinity", "-Infinity"})
    void aNumberThatIsNoneIsRefused(String value) {
        ObjectNode config = config(LLAMA, "{}");
        config.put("rms_norm_eps", Double.parseDouble(value));
        ModelConfig read = ModelConfig.of(config, "some/config.json");
        assertContains(
                assertThrows(InputException.class, () -> ModelFamilies.of(read).spec(read)), "rms_norm_eps", value);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "vocab_size",
                "max_position_embeddings",
                "rms_norm_eps"
            })
    void aMissingNumberIsRefusedByName(String key) {
        ObjectNode config = config(LLAMA, "{}");
        config.remove(key);
        ModelConfig read = ModelConfig.of(config, "some/config.json");
        InputException refused =
                assertThrows(InputException.class, () -> ModelFamilies.of(read).spec(read));
        assertContains(refused, "some/config.json", key, "missing");
        config.putNull(key);
        assertContains(
                assertThrows(InputException.class, () -> ModelFamilies.of(read).spec(read)), key, "missing");
    }

    @ParameterizedTest
    @ValueSource(strings = {"mamba", "gpt2", "qwen3", "Llama", ""})
    void anotherModelTypeIsRefusedByNameWithTheKnownOnes(String type) {
        assertContains(
                refused(LLAMA, "{'model_type': '%s', 'architectures': ['LlamaForCausalLM']}".formatted(type)),
                "'" + type + "'",
                "llama, opt");
    }

    @Test
    void aConfigWithoutModelTypeIsRefusedWhateverItsArchitectures() {
        assertContains(
                refused(LLAMA, "{'model_type': null, 'architectures': ['LlamaForCausalLM']}"),
                "model_type",
                "missing",
                "llama, opt");
        assertThrows(InputException.class, () -> ModelFamilies.of(JSON.readTree("[]")));
        assertThrows(InputException.class, () -> ModelFamilies.of(JSON.createObjectNode()));
    }

    @Test
    void everyActivationNameOfPublishedModelsIsKnown() {
        assertEquals(Activation.RELU, activation("relu"));
        assertEquals(Activation.GELU, activation("gelu"));
        assertEquals(Activation.GELU_TANH, activation("gelu_new"));
        assertEquals(Activation.GELU_TANH, activation("gelu_pytorch_tanh"));
        assertEquals(Activation.SILU, activation("silu"));
        assertEquals(Activation.SILU, activation("swish"));
    }

    @Test
    void tokenIdsMayBeANumberAListOrNothing() {
        assertEquals(List.of(), ids("{}"));
        assertEquals(List.of(), ids("{'eos_token_id': null}"));
        assertEquals(List.of(2), ids("{'eos_token_id': 2}"));
        assertEquals(List.of(2, 426), ids("{'eos_token_id': [2, 426]}"));
        assertThrows(InputException.class, () -> ids("{'eos_token_id': '</s>'}"));
        assertThrows(InputException.class, () -> ids("{'eos_token_id': [2, 1.5]}"));
    }

    private static List<Integer> ids(String change) {
        return ModelConfig.of(config(LLAMA, change), "config.json").ids("eos_token_id");
    }

    private static Activation activation(String name) {
        return spec(OPT, "{'activation_function': '%s'}".formatted(name)).mlp().activation();
    }

    private static float[] frequencies(ModelSpec spec) {
        return ((Positions.Rotary) spec.positions()).inverseFrequencies();
    }

    private static InputException refused(String base, String change) {
        return assertThrows(InputException.class, () -> spec(base, change));
    }

    private static ModelSpec spec(String base, String change) {
        ModelConfig config = ModelConfig.of(config(base, change), "some/config.json");
        return ModelFamilies.of(config).spec(config);
    }

    private static ObjectNode config(String base, String change) {
        try {
            ObjectNode config = (ObjectNode) JSON.readTree(base);
            config.setAll((ObjectNode) JSON.readTree(change.replace('\'', '"')));
            return config;
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(change, e);
        }
    }

    private static void assertContains(InputException refused, String... parts) {
        for (String part : parts) {
            assertTrue(refused.getMessage().contains(part), () -> "no '" + part + "' in: " + refused.getMessage());
        }
        assertTrue(!refused.getMessage().contains("\n"), refused::getMessage);
    }
}
