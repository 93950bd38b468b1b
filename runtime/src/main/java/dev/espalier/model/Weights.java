package dev.espalier.model;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.model.ModelSpec.Positions;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// A checkpoint's tensors under the names that a family gives them, all shapes checked against the config.
final class Weights {
    private static final int NAMED = 3;

    private final Checkpoint checkpoint;
    private final ModelSpec spec;
    private final TensorNames names;
    private final String prefix;
    private final List<String> notices = new ArrayList<>();

    /// Finds the prefix, and checks that every tensor is there, has its shape, and that no unknown one is.
    ///
    /// @throws InputException naming the tensors that are missing, misshapen or unknown
    Weights(Checkpoint checkpoint, ModelSpec spec, TensorNames names) {
        this.checkpoint = checkpoint;
        this.spec = spec;
        this.names = names;
        this.prefix = names.prefixes().stream()
                .filter(candidate -> checkpoint.names().stream()
                        .anyMatch(name -> name.startsWith(candidate + names.block())
                                || name.startsWith(candidate + names.embedding())))
                .findFirst()
                .orElse(names.prefixes().getFirst());
        check();
    }

    /// What the user should know of how the checkpoint was read: sentences, usually none.
    List<String> notices() {
        return notices;
    }

    /// The embedding table `[vocabulary, width]`, of the type it is stored in.
    Tensor embedding() {
        return checkpoint.tensor(embeddingName());
    }

    /// The table of learned positions `[context + offset, hidden]`.
    Tensor positions() {
        return checkpoint.tensor(prefix + names.positions() + ".weight");
    }

    Tensor projectIn() {
        return checkpoint.tensor(prefix + names.projectIn() + ".weight");
    }

    Tensor projectOut() {
        return checkpoint.tensor(prefix + names.projectOut() + ".weight");
    }

    /// The head `[vocabulary, width]`; the embedding table where they are tied.
    Tensor head() {
        return spec.head().tied() ? embedding() : checkpoint.tensor(TensorNames.HEAD);
    }

    /// Bytes of all blocks' linear layers together, dense, in their stored types.
    long linearBytes() {
        long bytes = 0;
        for (int block = 0; block < spec.blocks(); block++) {
            for (Map.Entry<Projection, String> projection : names.projections().entrySet()) {
                int[] shape = shape(projection.getKey());
                String weight = name(block, projection.getValue()) + ".weight";
                bytes += (long) shape[0] * shape[1] * checkpoint.dtype(weight).bytes();
            }
        }
        return bytes;
    }

    /// The full name of a block's tensor: `of` is a leaf such as [TensorNames#attentionNorm].
    String name(int block, String of) {
        return prefix + names.block() + block + "." + of;
    }

    String lastNorm() {
        return prefix + names.lastNorm();
    }

    /// A norm's weight or a bias `[1, features]` as F32 in `arena`, so that it lives as long as that.
    Tensor vector(String name, Arena arena) {
        try (Arena scratch = Arena.ofConfined()) {
            Tensor stored = checkpoint.read(name, scratch);
            Tensor vector = Tensor.allocate(arena, DType.F32, stored.rows(), stored.columns());
            for (int i = 0; i < stored.columns(); i++) {
                vector.set(0, i, stored.get(0, i));
            }
            return vector;
        }
    }

    private String embeddingName() {
        String name = prefix + names.embedding() + ".weight";
        return spec.head().tied() && !checkpoint.has(name) ? TensorNames.HEAD : name;
    }

    private Map<String, int[]> expected() {
        Map<String, int[]> expected = new LinkedHashMap<>();
        int hidden = spec.hidden();
        int width = spec.embedding().width();
        expected.put(embeddingName(), new int[] {spec.vocabulary(), width});
        if (!spec.head().tied()) {
            expected.put(TensorNames.HEAD, new int[] {spec.vocabulary(), width});
        }
        if (spec.positions() instanceof Positions.Learned learned) {
            expected.put(prefix + names.positions() + ".weight", new int[] {spec.context() + learned.offset(), hidden});
        }
        if (spec.projectsEmbedding()) {
            expected.put(prefix + names.projectIn() + ".weight", new int[] {hidden, width});
            expected.put(prefix + names.projectOut() + ".weight", new int[] {width, hidden});
        }
        for (int block = 0; block < spec.blocks(); block++) {
            expectNorm(expected, name(block, names.attentionNorm()));
            for (Map.Entry<Projection, String> projection : names.projections().entrySet()) {
                int[] shape = shape(projection.getKey());
                String name = name(block, projection.getValue());
                expected.put(name + ".weight", shape);
                if (hasBias(projection.getKey())) {
                    expected.put(name + ".bias", new int[] {shape[0]});
                }
            }
            expectNorm(expected, name(block, names.mlpNorm()));
        }
        if (spec.norms().last()) {
            expectNorm(expected, lastNorm());
        }
        return expected;
    }

    private void expectNorm(Map<String, int[]> expected, String name) {
        if (spec.norms().weight()) {
            expected.put(name + ".weight", new int[] {spec.hidden()});
        }
        if (spec.norms().bias()) {
            expected.put(name + ".bias", new int[] {spec.hidden()});
        }
    }

    private int[] shape(Projection projection) {
        int hidden = spec.hidden();
        return switch (projection) {
            case Q -> new int[] {spec.attention().queryWidth(), hidden};
            case K, V -> new int[] {spec.attention().keyWidth(), hidden};
            case O -> new int[] {hidden, spec.attention().queryWidth()};
            case GATE, UP -> new int[] {spec.mlp().width(), hidden};
            case DOWN -> new int[] {hidden, spec.mlp().width()};
        };
    }

    /// Whether `projection` has a bias.
    boolean hasBias(Projection projection) {
        return switch (projection) {
            case Q, K, V -> spec.attention().inputBias();
            case O -> spec.attention().outputBias();
            case GATE, UP, DOWN -> spec.mlp().bias();
        };
    }

    private void check() {
        Map<String, int[]> expected = expected();
        List<String> missing = new ArrayList<>();
        List<String> wrong = new ArrayList<>();
        for (Map.Entry<String, int[]> tensor : expected.entrySet()) {
            String name = tensor.getKey();
            if (!checkpoint.has(name)) {
                missing.add(name + " " + Arrays.toString(tensor.getValue()));
            } else if (!Arrays.equals(checkpoint.shape(name), tensor.getValue())) {
                wrong.add("%s is %s, the config says %s"
                        .formatted(name, Arrays.toString(checkpoint.shape(name)), Arrays.toString(tensor.getValue())));
            }
        }
        List<String> unknown = checkpoint.names().stream()
                .filter(name -> !expected.containsKey(name) && !redundant(name))
                .toList();
        List<String> faults = new ArrayList<>();
        fault(faults, "missing: ", missing);
        fault(faults, "wrong shape: ", wrong);
        fault(faults, "not part of such a " + spec.family() + " model: ", unknown);
        if (!faults.isEmpty()) {
            throw new InputException("%s does not fit its config.json; tensors %s"
                    .formatted(ModelConfig.place(checkpoint), String.join("; ", faults)));
        }
        compareTied();
    }

    private static void fault(List<String> faults, String title, List<String> tensors) {
        if (!tensors.isEmpty()) {
            String more = tensors.size() > NAMED ? " and %d more".formatted(tensors.size() - NAMED) : "";
            faults.add(title + String.join(", ", tensors.subList(0, Math.min(NAMED, tensors.size()))) + more);
        }
    }

    /// Tensors that files carry though they say nothing: buffers that are computed from the config, and a tied head.
    private boolean redundant(String name) {
        return name.endsWith(".rotary_emb.inv_freq")
                || name.endsWith("decoder.version")
                || (spec.head().tied() && name.equals(TensorNames.HEAD));
    }

    private void compareTied() {
        if (!spec.head().tied()
                || !checkpoint.has(TensorNames.HEAD)
                || embeddingName().equals(TensorNames.HEAD)) {
            return;
        }
        boolean same = Arrays.equals(checkpoint.shape(TensorNames.HEAD), checkpoint.shape(embeddingName()))
                && checkpoint.dtype(TensorNames.HEAD) == checkpoint.dtype(embeddingName());
        if (same) {
            try (Arena scratch = Arena.ofConfined()) {
                Tensor head = checkpoint.read(TensorNames.HEAD, scratch);
                same = head.segment().mismatch(embedding().segment()) < 0;
            }
        }
        if (!same) {
            notices.add(
                    "%s holds a %s of its own beside %s, but tie_word_embeddings is true: the embedding is used for both"
                            .formatted(ModelConfig.place(checkpoint), TensorNames.HEAD, embeddingName()));
        }
    }
}
