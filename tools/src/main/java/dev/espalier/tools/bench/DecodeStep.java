package dev.espalier.tools.bench;

import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.model.Workspace;

/// One decoded token behind a short text: embedding, all blocks, head.
public final class DecodeStep implements Runnable, AutoCloseable {
    private static final int PAST = 32;
    private static final int STEPS = 64;

    private final Model model;
    private final KvCache cache;
    private final Workspace workspace;
    private final int[] token;
    private final int past;
    private final int longest;

    public DecodeStep(Model model) {
        this.model = model;
        this.longest = Math.min(PAST + STEPS, model.spec().context());
        this.past = Math.min(PAST, longest / 2);
        this.cache = model.newCache(longest);
        this.workspace = model.newWorkspace(1);
        this.token = new int[] {model.spec().vocabulary() / 2};
        while (cache.length() < past) {
            model.forward(token, 0, 1, cache, workspace);
        }
    }

    @Override
    public void run() {
        if (cache.length() == longest) {
            cache.truncate(past);
        }
        model.forward(token, 0, 1, cache, workspace);
    }

    @Override
    public void close() {
        cache.close();
        workspace.close();
    }
}
