package dev.espalier.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.tensor.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PrunePlanTest {
    @Test
    void defaultsAreTheBestMethodUnstructuredAtOneHalf() {
        PrunePlan plan = PrunePlan.of(null, null, null, null, false);
        assertEquals("alps", plan.solver().name());
        assertEquals("unstructured", plan.pattern().name());
        assertEquals(0.5, plan.sparsity());
        assertTrue(Double.isNaN(plan.damping()));
    }

    @Test
    void aPatternBringsItsSparsity() {
        assertEquals(0.75, PrunePlan.of("wanda", "1:4", null, null, false).sparsity());
        assertEquals(0.5, PrunePlan.of("wanda", "2:4", 0.5, null, false).sparsity());
        InputException refusal =
                assertThrows(InputException.class, () -> PrunePlan.of("wanda", "2:4", 0.7, null, false));
        assertTrue(refusal.getMessage().contains("2:4") && refusal.getMessage().contains("0.7"));
    }

    @ParameterizedTest
    @ValueSource(doubles = {-0.1, 1, 1.5, 50, Double.NaN, Double.POSITIVE_INFINITY})
    void sparsityOutsideZeroToOneIsRefused(double sparsity) {
        assertThrows(InputException.class, () -> PrunePlan.of(null, null, sparsity, null, false));
    }

    @ParameterizedTest
    @ValueSource(strings = {"-1", "NaN", "Infinity", "much", ""})
    void dampingIsANumberOrAuto(String damping) {
        assertThrows(InputException.class, () -> PrunePlan.of(null, null, null, damping, false));
    }

    @Test
    void automaticDampingGrowsWhereTokensAreFew() {
        PrunePlan plan = PrunePlan.of("sparsegpt", null, null, "auto", false);
        assertEquals(0.01, plan.dampingFor(768, 128 * 2048));
        assertEquals(0.01 * 32 * 512 / 8192, plan.dampingFor(512, 8192), 1e-12);
        assertEquals(1, plan.dampingFor(172, 16));
        assertEquals(0.01, PrunePlan.of("sparsegpt", null, null, null, true).dampingFor(172, 16));
        assertEquals(0.3, PrunePlan.of("sparsegpt", null, null, "0.3", false).dampingFor(172, 16));
        assertTrue(Double.isNaN(PrunePlan.of("wanda", null, null, null, false).dampingFor(172, 16)));
    }

    @Test
    void anUnknownMethodIsRefused() {
        assertThrows(InputException.class, () -> PrunePlan.of("obs", null, null, null, false));
    }
}
