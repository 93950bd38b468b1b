package dev.espalier.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/// The special tokens around a text: `post_processor` in `tokenizer.json`.
///
/// @param before ids in front of the text's own
/// @param after ids behind them
record PostProcessor(int[] before, int[] after) {
    static final PostProcessor NOTHING = new PostProcessor(new int[0], new int[0]);

    int[] process(int[] ids) {
        return concatenated(concatenated(before, ids), after);
    }

    static PostProcessor read(Spec spec) {
        return switch (spec.type()) {
            case "ByteLevel" -> NOTHING;
            case "Sequence" -> {
                PostProcessor all = NOTHING;
                for (Spec step : spec.objects("processors")) {
                    PostProcessor outer = read(step);
                    all = new PostProcessor(
                            concatenated(outer.before, all.before), concatenated(all.after, outer.after));
                }
                yield all;
            }
            case "TemplateProcessing" -> template(spec);
            case "RobertaProcessing", "BertProcessing" -> new PostProcessor(pairId(spec, "cls"), pairId(spec, "sep"));
            default ->
                throw spec.wrong("the post-processor '" + spec.type() + "' is not supported; supported: "
                        + "Sequence, ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing");
        };
    }

    private static PostProcessor template(Spec spec) {
        int[] before = new int[0];
        int[] after = new int[0];
        int sequences = 0;
        for (Spec piece : spec.objects("single")) {
            if (piece.has("Sequence")) {
                sequences++;
                continue;
            }
            String name = piece.requiredObject("SpecialToken").text("id");
            int[] ids = ids(spec.requiredObject("special_tokens").requiredObject(name));
            if (sequences == 0) {
                before = concatenated(before, ids);
            } else {
                after = concatenated(after, ids);
            }
        }
        if (sequences != 1) {
            throw spec.wrong("'single' must hold the sequence exactly once, found " + sequences + " times");
        }
        return new PostProcessor(before, after);
    }

    private static int[] ids(Spec token) {
        JsonNode ids = token.node().path("ids");
        int[] values = new int[ids.size()];
        for (int i = 0; i < values.length; i++) {
            if (!ids.isArray() || !ids.get(i).isInt() || ids.get(i).intValue() < 0) {
                throw token.wrong("'ids' must be a list of ids");
            }
            values[i] = ids.get(i).intValue();
        }
        return values;
    }

    /// The id of `["<s>", 0]`.
    private static int[] pairId(Spec spec, String field) {
        JsonNode pair = spec.node().path(field);
        if (!pair.isArray()
                || pair.size() != 2
                || !pair.get(1).isInt()
                || pair.get(1).intValue() < 0) {
            throw spec.wrong("'" + field + "' must be a token and its id");
        }
        return new int[] {pair.get(1).intValue()};
    }

    /// All ids that may be added, to check them against the vocabulary.
    List<Integer> ids() {
        return IntStream.concat(Arrays.stream(before), Arrays.stream(after))
                .boxed()
                .toList();
    }

    private static int[] concatenated(int[] a, int[] b) {
        int[] both = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, both, a.length, b.length);
        return both;
    }
}
