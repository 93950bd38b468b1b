package dev.espalier.tokenizer;

import dev.espalier.tensor.InputException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Writes a conversation as the text that a chat model was trained on: the checkpoint's own Jinja template.
///
/// Rendered as transformers does: `trim_blocks` and `lstrip_blocks`, the variables `messages`, `add_generation_prompt`,
/// `bos_token`, `eos_token` and the caller's own, the functions `raise_exception` and `strftime_now`, and a `tojson` that
/// leaves `<` and `&` alone. A template is a stranger's program: it sees nothing but these values, and its steps and its
/// output are limited.
///
/// The result holds the special tokens that the model wants and is encoded without adding any:
/// `tokenizer.encode(text, false)`.
public final class ChatTemplate {
    /// What models without a template of their own are given: each message under its role's name, as plain text.
    static final String PLAIN = "{{ bos_token }}{% for message in messages %}"
            + "{{ message.role | capitalize }}: {{ message.content }}\n"
            + "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

    private final String template;
    private final String bosToken;
    private final String eosToken;
    private final JinjaSandbox sandbox;

    private ChatTemplate(String template, String bosToken, String eosToken) {
        this.template = template;
        this.bosToken = bosToken;
        this.eosToken = eosToken;
        sandbox = new JinjaSandbox(template);
    }

    /// One message of a conversation.
    ///
    /// @param role `system`, `user`, `assistant` or `tool`
    public record Message(String role, String content) {}

    /// The tokenizer's own template, or a plain one where it has none: `User: …`, `Assistant: …`, a line each.
    public static ChatTemplate of(Tokenizer tokenizer) {
        return new ChatTemplate(tokenizer.chatTemplate().orElse(PLAIN), tokenizer.bosToken(), tokenizer.eosToken());
    }

    /// A given template.
    ///
    /// @throws InputException if it is not Jinja
    public static ChatTemplate of(String template, String bosToken, String eosToken) {
        return new ChatTemplate(template, bosToken, eosToken);
    }

    /// The template's source.
    public String template() {
        return template;
    }

    /// The conversation as text.
    ///
    /// @param addGenerationPrompt ends with the start of the assistant's answer
    /// @throws InputException if the template refuses the conversation (roles in an order that it does not know)
    public String render(List<Message> messages, boolean addGenerationPrompt) {
        List<Map<String, Object>> maps = new ArrayList<>();
        messages.forEach(message -> maps.add(Map.of("role", message.role(), "content", message.content())));
        return render(maps, addGenerationPrompt, Map.of());
    }

    /// The conversation as text, its messages given as JSON objects (strings, numbers, booleans, null, lists, maps).
    ///
    /// A `content` of null or none at all counts as empty, as clients send it beside tool calls; a list of text parts
    /// counts as the parts' text, a line each.
    ///
    /// @param variables more variables for the template, such as `tools`
    /// @throws InputException if a message has no role or a part that is not text, or the template refuses
    public String render(
            List<? extends Map<String, ?>> messages, boolean addGenerationPrompt, Map<String, ?> variables) {
        Map<String, Object> all = new LinkedHashMap<>(variables);
        List<Object> plain = new ArrayList<>();
        messages.forEach(message -> plain.add(message(message)));
        all.put("messages", plain);
        all.put("add_generation_prompt", addGenerationPrompt);
        all.put("bos_token", bosToken);
        all.put("eos_token", eosToken);
        return sandbox.render(all);
    }

    private static Map<String, Object> message(Map<String, ?> message) {
        if (!(message.get("role") instanceof String)) {
            throw new InputException("a message needs a 'role', a string");
        }
        Map<String, Object> plain = new LinkedHashMap<>(message);
        plain.put("content", content(message.get("content")));
        return plain;
    }

    private static String content(Object content) {
        return switch (content) {
            case null -> "";
            case String text -> text;
            case List<?> parts ->
                String.join("\n", parts.stream().map(ChatTemplate::part).toList());
            default -> throw new InputException("a message's 'content' must be a string or a list of text parts");
        };
    }

    private static String part(Object part) {
        if (part instanceof String text) {
            return text;
        }
        if (part instanceof Map<?, ?> map && "text".equals(map.get("type")) && map.get("text") instanceof String text) {
            return text;
        }
        Object type = part instanceof Map<?, ?> map ? map.get("type") : null;
        throw new InputException("a content part of type '"
                + Optional.ofNullable(type).orElse("unknown") + "' is not supported; supported: text");
    }
}
