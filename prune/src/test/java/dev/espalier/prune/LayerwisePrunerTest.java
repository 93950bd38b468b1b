package dev.espalier.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.model.Workspace;
import dev.espalier.prune.calibrate.BlockWalk;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.calibrate.CalibrationData.Order;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.prune.solver.LayerProblem;
import dev.espalier.prune.solver.Solver;
import dev.espalier.prune.solver.Solvers;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class LayerwisePrunerTest {
    private static final List<String> FAMILIES = List.of(
            "llama-mha", "llama-gqa-tied", "llama-bias", "opt-preln", "opt-350m-style", "llama-bf16", "llama-f16");

    /// Keeps what it is given, and gives back the blocks it is told to.
    private static final class Kept implements PruneSink {
        private final Map<String, Done> layers = new HashMap<>();
        private final List<Integer> blocks = new ArrayList<>();
        private Map<String, Done> earlier = Map.of();

        @Override
        public void layer(LayerReport report, Tensor weight) {
            layers.put(report.name(), new Done(weight, report));
        }

        @Override
        public void blockDone(int block) {
            blocks.add(block);
        }

        @Override
        public Optional<Done> done(String name) {
            return Optional.ofNullable(earlier.get(name));
        }
    }

    static Stream<Arguments> familiesAndSolvers() {
        return FAMILIES.stream()
                .flatMap(family -> Solvers.all().stream().map(solver -> Arguments.of(family, solver.name())));
    }

    static Stream<String> solvers() {
        return Solvers.all().stream().map(Solver::name);
    }

    static Stream<String> solversOfData() {
        return Solvers.all().stream().filter(Solver::usesData).map(Solver::name);
    }

    private static CalibrationData data(Model model, int samples, int seqLen) {
        int[] tokens = TestModels.tokens(samples * seqLen * 2, model.spec().vocabulary(), 4);
        return CalibrationData.ofTokens("random", tokens, new Request(samples, seqLen, 0, Order.CONSECUTIVE));
    }

    private static PrunePlan plan(String method, String pattern, Double sparsity) {
        return PrunePlan.of(method, pattern, sparsity, null, false);
    }

    private static PruneReport prune(Model model, PrunePlan plan, CalibrationData data, PruneSink sink) {
        return new LayerwisePruner(plan, TestModels.DENSE, sink, 2).prune(model, data, PruneListener.NONE);
    }

    private static Tensor weight(Block block, Projection projection) {
        Tensor weight = Tensor.allocate(
                Arena.ofAuto(),
                DType.F32,
                block.linear(projection).rows(),
                block.linear(projection).columns());
        block.linear(projection).unpack(weight);
        return weight;
    }

    private static long zeros(Tensor weight) {
        long zeros = 0;
        for (float value : weight.toFloats()) {
            assertTrue(Float.isFinite(value));
            zeros += value == 0 ? 1 : 0;
        }
        return zeros;
    }

    private static Map<String, float[]> weights(Model model) {
        Map<String, float[]> weights = new HashMap<>();
        for (Block block : model.blocks()) {
            for (Projection projection : block.projections()) {
                weights.put(
                        block.weightName(projection), weight(block, projection).toFloats());
            }
        }
        return weights;
    }

    private static void assertSameWeights(Map<String, float[]> expected, Map<String, float[]> actual) {
        assertEquals(expected.keySet(), actual.keySet());
        expected.forEach((name, values) -> assertArrayEquals(values, actual.get(name), name));
    }

    @ParameterizedTest
    @MethodSource("familiesAndSolvers")
    void everyLayerHasItsZerosAndTheReportSaysSo(String family, String solver) {
        try (CpuBackend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.family(family), backend)) {
            Map<String, float[]> dense = weights(model);
            Kept kept = new Kept();
            PruneReport report = prune(model, plan(solver, null, 0.6), data(model, 8, 32), kept);
            int layers = 0;
            long weights = 0;
            for (Block block : model.blocks()) {
                for (Projection projection : block.projections()) {
                    LayerReport layer = report.layers().get(layers++);
                    Tensor pruned = weight(block, projection);
                    assertEquals(block.weightName(projection), layer.name());
                    assertEquals(Math.round(0.6 * pruned.size()), zeros(pruned), layer.name());
                    assertEquals(zeros(pruned), layer.zeros());
                    assertTrue(layer.relativeError() > 0 && layer.relativeError() < 1, layer.toString());
                    assertTrue(layer.heldOutError() > 0 && layer.heldOutError() < 1.5, layer.toString());
                    weights += pruned.size();
                    Tensor sunk = kept.layers.get(layer.name()).weight();
                    assertEquals(block.linear(projection).dtype(), sunk.dtype());
                    assertArrayEquals(pruned.toFloats(), sunk.toFloats());
                    if (!Solvers.named(solver).updatesWeights()) {
                        float[] before = dense.get(layer.name());
                        float[] after = pruned.toFloats();
                        for (int i = 0; i < after.length; i++) {
                            assertTrue(after[i] == 0 || after[i] == before[i]);
                        }
                    }
                }
            }
            assertEquals(layers, report.layers().size());
            assertEquals(weights, report.weights());
            assertEquals(IntStream.range(0, model.spec().blocks()).boxed().toList(), kept.blocks);
        }
    }

    /// Groups run along the inputs: K is [24, 48] and DOWN [48, 112] here.
    @ParameterizedTest
    @MethodSource("solvers")
    void everyMethodKeepsNOfMAlongTheInputs(String solver) {
        for (String pattern : List.of("2:4", "1:4", "3:8")) {
            try (CpuBackend backend = new CpuBackend(2);
                    Model model = TestModels.load(TestModels.family("llama-gqa-tied"), backend)) {
                PruneReport report = prune(model, plan(solver, pattern, null), data(model, 4, 32), PruneSink.NONE);
                NOfM group = NOfM.parse(pattern);
                assertEquals(group.sparsity(), report.sparsity(), 1e-12);
                for (Block block : model.blocks()) {
                    for (Projection projection : block.projections()) {
                        Tensor w = weight(block, projection);
                        for (int r = 0; r < w.rows(); r++) {
                            for (int at = 0; at < w.columns(); at += group.m()) {
                                int kept = 0;
                                for (int c = at; c < at + group.m(); c++) {
                                    kept += w.get(r, c) != 0 ? 1 : 0;
                                }
                                assertEquals(group.n(), kept);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The statistics of block b come from pruned blocks before it and b's own dense layers.
    @ParameterizedTest
    @MethodSource("solversOfData")
    void eachBlockSeesWhatThePrunedOnesBeforeItMakeOfTheWindows(String method) {
        Solver solver = Solvers.named(method);
        try (CpuBackend backend = new CpuBackend(2);
                Workers workers = new Workers(2);
                Scratch memory = new Scratch();
                Model model = TestModels.load(TestModels.family("llama-bias"), backend);
                Model whole = TestModels.load(TestModels.family("llama-bias"), backend)) {
            CalibrationData data = data(model, 4, 32);
            PrunePlan plan = plan(method, null, 0.5);
            prune(whole, plan, data, PruneSink.NONE);
            for (int b = 0; b < model.blocks().size(); b++) {
                try (BlockWalk walk = new BlockWalk(model, data, memory)) {
                    for (Block before : model.blocks().subList(0, b)) {
                        walk.advance(before, () -> {});
                    }
                    Block block = model.blocks().get(b);
                    try (BlockWalk.Statistics statistics = walk.capture(block, () -> {})) {
                        for (Projection projection : block.projections()) {
                            Tensor w = weight(block, projection);
                            solver.solve(new LayerProblem(
                                    "here",
                                    w,
                                    statistics.calibration().get(projection.site()),
                                    plan.pattern(),
                                    0.5,
                                    plan.dampingFor(w.columns(), data.tokens()),
                                    false,
                                    backend.algebra(),
                                    workers,
                                    memory));
                            assertArrayEquals(
                                    weight(whole.blocks().get(b), projection).toFloats(),
                                    w.toFloats(),
                                    block.weightName(projection));
                            block.swap(projection, backend.linear(w, TestModels.DENSE.choose(w)));
                        }
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("solvers")
    void theResultIsTheSameForAnyNumberOfThreads(String solver) {
        List<Map<String, float[]>> results = new ArrayList<>();
        for (int threads : new int[] {1, 3}) {
            try (CpuBackend backend = new CpuBackend(threads);
                    Model model = TestModels.load(TestModels.family("llama-gqa-tied"), backend)) {
                new LayerwisePruner(plan(solver, null, 0.5), TestModels.DENSE, PruneSink.NONE, threads)
                        .prune(model, data(model, 4, 32), PruneListener.NONE);
                results.add(weights(model));
            }
        }
        assertSameWeights(results.get(0), results.get(1));
    }

    @Test
    void magnitudeNeedsNoTextAndTheOthersSayThatTheyDo() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("opt-preln"), backend)) {
            PruneReport report = prune(model, plan("magnitude", null, 0.5), null, PruneSink.NONE);
            assertTrue(report.layers().stream().allMatch(layer -> Double.isNaN(layer.relativeError())));
            assertTrue(report.toJson(null).at("/layers/0/relative_error").isNull());
            InputException refusal = assertThrows(
                    InputException.class, () -> prune(model, plan("wanda", null, 0.5), null, PruneSink.NONE));
            assertTrue(refusal.getMessage().contains("wanda"));
        }
    }

    @Test
    void embeddingsHeadNormsAndProjectionsAreNoLayers() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("opt-350m-style"), backend)) {
            PruneReport report = prune(model, plan("magnitude", null, 0.5), null, PruneSink.NONE);
            assertEquals(3 * 6, report.layers().size());
            for (LayerReport layer : report.layers()) {
                assertTrue(layer.name().matches(".*layers\\.\\d\\.(self_attn\\.(q|k|v|out)_proj|fc[12])\\.weight"));
            }
        }
    }

    @Test
    void columnsThatDoNotDivideAreNamedBeforeAnyWork() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            Map<String, float[]> before = weights(model);
            InputException refusal = assertThrows(
                    InputException.class, () -> prune(model, plan("magnitude", "9:32", null), null, PruneSink.NONE));
            assertTrue(refusal.getMessage().contains("48 columns are not a multiple of 32"), refusal.getMessage());
            assertTrue(refusal.getMessage().contains("q_proj"), refusal.getMessage());
            assertSameWeights(before, weights(model));
        }
    }

    @Test
    void windowsThatDoNotFitTheModelAreRefused() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            PrunePlan plan = plan("wanda", null, 0.5);
            assertTrue(assertThrows(InputException.class, () -> prune(model, plan, data(model, 2, 65), PruneSink.NONE))
                    .getMessage()
                    .contains("context of 64"));
            int[] tokens = TestModels.tokens(64, 300, 1);
            tokens[40] = 307;
            CalibrationData foreign = CalibrationData.ofTokens("t", tokens, new Request(2, 32, 0, Order.CONSECUTIVE));
            assertTrue(assertThrows(InputException.class, () -> prune(model, plan, foreign, PruneSink.NONE))
                    .getMessage()
                    .contains("307"));
        }
    }

    /// Of the second run only the last block is computed; the result is that of the first.
    @ParameterizedTest
    @MethodSource("solversOfData")
    void takingOverAnEarlierRunsBlocksGivesTheSameWeights(String solver) {
        PrunePlan plan = plan(solver, null, 0.5);
        Kept first = new Kept();
        Map<String, float[]> expected;
        try (CpuBackend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.family("llama-bias"), backend)) {
            prune(model, plan, data(model, 4, 32), first);
            expected = weights(model);
        }
        Kept second = new Kept();
        second.earlier = new HashMap<>(first.layers);
        second.earlier.keySet().removeIf(name -> name.contains("layers.2.") || name.contains("layers.1.self_attn.v"));
        assertEquals(13, second.earlier.size());
        try (CpuBackend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.family("llama-bias"), backend)) {
            PruneReport report = prune(model, plan, data(model, 4, 32), second);
            assertSameWeights(expected, weights(model));
            assertEquals(3 * 7, report.layers().size());
            assertEquals(List.of(1, 2), second.blocks);
        }
    }

    @Test
    void aListenerHearsOfProgressAndCanStopIt() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            List<PruneListener.Progress> heard = new ArrayList<>();
            List<LayerReport> layers = new ArrayList<>();
            PruneListener listener = new PruneListener() {
                @Override
                public void progress(Progress progress) {
                    heard.add(progress);
                }

                @Override
                public void layer(LayerReport layer) {
                    layers.add(layer);
                }
            };
            new LayerwisePruner(plan("wanda", null, 0.5), TestModels.DENSE, PruneSink.NONE, 1)
                    .prune(model, data(model, 2, 16), listener);
            assertEquals(21, layers.size());
            double last = 0;
            for (PruneListener.Progress progress : heard) {
                assertTrue(progress.fraction() >= last && progress.fraction() <= 1);
                last = progress.fraction();
            }
            assertEquals(1, last, 1e-9);
            assertEquals(0, heard.getLast().secondsLeft(), 1e-9);
            assertTrue(heard.get(heard.size() / 2).secondsLeft() > 0);

            PruneListener stop = new PruneListener() {
                @Override
                public boolean cancelled() {
                    return true;
                }
            };
            assertThrows(
                    CancellationException.class,
                    () -> new LayerwisePruner(plan("wanda", null, 0.5), TestModels.DENSE, PruneSink.NONE, 1)
                            .prune(model, data(model, 2, 16), stop));
        }
    }

    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
    void brokenWeightsAreNamedWithBlockAndProjection(float bad) {
        Map<String, byte[]> files = TestModels.files(TestModels.family("llama-mha"));
        TestModels.set(files.get("model.safetensors"), "model.layers.1.self_attn.o_proj.weight", 77, bad);
        for (Solver solver : Solvers.all()) {
            try (CpuBackend backend = new CpuBackend(1);
                    Checkpoint checkpoint = Checkpoint.of("broken", files);
                    Model model = Model.load(checkpoint, backend, TestModels.DENSE)) {
                PruneException failure = assertThrows(
                        PruneException.class,
                        () -> prune(model, plan(solver.name(), null, 0.5), data(model, 2, 16), PruneSink.NONE));
                assertTrue(failure.getMessage().startsWith("block 1, projection O"), failure.getMessage());
                assertTrue(failure.getMessage().contains("row 1, column 29"), failure.getMessage());
            }
        }
    }

    @ParameterizedTest
    @MethodSource("solversOfData")
    void brokenActivationsAreNamedWithBlockProjectionAndSolver(String solver) {
        Map<String, byte[]> files = TestModels.files(TestModels.family("llama-mha"));
        TestModels.set(files.get("model.safetensors"), "model.layers.2.input_layernorm.weight", 7, Float.NaN);
        try (CpuBackend backend = new CpuBackend(1);
                Checkpoint checkpoint = Checkpoint.of("broken", files);
                Model model = Model.load(checkpoint, backend, TestModels.DENSE)) {
            PruneException failure = assertThrows(
                    PruneException.class,
                    () -> prune(model, plan(solver, null, 0.5), data(model, 2, 16), PruneSink.NONE));
            assertTrue(failure.getMessage().startsWith("block 2, projection Q, " + solver), failure.getMessage());
        }
    }

    /// 16 tokens, 112 features.
    @Test
    void fewerTokensThanFeaturesAreEnoughAndTheReportSaysThatDampingGrew() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            PruneReport report = prune(model, plan("sparsegpt", null, 0.5), data(model, 1, 16), PruneSink.NONE);
            for (LayerReport layer : report.layers()) {
                assertTrue(layer.damping() > 0.01, layer.toString());
                assertNotNull(layer.note());
                assertTrue(layer.note().contains("damping"), layer.note());
                assertEquals(0.5, layer.sparsity(), 0.5 / ((double) layer.rows() * layer.cols()) + 1e-12);
            }
        }
    }

    /// fc1's row 5 is zero and its bias -1, so ReLU makes input 5 of fc2 zero always; on so few tokens other inputs of fc2
    /// may be.
    @ParameterizedTest
    @MethodSource("solvers")
    void aDeadInputIsNoObstacle(String solver) {
        Map<String, byte[]> files = TestModels.files(TestModels.family("opt-preln"));
        String fc1 = "model.decoder.layers.0.fc1.";
        for (int c = 0; c < 48; c++) {
            TestModels.set(files.get("model.safetensors"), fc1 + "weight", 5 * 48 + c, c % 2 == 0 ? 0f : -0f);
        }
        TestModels.set(files.get("model.safetensors"), fc1 + "bias", 5, -1);
        for (String pattern : List.of("unstructured", "2:4")) {
            try (CpuBackend backend = new CpuBackend(1);
                    Checkpoint checkpoint = Checkpoint.of("dead", files);
                    Model model = Model.load(checkpoint, backend, TestModels.DENSE);
                    Workspace workspace = model.newWorkspace(16)) {
                PruneReport report = prune(
                        model, PrunePlan.of(solver, pattern, null, null, false), data(model, 8, 32), PruneSink.NONE);
                for (LayerReport layer : report.layers()) {
                    long half = (long) layer.rows() * layer.cols() / 2;
                    boolean touched = layer.projection().equals("DOWN")
                            || layer.block() == 0 && layer.projection().equals("UP");
                    assertTrue(touched ? layer.zeros() >= half : layer.zeros() == half, layer.toString());
                }
                for (float logit : model.run(TestModels.tokens(16, 307, 2), 0, 16, null, workspace)
                        .toFloats()) {
                    assertTrue(Float.isFinite(logit));
                }
            }
        }
    }

    /// 0.7 of all weights, not of what the first run left.
    @ParameterizedTest
    @ValueSource(strings = {"pcg", "backsolve", "swap"})
    void refinementsLowerEachLayersErrorAndKeepItsZeros(String refinement) {
        List<PruneReport> reports = new ArrayList<>();
        for (String refine : List.of("none", refinement)) {
            try (CpuBackend backend = new CpuBackend(2);
                    Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
                PrunePlan plan = PrunePlan.of("magnitude", "2:4", null, null, false, refine);
                reports.add(prune(model, plan, data(model, 8, 32), PruneSink.NONE));
                assertEquals(
                        refine, reports.getLast().toJson("x").path("refine").asText());
            }
        }
        LayerReport before = reports.get(0).layers().getFirst();
        LayerReport after = reports.get(1).layers().getFirst();
        assertTrue(after.relativeError() < 0.95 * before.relativeError(), before + " " + after);
        assertEquals(reports.get(0).zeros(), reports.get(1).zeros());
    }

    @Test
    void aRefinementNeedsTextAndSaysSo() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            PrunePlan plan = PrunePlan.of("magnitude", null, null, null, false, "pcg");
            InputException refusal = assertThrows(InputException.class, () -> prune(model, plan, null, PruneSink.NONE));
            assertEquals("refine pcg needs calibration text", refusal.getMessage());
        }
    }

    /// 16 tokens for 64 features or more, and hardly any damping: the solver fits the sample.
    @Test
    void anErrorThatHoldsForTheSampleOnlyIsPointedOut() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            PrunePlan plan = PrunePlan.of("sparsegpt", null, 0.5, "0.001", false);
            PruneReport report = prune(model, plan, data(model, 1, 16), PruneSink.NONE);
            LayerReport first = report.layers().getFirst();
            assertTrue(first.heldOutError() > 1.25 * first.relativeError(), first.toString());
            assertTrue(first.note().contains("held-out"), first.note());
        }
    }

    @ParameterizedTest
    @MethodSource("solvers")
    void pruningOnceMoreCountsTheOldZeros(String solver) {
        try (CpuBackend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            CalibrationData data = data(model, 8, 32);
            prune(model, plan(solver, null, 0.5), data, PruneSink.NONE);
            Map<String, float[]> half = weights(model);
            PruneReport report = prune(model, plan(solver, null, 0.7), data, PruneSink.NONE);
            assertEquals(0.7, report.sparsity(), 1e-3);
            if (!Solvers.named(solver).updatesWeights()) {
                weights(model).forEach((name, values) -> {
                    for (int i = 0; i < values.length; i++) {
                        assertTrue(half.get(name)[i] != 0 || values[i] == 0);
                    }
                });
            }
        }
    }

    @Test
    void sparsityZeroChangesNothing() {
        for (Solver solver : Solvers.all()) {
            try (CpuBackend backend = new CpuBackend(1);
                    Model model = TestModels.load(TestModels.family("llama-bf16"), backend)) {
                Map<String, float[]> before = weights(model);
                PruneReport report = prune(model, plan(solver.name(), null, 0.0), data(model, 2, 16), PruneSink.NONE);
                assertSameWeights(before, weights(model));
                assertEquals(0, report.layers().getFirst().relativeError());
            }
        }
    }

    /// The dry run's figure is within a fifth of what was held; both leave the model itself out.
    @ParameterizedTest
    @MethodSource("solvers")
    void theNeedSaidBeforehandIsWhatIsHeldThen(String solver) {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            CalibrationData data = data(model, 8, 32);
            PrunePlan plan = plan(solver, null, 0.5);
            PruneNeed need = PruneNeed.of(
                    model, plan, data.windows().size(), data.heldOut().size(), data.seqLen());
            PruneReport report = prune(model, plan, data, PruneSink.NONE);
            assertEquals((double) report.peakBytes(), (double) need.peakBytes(), 0.2 * report.peakBytes());
            assertEquals(report.layers().size(), need.layers().size());
            assertEquals(0, need.fileBytes());
            assertTrue(need.multiplications() > 0);
        }
    }

    @Test
    void theJsonHasTheFieldsThatScriptsRelyOn() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            CalibrationData data = data(model, 3, 16);
            JsonNode json = prune(model, plan("wanda", "2:4", null), data, PruneSink.NONE)
                    .toJson("out/dir");
            for (String field : List.of(
                    "model",
                    "method",
                    "pattern",
                    "sparsity",
                    "allocation",
                    "rows",
                    "calibration",
                    "layers",
                    "total",
                    "out")) {
                assertTrue(json.has(field), field);
            }
            assertEquals("2:4", json.get("pattern").asText());
            assertEquals("wanda", json.get("method").asText());
            assertEquals(0.5, json.get("sparsity").asDouble());
            assertEquals("out/dir", json.get("out").asText());
            assertEquals(3, json.at("/calibration/samples").asInt());
            assertEquals(16, json.at("/calibration/seq_len").asInt());
            assertEquals("random", json.at("/calibration/source").asText());
            assertEquals(0, json.at("/calibration/seed").asInt(-1));
            JsonNode layer = json.at("/layers/6");
            assertEquals(
                    "model.layers.0.mlp.down_proj.weight", layer.get("name").asText());
            assertEquals(48, layer.get("rows").asInt());
            assertEquals(112, layer.get("cols").asInt());
            assertEquals(0.5, layer.get("sparsity").asDouble());
            double error = layer.get("relative_error").asDouble();
            assertEquals(error * error, layer.get("relative_error_squared").asDouble(), 1e-15);
            assertTrue(layer.get("heldout_error").isNumber()
                    && layer.get("seconds").isNumber());
            JsonNode total = json.get("total");
            assertEquals(total.get("weights").asLong(), 2 * total.get("zeros").asLong());
            for (String field : List.of("sparsity", "seconds", "peak_bytes")) {
                assertTrue(total.get(field).isNumber());
            }
            LayerReport read = LayerReport.of(layer);
            assertEquals(layer, read.toJson());
            assertNull(read.note());
            assertFalse(json.toString().contains("NaN"));
        }
    }

    @Test
    void withoutMoreTextThereIsNoHeldOutError() {
        try (CpuBackend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
            int[] tokens = TestModels.tokens(64, 300, 1);
            CalibrationData data = CalibrationData.ofTokens("t", tokens, new Request(4, 16, 0, Order.CONSECUTIVE));
            JsonNode json =
                    prune(model, plan("wanda", null, 0.5), data, PruneSink.NONE).toJson(null);
            assertTrue(json.at("/layers/0/heldout_error").isNull());
            assertTrue(json.at("/layers/0/relative_error").isNumber());
            assertTrue(json.get("out").isNull());
        }
    }
}
