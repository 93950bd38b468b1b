package dev.espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RandomCheckpointTest {
    /// Parameter counts of the published models (`opt-*` as transformers counts them, the tied head once).
    @ParameterizedTest
    @CsvSource({
        "llama-1b, 1100048384",
        "llama-7b, 6738415616",
        "llama-13b, 13015864320",
        "opt-125m, 125239296",
        "opt-1.3b, 1315758080",
        "opt-2.7b, 2651596800",
        "opt-6.7b, 6658473984",
        "opt-13b, 12853473280",
    })
    void shapesHaveThePublishedNumberOfWeights(String shape, long weights) {
        try (Checkpoint checkpoint = RandomCheckpoint.of(shape, DType.BF16, 1)) {
            assertEquals(weights * 2, checkpoint.bytes());
        }
    }

    @Test
    void llama3bHasTheShapeThatTheCommandLineDocuments() {
        try (Checkpoint checkpoint = RandomCheckpoint.of("llama-3b", DType.BF16, 1)) {
            assertEquals(8640, checkpoint.shape("model.layers.25.mlp.up_proj.weight")[0]);
            assertEquals(3200, checkpoint.shape("model.layers.25.mlp.up_proj.weight")[1]);
        }
    }

    @Test
    void equalSeedsGiveEqualWeightsAndOtherSeedsOthers() {
        String name = "model.layers.3.self_attn.k_proj.weight";
        try (Checkpoint one = RandomCheckpoint.of("llama-1b", DType.BF16, 7);
                Checkpoint same = RandomCheckpoint.of("llama-1b", DType.BF16, 7);
                Checkpoint other = RandomCheckpoint.of("llama-1b", DType.BF16, 8)) {
            Tensor k = one.tensor(name);
            assertEquals(-1, k.segment().mismatch(same.tensor(name).segment()));
            assertNotEquals(-1, k.segment().mismatch(other.tensor(name).segment()));
            assertNotEquals(
                    -1,
                    k.segment()
                            .mismatch(one.tensor("model.layers.3.self_attn.v_proj.weight")
                                    .segment()));
        }
    }

    @Test
    void weightsAreNormalWithTheUsualDeviationAndNormsAreOne() {
        for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16}) {
            try (Checkpoint checkpoint = RandomCheckpoint.of("opt-125m", dtype, 1)) {
                Tensor q = checkpoint.tensor("model.decoder.layers.0.self_attn.q_proj.weight");
                double sum = 0;
                double squares = 0;
                for (float value : q.toFloats()) {
                    sum += value;
                    squares += (double) value * value;
                }
                // 589824 samples: the mean is within 5 standard errors of 0, the deviation within 1 %.
                assertEquals(0, sum / q.size(), 5 * 0.02 / Math.sqrt((double) q.size()));
                assertEquals(0.02, Math.sqrt(squares / q.size()), 0.0002);
                assertEquals(
                        1f,
                        checkpoint
                                .tensor("model.decoder.layers.0.self_attn_layer_norm.weight")
                                .get(0, 700));
            }
        }
    }

    @Test
    void anUnknownShapeIsRefusedWithTheKnownOnes() {
        InputException e = assertThrows(InputException.class, () -> RandomCheckpoint.of("llama-9b", DType.BF16, 1));
        assertTrue(e.getMessage().contains("llama-9b") && e.getMessage().contains("opt-13b"), e.getMessage());
    }
}
