package dev.espalier.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.tokenizer.AddedTokens.AddedToken;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// `tokenizer_config.json`, completed by `special_tokens_map.json` and `chat_template.jinja`.
///
/// @param tokenizerClass transformers' class without `Fast`
/// @param named the special tokens by their role: `bos_token`, `eos_token`, `unk_token`, `pad_token`
/// @param added what `added_tokens_decoder` lists
/// @param legacy LLaMA's: a space in front of every stretch between special tokens, not only of the first
record TokenizerConfig(
        Optional<String> tokenizerClass,
        Map<String, String> named,
        List<AddedToken> added,
        Optional<Boolean> addBos,
        Optional<Boolean> addEos,
        Optional<Boolean> addPrefixSpace,
        boolean legacy,
        Optional<String> chatTemplate) {
    private static final List<String> ROLES = List.of("bos_token", "eos_token", "unk_token", "pad_token");

    static final TokenizerConfig EMPTY = new TokenizerConfig(
            Optional.empty(),
            Map.of(),
            List.of(),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            false,
            Optional.empty());

    static TokenizerConfig read(Spec spec) {
        return new TokenizerConfig(
                spec.optionalText("tokenizer_class").map(name -> name.replaceFirst("Fast$", "")),
                named(spec),
                added(spec),
                spec.optionalFlag("add_bos_token"),
                spec.optionalFlag("add_eos_token"),
                spec.optionalFlag("add_prefix_space"),
                spec.flag("legacy", false),
                template(spec));
    }

    /// With the roles that only `special_tokens_map.json` names.
    TokenizerConfig withSpecialTokensMap(Spec map) {
        Map<String, String> all = new java.util.HashMap<>(named(map));
        all.putAll(named);
        return new TokenizerConfig(
                tokenizerClass, Map.copyOf(all), added, addBos, addEos, addPrefixSpace, legacy, chatTemplate);
    }

    /// With the template that stands in a file of its own, which then is the one that counts.
    TokenizerConfig withChatTemplate(String template) {
        return new TokenizerConfig(
                tokenizerClass, named, added, addBos, addEos, addPrefixSpace, legacy, Optional.of(template));
    }

    String bos() {
        return named.get("bos_token");
    }

    String eos() {
        return named.get("eos_token");
    }

    private static Map<String, String> named(Spec spec) {
        Map<String, String> tokens = new java.util.HashMap<>();
        for (String role : ROLES) {
            if (spec.has(role)) {
                String content = spec.node().get(role).isObject()
                        ? spec.requiredObject(role).text("content")
                        : spec.text(role);
                tokens.put(role, Tokenizer.wellFormed(content));
            }
        }
        return Map.copyOf(tokens);
    }

    private static List<AddedToken> added(Spec spec) {
        List<AddedToken> tokens = new ArrayList<>();
        spec.object("added_tokens_decoder").ifPresent(decoder -> {
            for (var entry : decoder.node().properties()) {
                int id;
                try {
                    id = Integer.parseInt(entry.getKey());
                } catch (NumberFormatException e) {
                    throw decoder.wrong("'" + entry.getKey() + "' is not an id");
                }
                tokens.add(AddedTokens.read(decoder.requiredObject(entry.getKey()), id));
            }
        });
        return List.copyOf(tokens);
    }

    /// One template, or of several named ones the `default`.
    private static Optional<String> template(Spec spec) {
        if (!spec.has("chat_template") || !spec.node().get("chat_template").isArray()) {
            return spec.optionalText("chat_template");
        }
        for (JsonNode template : spec.node().get("chat_template")) {
            if (template.path("name").asText().equals("default")
                    && template.path("template").isTextual()) {
                return Optional.of(template.get("template").textValue());
            }
        }
        return Optional.empty();
    }
}
