package dev.espalier.prune.calibrate;

import dev.espalier.kernels.Backend;
import dev.espalier.model.ActivationTap;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Site;
import dev.espalier.model.Workspace;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/// Leads the calibration windows through a model block by block: what a changed block makes of them feeds the next.
///
/// Two passes a block: [#capture] runs it as it is and records what its layers read; [#advance] runs it again, changed,
/// and moves on. So a layer's statistics come from the pruned blocks before it and the dense layers of its own block, as
/// in the papers' code. Between passes the windows lie on the host, in float32.
public final class BlockWalk implements AutoCloseable {
    /// Above this many bytes the hidden states go to a temporary file.
    public static final long LARGEST_IN_MEMORY = 256L << 20;

    private final Backend backend;
    private final CalibrationData data;
    private final Scratch memory;
    private final HiddenStates states;
    private final Workspace workspace;
    private final Tensor hidden;
    private Tensor hostCopy;

    /// Runs after each window; what it throws ends the pass.
    @FunctionalInterface
    public interface Progress {
        void windowDone();
    }

    /// The Grams of a block's four sites, over the calibration windows and over the held-out ones; a site that the block
    /// does not have is absent.
    public record Statistics(Map<Site, Gram> calibration, Map<Site, Gram> heldOut) implements AutoCloseable {
        /// Of a block that nobody watched.
        public static Statistics none() {
            return new Statistics(new EnumMap<>(Site.class), new EnumMap<>(Site.class));
        }

        /// Gives back both Grams of one site.
        public void close(Site site) {
            for (Map<Site, Gram> grams : List.of(calibration, heldOut)) {
                Gram gram = grams.remove(site);
                if (gram != null) {
                    gram.close();
                }
            }
        }

        @Override
        public void close() {
            for (Site site : Site.values()) {
                close(site);
            }
        }
    }

    /// Embeds the windows of `data`, which stand before the first block then.
    public BlockWalk(Model model, CalibrationData data, Scratch memory) {
        this(model, data, memory, LARGEST_IN_MEMORY);
    }

    BlockWalk(Model model, CalibrationData data, Scratch parent, long large) {
        this.backend = model.backend();
        this.data = data;
        this.memory = parent.child();
        int tokens = data.seqLen();
        int features = model.spec().hidden();
        this.states = new HiddenStates(windows(), tokens, features, memory, large);
        this.workspace = model.newWorkspace(tokens);
        this.hidden = workspace.hidden(tokens);
        memory.count(workspace.bytes());
        try {
            for (int window = 0; window < windows(); window++) {
                model.embed(window(window), 0, hidden, workspace);
                backend.download(hidden, states.of(window));
            }
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    /// Windows of both kinds.
    public int windows() {
        return data.windows().size() + data.heldOut().size();
    }

    private int[] window(int window) {
        int calibration = data.windows().size();
        return window < calibration
                ? data.windows().get(window)
                : data.heldOut().get(window - calibration);
    }

    /// What the blocks so far made of one window, `[seqLen, hidden]`, on the host; the held-out ones come last.
    public Tensor state(int window) {
        return states.of(window);
    }

    /// Runs `block` over every window and records what its layers read; the windows stay before it.
    ///
    /// The caller closes what is returned.
    public Statistics capture(Block block, Progress progress) {
        Statistics statistics = Statistics.none();
        try {
            for (int window = 0; window < windows(); window++) {
                Map<Site, Gram> grams =
                        window < data.windows().size() ? statistics.calibration() : statistics.heldOut();
                run(
                        block,
                        window,
                        (site, input) -> grams.computeIfAbsent(
                                        site, s -> new Gram(input.columns(), backend.algebra(), memory))
                                .add(onHost(input)));
                progress.windowDone();
            }
            return statistics;
        } catch (RuntimeException | Error e) {
            statistics.close();
            throw e;
        }
    }

    /// Runs `block` over every window; the windows stand before the next block then.
    public void advance(Block block, Progress progress) {
        for (int window = 0; window < windows(); window++) {
            run(block, window, null);
            backend.download(hidden, states.of(window));
            progress.windowDone();
        }
    }

    private void run(Block block, int window, ActivationTap tap) {
        backend.store(states.of(window), hidden);
        block.forward(hidden, 0, null, workspace, tap);
    }

    private Tensor onHost(Tensor input) {
        if (input.onHost()) {
            return input;
        }
        if (hostCopy == null || hostCopy.columns() < input.columns()) {
            hostCopy = memory.tensor(data.seqLen(), input.columns());
        }
        Tensor host = Tensor.of(DType.F32, input.rows(), input.columns(), hostCopy.segment());
        backend.download(input, host);
        return host;
    }

    @Override
    public void close() {
        workspace.close();
        states.close();
        memory.close();
    }
}
