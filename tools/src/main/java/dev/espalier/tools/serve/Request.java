package dev.espalier.tools.serve;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/// What a completion or chat request asks for, checked field by field.
///
/// @param prompts one entry a prompt, in the order of the request: text or token ids
/// @param maxTokens new tokens at most
/// @param sampling how each token is drawn
/// @param choices answers to each prompt (`n`)
/// @param stop strings before which the answer ends
/// @param logprobs alternatives listed beside each token's log-probability; -1 = none are wanted
/// @param echo whether the prompt is part of the answer
/// @param delivery whether and how the answer is streamed
record Request(
        List<Prompt> prompts,
        int maxTokens,
        Sampling sampling,
        int choices,
        List<String> stop,
        int logprobs,
        boolean echo,
        Delivery delivery) {
    /// New tokens when a completion does not say (as OpenAI has it) and when a chat does not.
    private static final int COMPLETION_TOKENS = 16;

    private static final int CHAT_TOKENS = 512;
    private static final int MOST_CHOICES = 16;
    private static final int MOST_PROMPTS = 256;
    private static final int MOST_LOGPROBS = 20;

    /// Text to be tokenized, or token ids taken as they are; the other is null.
    record Prompt(String text, int[] ids) {}

    /// How a token is drawn; an absent seed means a fresh one.
    record Sampling(
            double temperature, int topK, double topP, double minP, double repetitionPenalty, OptionalLong seed) {}

    /// Streamed or whole, and whether a stream ends with a usage chunk.
    record Delivery(boolean stream, boolean usage) {}

    /// Reads the body of `/v1/completions`.
    static Request completion(Fields fields) {
        fields.refuse("suffix", fields.strings("suffix").isEmpty());
        int logprobs = fields.integer("logprobs", -1, 0);
        return common(
                fields, prompts(fields.node("prompt")), fields.integer("max_tokens", COMPLETION_TOKENS, 0), logprobs);
    }

    /// Reads the body of `/v1/chat/completions`; `rendered` is its conversation as one text.
    static Request chat(Fields fields, Prompt rendered) {
        JsonNode format = fields.node("response_format");
        fields.refuse(
                "response_format",
                format == null || format.path("type").asText().equals("text"));
        int most = fields.integer("max_completion_tokens", fields.integer("max_tokens", CHAT_TOKENS, 0), 0);
        int logprobs = fields.flag("logprobs") ? fields.integer("top_logprobs", 0, 0) : -1;
        return common(fields, List.of(rendered), most, logprobs);
    }

    private static Request common(Fields fields, List<Prompt> prompts, int maxTokens, int logprobs) {
        fields.refuse(
                "logit_bias",
                fields.node("logit_bias") == null || fields.node("logit_bias").isEmpty());
        fields.refuse("presence_penalty", fields.number("presence_penalty", 0, -2, 2) == 0);
        fields.refuse("frequency_penalty", fields.number("frequency_penalty", 0, -2, 2) == 0);
        fields.refuse("best_of", fields.integer("best_of", 1, 1) <= fields.integer("n", 1, 1));
        int choices = fields.integer("n", 1, 1);
        if (choices > MOST_CHOICES) {
            throw ApiException.badRequest("n", "'n' is at most " + MOST_CHOICES + ", not " + choices + ".");
        }
        JsonNode seed = fields.node("seed");
        if (seed != null && !seed.isIntegralNumber()) {
            throw ApiException.badRequest("seed", "'seed' must be a whole number, not " + seed + ".");
        }
        Sampling sampling = new Sampling(
                fields.number("temperature", 1, 0, 100),
                fields.integer("top_k", 0, -1),
                fields.number("top_p", 1, 0, 1),
                fields.number("min_p", 0, 0, 1),
                fields.number("repetition_penalty", 1, 0.01, 100),
                seed == null ? OptionalLong.empty() : OptionalLong.of(seed.longValue()));
        JsonNode options = fields.node("stream_options");
        boolean usage = options != null && options.path("include_usage").asBoolean();
        return new Request(
                prompts,
                maxTokens,
                sampling,
                choices,
                fields.strings("stop"),
                Math.min(logprobs, MOST_LOGPROBS),
                fields.flag("echo"),
                new Delivery(fields.flag("stream"), usage));
    }

    /// A string, a list of strings, a list of token ids, or a list of such lists.
    private static List<Prompt> prompts(JsonNode prompt) {
        if (prompt == null) {
            throw ApiException.badRequest("prompt", "'prompt' is missing.");
        }
        List<Prompt> prompts = new ArrayList<>();
        if (prompt.isTextual()) {
            prompts.add(new Prompt(prompt.textValue(), null));
        } else if (prompt.isArray() && !prompt.isEmpty() && prompt.get(0).isNumber()) {
            prompts.add(ids(prompt));
        } else if (prompt.isArray()) {
            for (JsonNode item : prompt) {
                prompts.add(item.isTextual() ? new Prompt(item.textValue(), null) : ids(item));
            }
        }
        if (prompts.isEmpty() || prompts.size() > MOST_PROMPTS) {
            throw ApiException.badRequest(
                    "prompt",
                    "'prompt' must be a string, a list of token ids, or a list of 1 to %d of either."
                            .formatted(MOST_PROMPTS));
        }
        return prompts;
    }

    private static Prompt ids(JsonNode list) {
        if (!list.isArray()) {
            throw ApiException.badRequest(
                    "prompt", "'prompt' holds " + list + ", which is neither text nor token ids.");
        }
        int[] ids = new int[list.size()];
        for (int i = 0; i < ids.length; i++) {
            if (!list.get(i).isInt()) {
                throw ApiException.badRequest("prompt", "'prompt' holds " + list.get(i) + " among its token ids.");
            }
            ids[i] = list.get(i).intValue();
        }
        return new Prompt(null, ids);
    }
}
