package dev.espalier.tools;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.Dense;
import dev.espalier.kernels.format.KernelRate;
import dev.espalier.kernels.format.KernelWarmUp;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.Tokenizer;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;

/// A model that is ready to run, with everything it stands on: checkpoint, backend, tokenizer.
final class LoadedModel implements AutoCloseable {
    /// Tokens are computed from the file then.
    private static final String NO_MEMORY = "note: not enough memory to pack all weights (%s); tokens take longer";

    private final String name;
    private final Checkpoint checkpoint;
    private final CpuBackend backend;
    private final Model model;
    private final Tokenizer tokenizer;
    private final OutputOptions output;
    private final double seconds;
    private boolean packing;
    private boolean noMemory;

    private LoadedModel(
            String name,
            Checkpoint checkpoint,
            CpuBackend backend,
            Model model,
            Tokenizer tokenizer,
            OutputOptions output,
            double seconds) {
        this.name = name;
        this.checkpoint = checkpoint;
        this.backend = backend;
        this.model = model;
        this.tokenizer = tokenizer;
        this.output = output;
        this.seconds = seconds;
    }

    /// Opens and loads `name` as `options` say.
    ///
    /// @param seed of random weights
    /// @throws InputException if it cannot be used
    /// @throws WorkFailedException if there is not enough memory
    static LoadedModel open(String name, ModelOptions options, long seed, OutputOptions output) {
        return open(name, options, seed, output, options::formats, false);
    }

    /// The same with each linear layer in the format that `formats` chooses, which is made for the backend.
    static LoadedModel open(
            String name,
            ModelOptions options,
            long seed,
            OutputOptions output,
            Function<CpuBackend, FormatChoice> formats) {
        return open(name, options, seed, output, formats, false);
    }

    /// The same for generating at once: dense layers are read from the file until [#packFor] or [#packInBackground] is
    /// called, and what a token needs is compiled.
    static LoadedModel openForDecode(String name, ModelOptions options, long seed, OutputOptions output) {
        return open(name, options, seed, output, backend -> Dense.deferring(options.formats(backend)), true);
    }

    private static LoadedModel open(
            String name,
            ModelOptions options,
            long seed,
            OutputOptions output,
            Function<CpuBackend, FormatChoice> formats,
            boolean atOnce) {
        long start = System.nanoTime();
        options.check();
        Checkpoint checkpoint = ModelSource.open(name, options.dtype(), seed);
        CpuBackend backend = null;
        Model model = null;
        try {
            requireMemory(name, checkpoint.bytes());
            CompletableFuture<Optional<Tokenizer>> reading = CompletableFuture.supplyAsync(() -> tokenizer(checkpoint));
            if (!atOnce) {
                await(reading); // what is wrong with it is said before the long work
            }
            backend = new CpuBackend(options.threads(CpuBackend.defaultThreads()));
            VectorCheck.warning().ifPresent(warning -> output.note("note: %s", warning));
            model = Model.load(checkpoint, backend, KernelWarmUp.around(formats.apply(backend)), options.head());
            model.notices().forEach(notice -> output.note("note: %s", notice));
            if (ModelSource.random(name)) {
                output.note("note: the weights of %s are random numbers, for timing only", name);
            }
            if (atOnce) {
                rehearse(model, reading);
            }
            Tokenizer tokenizer = await(reading);
            return new LoadedModel(
                    name, checkpoint, backend, model, tokenizer, output, (System.nanoTime() - start) / 1e9);
        } catch (RuntimeException | Error e) {
            if (model != null) {
                model.close();
            }
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

    /// Packs what was left in the file, in a thread of its own beside all that the model does from now on.
    void packInBackground() {
        if (!model.defers()) {
            return;
        }
        Thread.ofPlatform().daemon().name("espalier-packing").start(() -> {
            KernelWarmUp.run(Dense.tiled(), deferredType());
            try {
                while (model.defers()) {
                    model.packOne();
                }
            } catch (OutOfMemoryError e) {
                output.note(NO_MEMORY, e.getMessage());
            }
        });
    }

    /// Packs what was left in the file for the next `nanos` nanoseconds at most, or a block longer, with all threads: between
    /// tokens.
    void packFor(long nanos) {
        if (noMemory || !model.defers()) {
            return;
        }
        if (!packing) {
            packing = true;
            Thread.ofPlatform()
                    .daemon()
                    .name("espalier-warm-up")
                    .start(() -> KernelRate.warmUp(Dense.tiled(), deferredType()));
        }
        long end = System.nanoTime() + nanos;
        try {
            while (model.defers() && System.nanoTime() < end) {
                model.packSome();
            }
        } catch (OutOfMemoryError e) {
            noMemory = true;
            output.note(NO_MEMORY, e.getMessage());
        }
    }

    private DType deferredType() {
        return model.blocks().getFirst().linear(Projection.Q).dtype();
    }

    /// Has the operations compiled, and from the end of `reading` on the weights brought into reach meanwhile.
    private static void rehearse(Model model, CompletableFuture<?> reading) {
        AtomicBoolean rehearsed = new AtomicBoolean();
        CompletableFuture<Void> touching =
                reading.handle((value, failure) -> null).thenRunAsync(() -> model.touchDeferred(rehearsed::get));
        try {
            model.rehearse();
        } finally {
            rehearsed.set(true);
            touching.join();
        }
    }

    /// What `reading` reads, or its error as it was thrown.
    private static Tokenizer await(CompletableFuture<Optional<Tokenizer>> reading) {
        try {
            return reading.join().orElse(null);
        } catch (CompletionException e) {
            if (e.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            throw e;
        }
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
