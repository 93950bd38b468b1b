package dev.espalier.tools;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.KernelWarmUp;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.model.Model;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.Tokenizer;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Function;

/// A model that is ready to run, with everything it stands on: checkpoint, backend, tokenizer.
final class LoadedModel implements AutoCloseable {
    private final String name;
    private final Checkpoint checkpoint;
    private final CpuBackend backend;
    private final Model model;
    private final Tokenizer tokenizer;
    private final double seconds;

    private LoadedModel(
            String name, Checkpoint checkpoint, CpuBackend backend, Model model, Tokenizer tokenizer, double seconds) {
        this.name = name;
        this.checkpoint = checkpoint;
        this.backend = backend;
        this.model = model;
        this.tokenizer = tokenizer;
        this.seconds = seconds;
    }

    /// Opens and loads `name` as `options` say.
    ///
    /// @param seed of random weights
    /// @throws InputException if it cannot be used
    /// @throws WorkFailedException if there is not enough memory
    static LoadedModel open(String name, ModelOptions options, long seed, OutputOptions output) {
        return open(name, options, seed, output, options::formats);
    }

    /// The same, with each linear layer in the format that `formats` chooses, which is made for the backend.
    static LoadedModel open(
            String name,
            ModelOptions options,
            long seed,
            OutputOptions output,
            Function<CpuBackend, FormatChoice> formats) {
        long start = System.nanoTime();
        options.check();
        Checkpoint checkpoint = ModelSource.open(name, options.dtype(), seed);
        CpuBackend backend = null;
        try {
            requireMemory(name, checkpoint.bytes());
            Tokenizer tokenizer = tokenizer(checkpoint).orElse(null);
            backend = new CpuBackend(options.threads(CpuBackend.defaultThreads()));
            VectorCheck.problem().ifPresent(problem -> output.note("note: %s", problem));
            Model model = Model.load(checkpoint, backend, KernelWarmUp.around(formats.apply(backend)), options.head());
            model.notices().forEach(notice -> output.note("note: %s", notice));
            if (ModelSource.random(name)) {
                output.note("note: the weights of %s are random numbers, for timing only", name);
            }
            return new LoadedModel(name, checkpoint, backend, model, tokenizer, (System.nanoTime() - start) / 1e9);
        } catch (RuntimeException | Error e) {
            if (backend != null) {
                backend.close();
            }
            checkpoint.close();
            throw e;
        }
    }

    /// What the user called it.
    String name() {
        return name;
    }

    Checkpoint checkpoint() {
        return checkpoint;
    }

    CpuBackend backend() {
        return backend;
    }

    Model model() {
        return model;
    }

    /// Empty for a folder without one.
    Optional<Tokenizer> tokenizer() {
        return Optional.ofNullable(tokenizer);
    }

    /// The tokenizer, for work that cannot do without.
    ///
    /// @throws InputException if there is none
    Tokenizer requireTokenizer(String remedy) {
        if (tokenizer == null) {
            throw new InputException(
                    name + " has no tokenizer (tokenizer.json, or vocab.json with merges.txt); " + remedy);
        }
        return tokenizer;
    }

    /// How long it took to load.
    double seconds() {
        return seconds;
    }

    private static Optional<Tokenizer> tokenizer(Checkpoint checkpoint) {
        if (checkpoint.folder().isPresent()) {
            return Tokenizer.openIfPresent(checkpoint.folder().get());
        }
        return checkpoint
                .file("tokenizer.json")
                .map(json -> Tokenizer.of(
                        json, checkpoint.file("tokenizer_config.json").orElse(null)));
    }

    /// Says before the work that it cannot end well, rather than be killed in the middle of it.
    ///
    /// @param bytes what the weights take in their stored types
    static void requireMemory(String name, long bytes) {
        OptionalLong free = Memory.available();
        if (free.isPresent() && bytes > free.getAsLong()) {
            long limit = Memory.limit().orElse(free.getAsLong());
            throw new WorkFailedException(
                    "%s needs about %s of memory for its weights, and %s of %s are free; give a smaller model, free some"
                                    .formatted(
                                            name, Units.bytes(bytes), Units.bytes(free.getAsLong()), Units.bytes(limit))
                            + " memory, or raise the container's limit.");
        }
    }

    @Override
    public void close() {
        model.close();
        backend.close();
        checkpoint.close();
    }
}
