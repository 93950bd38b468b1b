package dev.espalier.tools.bench;

import dev.espalier.model.Model;
import dev.espalier.model.Workspace;

/// A prompt read at once.
public final class PrefillPass implements Runnable, AutoCloseable {
    private static final int TOKENS = 128;

    private final Model model;
    private final Workspace workspace;
    private final int[] tokens;

    public PrefillPass(Model model) {
        this.model = model;
        this.tokens = new int[Math.min(TOKENS, model.spec().context())];
        this.workspace = model.newWorkspace(tokens.length);
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = (int) ((i * 7919L + 1) % model.spec().vocabulary());
        }
    }

    /// How many tokens one run reads.
    public int tokens() {
        return tokens.length;
    }

    @Override
    public void run() {
        model.forward(tokens, 0, tokens.length, null, workspace);
    }

    @Override
    public void close() {
        workspace.close();
    }
}
