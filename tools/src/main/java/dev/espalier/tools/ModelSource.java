package dev.espalier.tools;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.checkpoint.RandomCheckpoint;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tools.demo.DemoModels;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/// What the word MODEL stands for: an embedded model, random weights of a shape, or a folder.
final class ModelSource {
    private static final String RANDOM = "random:";

    private ModelSource() {}

    /// Whether `model` is one of the models inside.
    static boolean embedded(String model) {
        return DemoModels.NAMES.contains(model);
    }

    /// Whether `model` has random weights.
    static boolean random(String model) {
        return model.startsWith(RANDOM);
    }

    /// Opens `model`, its weights rounded to `dtype` unless that is null.
    ///
    /// @param seed of random weights
    /// @throws InputException if there is no such model, or it cannot be read
    static Checkpoint open(String model, DType dtype, long seed) {
        if (random(model)) {
            return RandomCheckpoint.of(model.substring(RANDOM.length()), dtype == null ? DType.BF16 : dtype, seed);
        }
        Checkpoint checkpoint = embedded(model) ? DemoModels.checkpoint(model) : Checkpoint.open(path(model));
        try {
            return dtype == null ? checkpoint : checkpoint.as(dtype);
        } catch (RuntimeException e) {
            checkpoint.close();
            throw e;
        }
    }

    private static Path path(String model) {
        try {
            return Path.of(model);
        } catch (InvalidPathException e) {
            throw new InputException("MODEL " + model + " cannot be a folder's name: " + e.getReason() + ".", e);
        }
    }
}
