package dev.espalier.testing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// What Hugging Face transformers computed for one of the shared models: logits, greedy continuations, losses of
/// windows. The test that asks is skipped where the shared folder is missing.
public final class Reference {
    /// A prompt and the 32 tokens that greedy decoding puts behind it, end-of-sequence tokens ignored.
    ///
    /// @param margin the least difference of the two largest logits on the way
    public record Continuation(int[] ids, int[] greedy, double margin) {}

    private final String model;
    private final JsonNode json;

    private Reference(String model, JsonNode json) {
        this.model = model;
        this.json = json;
    }

    /// The reference of `model`.
    public static Reference of(String model) {
        Path file = SharedFolder.require("models/reference/" + model + "/reference.json");
        try {
            return new Reference(model, new ObjectMapper().readTree(file.toFile()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// The arrays `ids_i`, `last_logits_i`, `all_logits_0`, ….
    public Map<String, Npy> logits() {
        return Npy.readAll(SharedFolder.require("models/reference/" + model + "/logits.npz"));
    }

    /// The continuations of the plain prompts and of the chats.
    public List<Continuation> continuations() {
        List<Continuation> all = new ArrayList<>();
        for (String kind : List.of("prompts", "chats")) {
            for (JsonNode prompt : json.path(kind)) {
                all.add(new Continuation(
                        ids(prompt.get("ids")),
                        ids(prompt.get("greedy32")),
                        prompt.get("margin_min").doubleValue()));
            }
        }
        return all;
    }

    /// The mean loss of each window of the text `text`.
    public double[] windowNll(String text) {
        return Npy.read(SharedFolder.require("models/reference/" + model + "/window_nll_" + text + ".npy"))
                .values();
    }

    /// The number of tokens of the text `text`.
    public int tokens(String text) {
        return json.get("ppl").get(text).get("tokens").intValue();
    }

    /// The length of a window of the text `text`.
    public int seqLen(String text) {
        return json.get("ppl").get(text).get("seqlen").intValue();
    }

    /// The text `text` itself.
    public String text(String text) {
        try {
            return Files.readString(SharedFolder.require(
                    "data/" + json.get("ppl").get(text).get("file").textValue()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static int[] ids(JsonNode list) {
        int[] ids = new int[list.size()];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = list.get(i).intValue();
        }
        return ids;
    }
}
