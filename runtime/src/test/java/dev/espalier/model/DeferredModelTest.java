package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.format.Bitmask;
import dev.espalier.kernels.format.Dense;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelRuns;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// A model whose weights are read from the file first and packed later gives the same logits, bit by bit, all the time.
class DeferredModelTest {
    private static final Path FAMILIES = Path.of("src/test/resources/families");
    private static final FormatChoice DEFERRED = Dense.deferring(weight -> Dense.tiled());
    private static final int[] IDS = {5, 17, 3, 90, 41};

    @BeforeEach
    void vectors() {
        assumeTrue(VectorCheck.compiled(), "vectors: they are not compiled here");
    }

    private static Checkpoint checkpoint(String family) {
        return Checkpoint.open(FAMILIES.resolve(family));
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama-gqa-tied", "llama-bf16", "llama-f16", "opt-preln"})
    void logitsAreTheSameBeforeAndAfterPacking(String family) {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = checkpoint(family);
                Model packed = Model.load(checkpoint, backend, weight -> Dense.tiled());
                Model model = Model.load(checkpoint, backend, DEFERRED)) {
            assertFalse(packed.defers());
            assertTrue(model.defers());
            model.touchDeferred(() -> false);
            for (int chunk : new int[] {1, IDS.length}) {
                assertArrayEquals(ModelRuns.logits(packed, IDS, chunk), ModelRuns.logits(model, IDS, chunk));
            }
            model.packOne();
            model.packSome();
            assertArrayEquals(ModelRuns.logits(packed, IDS, 1), ModelRuns.logits(model, IDS, 1));
            while (model.defers()) {
                model.packSome();
            }
            for (int chunk : new int[] {1, IDS.length}) {
                assertArrayEquals(ModelRuns.logits(packed, IDS, chunk), ModelRuns.logits(model, IDS, chunk));
            }
        }
    }

    static Stream<String> families() throws Exception {
        try (Stream<Path> folders = Files.list(FAMILIES)) {
            return folders.map(folder -> folder.getFileName().toString()).sorted().toList().stream();
        }
    }

    @ParameterizedTest
    @MethodSource("families")
    void everyFamilyCanBeRehearsedWhichChangesNothing(String family) {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = checkpoint(family);
                Model model = Model.load(checkpoint, backend, DEFERRED)) {
            float[] before = ModelRuns.logits(model, IDS, 1);
            model.rehearse();
            assertArrayEquals(before, ModelRuns.logits(model, IDS, 1));
        }
    }

    @Test
    void aSparseModelIsRehearsedInItsOwnFormat() {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = checkpoint("llama-gqa-tied");
                Model model = Model.load(checkpoint, backend, Dense.deferring(weight -> Bitmask.of()))) {
            assertFalse(model.defers());
            model.rehearse();
        }
    }

    @Test
    void aModelThatIsClosedWhileItIsPackedEndsThePacking() throws Exception {
        for (int round = 0; round < 20; round++) {
            AtomicReference<Throwable> failure = new AtomicReference<>();
            Thread packing;
            try (Backend backend = Backends.cpu();
                    Checkpoint checkpoint = checkpoint("llama-gqa-tied");
                    Model model = Model.load(checkpoint, backend, DEFERRED)) {
                packing = new Thread(() -> {
                    while (model.defers()) {
                        model.packOne();
                    }
                });
                packing.setUncaughtExceptionHandler((thread, e) -> failure.set(e));
                packing.start();
            }
            packing.join();
            assertNull(failure.get());
        }
    }
}
