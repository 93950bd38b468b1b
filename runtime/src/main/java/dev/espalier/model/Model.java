package dev.espalier.model;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.DeferredLinear;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.ModelSpec.Positions;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BooleanSupplier;

/// A decoder that can run: embedding, blocks, final norm, head.
///
/// Immutable while it serves, but for [Block#swap]. What changes lives in the [KvCache] of a sequence and in the
/// [Workspace] of whoever runs a pass; one pass at a time, as the backend demands.
public final class Model implements AutoCloseable {
    private static final long TOUCHED_BYTES = 1 << 20;

    private final ModelSpec spec;
    private final Checkpoint checkpoint;
    private final Backend backend;
    private final List<String> notices;
    private final Set<Integer> endOfSequence;
    private final List<Block> blocks = new ArrayList<>();
    private final List<Tensor> uploaded = new ArrayList<>();
    private final List<Arena> arenas = new ArrayList<>();
    private final Tensor embedding;
    private final Tensor positions;
    private final Linear projectIn;
    private final Linear projectOut;
    private final Block.NormWeights lastNorm;
    private final Linear head;
    /// What is still to be packed, and the memory that it is read from.
    private final Map<DeferredLinear, MemorySegment> deferred = new LinkedHashMap<>();

    /// The type of the blocks' matrices as the checkpoint has them.
    private DType linearType;

    private boolean closed;

    private Model(Checkpoint checkpoint, Backend backend, FormatChoice formats, WeightFormat headFormat) {
        ModelConfig config = ModelConfig.of(checkpoint);
        ModelFamily family = ModelFamilies.of(config);
        this.spec = family.spec(config);
        this.checkpoint = checkpoint;
        this.backend = backend;
        this.endOfSequence = new TreeSet<>(config.ids("eos_token_id"));
        endOfSequence.addAll(
                ModelConfig.of(checkpoint.generationConfig(), ModelConfig.fileOf(checkpoint, "generation_config.json"))
                        .ids("eos_token_id"));
        Weights weights = new Weights(checkpoint, spec, family.names());
        this.notices = List.copyOf(weights.notices());
        Arena small = Arena.ofShared();
        arenas.add(small);
        try {
            embedding = upload(weights.embedding());
            positions = spec.positions() instanceof Positions.Learned ? upload(weights.positions()) : null;
            projectIn = spec.projectsEmbedding() ? backend.linear(weights.projectIn(), Dense.mapped()) : null;
            projectOut = spec.projectsEmbedding() ? backend.linear(weights.projectOut(), Dense.mapped()) : null;
            formats.expect(weights.linearBytes() + weights.head().bytes());
            for (int i = 0; i < spec.blocks(); i++) {
                blocks.add(block(i, weights, family.names(), small, formats));
            }
            lastNorm = spec.norms().last() ? norm(weights, weights.lastNorm(), small) : null;
            WeightFormat heads = headFormat == null ? aroundBlocks() : headFormat;
            head = backend.linear(weights.head(), heads);
            if (!keeps(head, weights.head(), heads)) {
                Memory.giveUp(weights.head().segment());
            }
        } catch (RuntimeException | Error e) {
            release();
            throw e;
        }
    }

    /// Builds the decoder of `checkpoint` on `backend`, each linear layer of its blocks in the format that `formats`
    /// chooses. The head is dense: in the checkpoint's own memory where the blocks are, else in tiles.
    ///
    /// Neither `checkpoint` nor `backend` is closed with the model, and both must outlive it.
    ///
    /// @throws InputException if the config or a tensor cannot be used
    public static Model load(Checkpoint checkpoint, Backend backend, FormatChoice formats) {
        return new Model(checkpoint, backend, formats, null);
    }

    /// The same with the head in the format `head`, which may be one that rounds: the head is never pruned, and with sparse
    /// blocks soon most of what a token reads.
    public static Model load(Checkpoint checkpoint, Backend backend, FormatChoice formats, WeightFormat head) {
        return new Model(checkpoint, backend, formats, head);
    }

    public ModelSpec spec() {
        return spec;
    }

    public Checkpoint checkpoint() {
        return checkpoint;
    }

    public Backend backend() {
        return backend;
    }

    public List<Block> blocks() {
        return List.copyOf(blocks);
    }

    /// What a user should know of how the checkpoint was read: sentences, usually none.
    public List<String> notices() {
        return notices;
    }

    /// The token ids that end a text: `eos_token_id` of `config.json` and of `generation_config.json` together.
    public Set<Integer> endOfSequence() {
        return Set.copyOf(endOfSequence);
    }

    /// Bytes that one decoded token reads: every weight but the embedding's other rows.
    public long weightBytes() {
        long bytes = linearBytes() + head.bytes();
        for (Linear projection : new Linear[] {projectIn, projectOut}) {
            bytes += projection == null ? 0 : projection.bytes();
        }
        for (Tensor tensor : uploaded) {
            boolean table = tensor == embedding || tensor == positions;
            bytes += table ? (long) tensor.columns() * tensor.dtype().bytes() : tensor.bytes();
        }
        return bytes;
    }

    /// Bytes that one decoded token reads of the blocks' linear layers alone: what pruning shrinks.
    public long linearBytes() {
        long bytes = 0;
        for (Block block : blocks) {
            for (Block.Layer layer : block.layers().values()) {
                bytes += layer.linear().bytes();
            }
        }
        return bytes;
    }

    /// Memory for one sequence, with room for `capacity` tokens to begin with; it grows as tokens come.
    public KvCache newCache(int capacity) {
        return new KvCache(backend, spec.blocks(), spec.attention().keyWidth(), capacity, spec.context());
    }

    /// Scratch memory for passes of at most `tokens` tokens.
    public Workspace newWorkspace(int tokens) {
        return new Workspace(backend, spec, Math.min(tokens, spec.context()));
    }

    /// Runs `count` tokens from `tokens[from]` on behind what `cache` holds, and leaves the last one's logits in
    /// `workspace.logits()` and the residual stream in `workspace.hidden(count)`.
    ///
    /// @param cache of this model; null: the tokens stand alone and nothing is kept
    /// @throws InputException if a token is not in the vocabulary, or the context is too short
    public void forward(int[] tokens, int from, int count, KvCache cache, Workspace workspace) {
        Tensor hidden = run(tokens, from, count, cache, workspace);
        logits(workspace.lastOf(hidden), workspace.logits(), workspace);
    }

    /// The same without the logits; returns the residual stream `[count, hidden]`, which belongs to `workspace`.
    public Tensor run(int[] tokens, int from, int count, KvCache cache, Workspace workspace) {
        int past = cache == null ? 0 : cache.length();
        check(tokens, from, count, past, workspace);
        if (cache != null) {
            cache.reserve(past + count);
        }
        Tensor hidden = workspace.hidden(count);
        embed(workspace.ids(tokens, from, count), past, hidden, workspace);
        for (Block block : blocks) {
            block.forward(hidden, past, cache, workspace, null);
        }
        if (cache != null) {
            cache.commit(past + count);
        }
        return hidden;
    }

    /// One more token of each of several sequences: `tokens[i]` stands behind what `caches[i]` holds and goes into it.
    /// Returns the residual stream `[sequences, hidden]`, which belongs to `workspace`.
    ///
    /// Reads the weights once for all sequences, which makes it several times as fast as one sequence after another.
    ///
    /// @param caches of this model, all different
    /// @throws InputException if a token is not in the vocabulary, or the context is too short
    public Tensor step(int[] tokens, KvCache[] caches, Workspace workspace) {
        int count = caches.length;
        for (int i = 0; i < count; i++) {
            check(tokens, i, 1, caches[i].length(), workspace);
            caches[i].reserve(caches[i].length() + 1);
        }
        Tensor hidden = workspace.hidden(count);
        embed(workspace.ids(tokens, 0, count), hidden, workspace);
        if (spec.positions() instanceof Positions.Learned learned) {
            backend.gatherAdd(positions, workspace.ends(caches, learned.offset()), hidden);
        }
        for (Block block : blocks) {
            block.step(hidden, caches, workspace);
        }
        for (KvCache cache : caches) {
            cache.commit(cache.length() + 1);
        }
        return hidden;
    }

    /// What the first block reads: the embeddings of the first `hidden.rows()` of `tokens`, which stand at positions
    /// `past` and after, with the positions added where the family adds them; `hidden` `[tokens, hidden]` is
    /// overwritten.
    public void embed(int[] tokens, int past, Tensor hidden) {
        try (Workspace workspace = new Workspace(backend, spec, hidden.rows())) {
            embed(tokens, past, hidden, workspace);
        }
    }

    /// The same, without allocating.
    public void embed(int[] tokens, int past, Tensor hidden, Workspace workspace) {
        embed(tokens, hidden, workspace);
        if (spec.positions() instanceof Positions.Learned learned) {
            backend.gatherAdd(positions, workspace.consecutive(past + learned.offset(), hidden.rows()), hidden);
        }
    }

    /// Without the positions.
    private void embed(int[] tokens, Tensor hidden, Workspace workspace) {
        float scale = spec.embedding().scale();
        if (projectIn == null) {
            backend.gather(embedding, tokens, scale, hidden);
        } else {
            Tensor narrow = workspace.embedded(hidden.rows());
            backend.gather(embedding, tokens, scale, narrow);
            backend.linear(projectIn, null, narrow, hidden);
        }
    }

    /// The logits of what the last block left: `hidden` `[tokens, hidden]` is kept, `logits` `[tokens, vocabulary]`
    /// overwritten.
    public void logits(Tensor hidden, Tensor logits) {
        try (Workspace workspace = new Workspace(backend, spec, hidden.rows())) {
            logits(hidden, logits, workspace);
        }
    }

    /// The same, without allocating.
    public void logits(Tensor hidden, Tensor logits, Workspace workspace) {
        Tensor x = hidden;
        if (lastNorm != null) {
            x = workspace.normed(hidden.rows());
            backend.norm(spec.norms().norm(), hidden, lastNorm.weight(), lastNorm.bias(), x);
        }
        if (projectOut != null) {
            Tensor narrow = workspace.embedded(hidden.rows());
            backend.linear(projectOut, null, x, narrow);
            x = narrow;
        }
        backend.linear(head, null, x, logits);
        if (spec.head().softcap() != 0) {
            backend.softcap(spec.head().softcap(), logits);
        }
    }

    /// Whether something was loaded as [Dense#deferred] and is not packed yet.
    public boolean defers() {
        synchronized (deferred) {
            return !deferred.isEmpty();
        }
    }

    /// Packs some of what was loaded as [Dense#deferred], about a block, with all threads of the backend: between passes, not
    /// beside one.
    ///
    /// @throws OutOfMemoryError if there is no memory left for copies; what is not packed goes on to be read from the file
    public void packSome() {
        synchronized (deferred) {
            Map<DeferredLinear, MemorySegment> some = new LinkedHashMap<>();
            deferred.entrySet().stream()
                    .limit(Projection.values().length)
                    .forEach(entry -> some.put(entry.getKey(), entry.getValue()));
            backend.pack(List.copyOf(some.keySet()));
            some.forEach((linear, memory) -> {
                Memory.giveUp(memory);
                deferred.remove(linear);
            });
        }
    }

    /// Packs one matrix of what was loaded as [Dense#deferred], in the calling thread, while others may run passes.
    ///
    /// @throws OutOfMemoryError if there is no memory left for the copy; it goes on to be read from the file
    public void packOne() {
        // Not while the model is being closed, and with it what it reads.
        synchronized (deferred) {
            deferred.entrySet().stream().findFirst().ifPresent(entry -> {
                entry.getKey().pack();
                Memory.giveUp(entry.getValue());
                deferred.remove(entry.getKey());
            });
        }
    }

    /// Touches the pages of the file that the deferred layers will be read from, until all are touched or `enough` says so. A
    /// page costs its first reader a visit to the kernel, even when it lies in the system's cache: for a model of a billion
    /// weights that is a second. May run beside everything but [#close].
    public void touchDeferred(BooleanSupplier enough) {
        List<MemorySegment> layers;
        synchronized (deferred) {
            layers = List.copyOf(deferred.values());
        }
        for (MemorySegment layer : layers) {
            for (long at = 0; at < layer.byteSize() && !enough.getAsBoolean(); at += TOUCHED_BYTES) {
                layer.asSlice(at, Math.min(TOUCHED_BYTES, layer.byteSize() - at))
                        .load();
            }
        }
    }

    /// Has the operations of a pass compiled before one is waited for. As any pass, not beside another.
    public void rehearse() {
        Block first = blocks.getFirst();
        WeightFormat format = first.linear(Projection.Q).format();
        Rehearsal.run(
                backend, spec, first.projections(), linearType, format instanceof Dense ? Dense.mapped() : format);
    }

    /// Gives back what the model allocated. Closing twice does nothing.
    @Override
    public void close() {
        synchronized (deferred) {
            if (!closed) {
                closed = true;
                deferred.clear();
                release();
            }
        }
    }

    private void release() {
        for (Block block : blocks) {
            block.layers().values().forEach(layer -> layer.linear().close());
        }
        for (Linear linear : new Linear[] {projectIn, projectOut, head}) {
            if (linear != null) {
                linear.close();
            }
        }
        uploaded.forEach(backend::free);
        arenas.forEach(Arena::close);
    }

    private void check(int[] tokens, int from, int count, int past, Workspace workspace) {
        if (count < 1 || count > workspace.tokens()) {
            throw new IllegalArgumentException(
                    "a workspace for " + workspace.tokens() + " tokens cannot take " + count);
        }
        if (past + count > spec.context()) {
            throw new InputException(
                    "%d tokens are more than the model's context of %d".formatted(past + count, spec.context()));
        }
        for (int t = from; t < from + count; t++) {
            if (tokens[t] < 0 || tokens[t] >= spec.vocabulary()) {
                throw new InputException(
                        "token id %d is not in the model's vocabulary of %d".formatted(tokens[t], spec.vocabulary()));
            }
        }
    }

    private Block block(int index, Weights weights, TensorNames names, Arena small, FormatChoice formats) {
        Map<Projection, Linear> linears = linears(index, weights, names, formats);
        Map<Projection, Block.Layer> layers = new EnumMap<>(Projection.class);
        names.projections().forEach((projection, leaf) -> {
            String name = weights.name(index, leaf);
            Tensor bias = weights.hasBias(projection) ? upload(weights.vector(name + ".bias", small)) : null;
            layers.put(projection, new Block.Layer(name + ".weight", linears.get(projection), bias));
        });
        return new Block(
                backend,
                spec,
                index,
                norm(weights, weights.name(index, names.attentionNorm()), small),
                norm(weights, weights.name(index, names.mlpNorm()), small),
                layers);
    }

    /// Whoever reads the blocks' weights where the checkpoint holds them wants no copy of the head either; whoever has
    /// them packed for speed wants the fast layout.
    private WeightFormat aroundBlocks() {
        WeightFormat blocksOwn = blocks.getFirst().linear(Projection.Q).format();
        return blocksOwn instanceof Dense ? blocksOwn : Dense.tiled();
    }

    /// Whether `linear`, which is `weight` packed as `format`, still reads the memory of `weight`.
    private boolean keeps(Linear linear, Tensor weight, WeightFormat format) {
        if (linear instanceof DeferredLinear later) {
            deferred.put(later, weight.segment());
            return true;
        }
        return format.equals(Dense.mapped());
    }

    /// The linear layers of a block, packed side by side.
    ///
    /// A tensor that the checkpoint has to unpack or convert lives in an arena of the block, which is closed as soon as the
    /// formats have made their own copies; pages of the file that were copied are given up.
    private Map<Projection, Linear> linears(int index, Weights weights, TensorNames names, FormatChoice formats) {
        Arena arena = Arena.ofShared();
        boolean borrowed = false;
        try {
            List<Projection> projections = List.copyOf(names.projections().keySet());
            List<Tensor> dense = new ArrayList<>();
            List<WeightFormat> chosen = new ArrayList<>();
            for (Projection projection : projections) {
                String name = weights.name(index, names.projections().get(projection)) + ".weight";
                dense.add(checkpoint.read(name, arena));
                chosen.add(formats.choose(dense.getLast()));
            }
            linearType = dense.getFirst().dtype();
            List<Linear> packed = backend.linears(dense, chosen);
            Map<Projection, Linear> linears = new EnumMap<>(Projection.class);
            for (int i = 0; i < packed.size(); i++) {
                linears.put(projections.get(i), packed.get(i));
                if (keeps(packed.get(i), dense.get(i), chosen.get(i))) {
                    borrowed = true;
                } else {
                    Memory.giveUp(dense.get(i).segment());
                }
            }
            return linears;
        } finally {
            if (borrowed) {
                arenas.add(arena);
            } else {
                arena.close();
            }
        }
    }

    private Block.NormWeights norm(Weights weights, String name, Arena small) {
        return new Block.NormWeights(
                spec.norms().weight() ? upload(weights.vector(name + ".weight", small)) : null,
                spec.norms().bias() ? upload(weights.vector(name + ".bias", small)) : null);
    }

    private Tensor upload(Tensor host) {
        if (host.dtype() == DType.I8) {
            throw new InputException(checkpoint.name() + ": I8 is no type for weights of a model");
        }
        Tensor tensor = backend.upload(host);
        uploaded.add(tensor);
        return tensor;
    }
}
