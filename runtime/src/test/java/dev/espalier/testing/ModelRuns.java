package dev.espalier.testing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.model.Workspace;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;

/// Runs models for tests and compares what comes out.
public final class ModelRuns {
    /// Every layer dense, in the checkpoint's own memory.
    public static final FormatChoice DENSE = weight -> Dense.mapped();

    private ModelRuns() {}

    /// The ids in a file that holds a JSON list.
    public static int[] ids(Path file) {
        try {
            JsonNode list = new ObjectMapper().readTree(file.toFile());
            int[] ids = new int[list.size()];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = list.get(i).intValue();
            }
            return ids;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// The logits at every position of `ids`, row by row, read `chunk` tokens at a time.
    public static float[] logits(Model model, int[] ids, int chunk) {
        int vocabulary = model.spec().vocabulary();
        int most = Math.min(chunk, ids.length);
        float[] all = new float[ids.length * vocabulary];
        try (Arena arena = Arena.ofShared();
                KvCache cache = model.newCache(1);
                Workspace workspace = model.newWorkspace(most)) {
            Tensor device = model.backend().zeros(DType.F32, most, vocabulary);
            Tensor host = Tensor.allocate(arena, DType.F32, most, vocabulary);
            for (int from = 0; from < ids.length; from += most) {
                int count = Math.min(most, ids.length - from);
                Tensor hidden = model.run(ids, from, count, cache, workspace);
                model.logits(hidden, device.slice(0, count), workspace);
                model.backend().download(device.slice(0, count), host.slice(0, count));
                float[] part = host.slice(0, count).toFloats();
                System.arraycopy(part, 0, all, from * vocabulary, part.length);
            }
            model.backend().free(device);
        }
        return all;
    }

    /// The largest difference over the largest expected value.
    public static double relativeError(float[] actual, float[] expected) {
        if (actual.length != expected.length) {
            throw new AssertionError(actual.length + " values, expected " + expected.length);
        }
        double difference = 0;
        double largest = 0;
        for (int i = 0; i < actual.length; i++) {
            double d = Math.abs((double) actual[i] - expected[i]);
            difference = Double.isNaN(d) ? Double.POSITIVE_INFINITY : Math.max(difference, d);
            largest = Math.max(largest, Math.abs(expected[i]));
        }
        return difference / largest;
    }
}
