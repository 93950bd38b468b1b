package dev.espalier.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.tensor.InputException;
import dev.espalier.testing.SharedFolder;
import dev.espalier.tokenizer.ChatTemplate.Message;
import java.io.IOException;
import java.io.InputStream;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChatTemplateTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final List<Message> HELLO = List.of(new Message("user", "Hello"));

    @Test
    void everyTemplateRendersAsTransformersDoes() throws IOException {
        JsonNode goldens = goldens();
        int checked = 0;
        for (JsonNode golden : goldens.get("goldens")) {
            JsonNode template = goldens.get("templates").get(golden.get("name").textValue());
            if (template != null) {
                agrees(golden, template.textValue(), goldens);
                checked++;
            }
        }
        assertTrue(checked > 200);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"data/tokenizers/qwen2.5/tokenizer_config.json", "models/smollm2-135m/tokenizer_config.json"})
    void publishedTemplatesRenderAsTransformersDoes(String path) throws IOException {
        String template = MAPPER.readTree(SharedFolder.require(path).toFile())
                .get("chat_template")
                .textValue();
        JsonNode goldens = goldens();
        int checked = 0;
        for (JsonNode golden : goldens.get("goldens")) {
            if (golden.get("name").textValue().equals(path)) {
                agrees(golden, template, goldens);
                checked++;
            }
        }
        assertTrue(checked >= 10);
    }

    private static JsonNode goldens() throws IOException {
        try (InputStream json = ChatTemplateTest.class.getResourceAsStream("chat-templates.json")) {
            return MAPPER.readTree(json);
        }
    }

    private static void agrees(JsonNode golden, String template, JsonNode goldens) {
        List<Map<String, Object>> messages = MAPPER.convertValue(
                goldens.get("messages").get(golden.get("case").textValue()), new TypeReference<>() {});
        Map<String, Object> extra = MAPPER.convertValue(golden.get("extra"), new TypeReference<>() {});
        boolean prompt = golden.get("add_generation_prompt").booleanValue();
        String name = golden.get("name") + " " + golden.get("case");
        if (golden.has("rendered")) {
            assertEquals(
                    golden.get("rendered").textValue(),
                    ChatTemplate.of(template, "<s>", "</s>").render(messages, prompt, extra),
                    name);
        } else {
            assertThrows(
                    InputException.class,
                    () -> ChatTemplate.of(template, "<s>", "</s>").render(messages, prompt, extra),
                    name);
        }
    }

    @Test
    void aModelsChatsAreRenderedAndEncodedAsInTheReference() throws IOException {
        Tokenizer tokenizer = Tokenizer.open(SharedFolder.require("models/smollm2-135m"));
        ChatTemplate template = ChatTemplate.of(tokenizer);
        JsonNode chats = MAPPER.readTree(SharedFolder.require("models/reference/smollm2-135m/reference.json")
                        .toFile())
                .get("chats");
        assertTrue(chats.size() > 0);
        for (JsonNode chat : chats) {
            List<Message> messages = new ArrayList<>();
            chat.get("messages")
                    .forEach(m -> messages.add(new Message(
                            m.get("role").textValue(), m.get("content").textValue())));
            String rendered = template.render(messages, true);
            assertEquals(chat.get("rendered").textValue(), rendered);
            assertArrayEquals(ReferenceTokenizersTest.ids(chat.get("ids")), tokenizer.encode(rendered, false));
        }
    }

    @Test
    void aCheckpointWithoutTemplateGetsAPlainOne() {
        Tokenizer tokenizer = TinyTokenizers.sentencePiece();
        assertEquals("<s>User: Hello\nAssistant:", ChatTemplate.of(tokenizer).render(HELLO, true));
        assertEquals(
                "<s>System: Be brief.\nUser: Hi\nAssistant: Yes.\n",
                ChatTemplate.of(tokenizer)
                        .render(
                                List.of(
                                        new Message("system", "Be brief."),
                                        new Message("user", "Hi"),
                                        new Message("assistant", "Yes.")),
                                false));
    }

    @Test
    void aStartTokenInTheTemplateIsNotDoubled() {
        // Report 12 (llama-cpp-python 1501).
        Tokenizer tokenizer = TinyTokenizers.sentencePiece();
        ChatTemplate template = ChatTemplate.of(
                "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}", tokenizer.bosToken(), "");
        int[] ids = tokenizer.encode(template.render(List.of(new Message("user", "the cat")), true), false);
        assertEquals(
                1,
                Arrays.stream(ids)
                        .filter(id -> id == tokenizer.bosId().getAsInt())
                        .count());
    }

    @Test
    void contentOfNullCountsAsEmptyAndTextPartsAsText() {
        // Reports 29 and 30 (langchaingo 667, llama.cpp 13471).
        ChatTemplate template = ChatTemplate.of("{% for m in messages %}[{{ m['content'] }}]{% endfor %}", "", "");
        Map<String, Object> none = new HashMap<>();
        none.put("role", "assistant");
        none.put("content", null);
        none.put("tool_calls", List.of(Map.of("id", "1")));
        assertEquals("[]", template.render(List.of(none), false, Map.of()));
        assertEquals("[]", template.render(List.of(Map.of("role", "assistant")), false, Map.of()));
        assertEquals(
                "[Mom]",
                template.render(
                        List.of(Map.of("role", "user", "content", List.of(Map.of("type", "text", "text", "Mom")))),
                        false,
                        Map.of()));
        InputException image = assertThrows(
                InputException.class,
                () -> template.render(
                        List.of(Map.of("role", "user", "content", List.of(Map.of("type", "image_url")))),
                        false,
                        Map.of()));
        assertEquals("a content part of type 'image_url' is not supported; supported: text", image.getMessage());
        assertThrows(InputException.class, () -> template.render(List.of(Map.of("content", "x")), false, Map.of()));
        assertThrows(
                InputException.class,
                () -> template.render(List.of(Map.of("role", "user", "content", 7)), false, Map.of()));
    }

    @Test
    void aRefusalCarriesTheTemplatesOwnSentence() {
        ChatTemplate template = ChatTemplate.of("{{ raise_exception('only \"user\", <please>') }}", "", "");
        InputException refusal = assertThrows(InputException.class, () -> template.render(HELLO, true));
        assertEquals("the chat template refuses the conversation: only \"user\", <please>", refusal.getMessage());
    }

    @Test
    void messagesAreNeverReadAsTemplates() {
        String attack = "{{ bos_token }}{% for x in messages %}y{% endfor %}{# c #}{{ raise_exception('no') }}";
        assertEquals(
                "[" + attack + "]",
                ChatTemplate.of("{% for m in messages %}[{{ m.content }}]{% endfor %}", "<s>", "")
                        .render(List.of(new Message("user", attack)), true));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{{ ''.getClass() }}",
                "{{ ''.class.name }}",
                "{{ messages.getClass().forName('java.lang.Runtime') }}",
                "{{ messages[0].content.class }}",
                "{{ ''.__class__.__mro__ }}",
                "{{ ____int3rpr3t3r____.getConfig() }}",
                "{{ ____int3rpr3t3r____.context }}",
                "{{ messages.stream() }}",
                "{{ messages[0].content.getBytes() }}",
                "{{ loop.getClass() }}",
                "{% for m in messages %}{{ loop.getClass() }}{{ loop.class }}{% endfor %}",
                "{% include '/etc/passwd' %}",
                "{% import '/etc/passwd' as x %}",
                "{% from '/etc/passwd' import x %}",
                "{% extends '/etc/passwd' %}",
                "{{ '{{ bos_token }}' | render }}",
                "{{ range.getClass() }}",
                "{{ raise_exception.getClass() }}"
            })
    void templatesReachNoJava(String template) {
        assertThrows(
                InputException.class,
                () -> {
                    String rendered = ChatTemplate.of(template, "<s>", "</s>").render(HELLO, true);
                    // Nothing at all is as good as a refusal.
                    if (rendered.isEmpty()) {
                        throw new InputException("empty");
                    }
                },
                template);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{% for a in range(60000) %}{% for b in range(60000) %}{% for c in range(60000) %}{{ c }}"
                        + "{% endfor %}{% endfor %}{% endfor %}",
                "{% for a in range(60000) %}{% for b in range(60000) %}{% if a %}{% endif %}"
                        + "{% endfor %}{% endfor %}",
                "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}"
                        + "{% endfor %}{{ ns.x }}",
                "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
                "{% for i in range(60000) %}{% for j in range(60000) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                        + "{% endfor %}{% endfor %}"
            })
    void templatesThatRunOnAreStopped(String template) {
        assertThrows(
                InputException.class, () -> ChatTemplate.of(template, "", "").render(HELLO, true));
    }

    @Test
    void deeplyNestedTemplatesAreRefused() {
        String deep = "{% if true %}".repeat(5000) + "x" + "{% endif %}".repeat(5000);
        assertThrows(InputException.class, () -> ChatTemplate.of(deep, "", "").render(HELLO, true));
        String brackets = "{{ " + "(".repeat(20000) + "1" + ")".repeat(20000) + " }}";
        assertThrows(
                InputException.class, () -> ChatTemplate.of(brackets, "", "").render(HELLO, true));
    }

    @Test
    void theDateIsWrittenAsStrftimeDoes() {
        LocalDateTime time = LocalDateTime.of(2026, 11, 6, 9, 5, 7);
        assertEquals("06 Nov 2026", Strftime.format("%d %b %Y", time));
        assertEquals("Friday, November 6, 26", Strftime.format("%A, %B %-d, %y", time));
        assertEquals("2026-11-06 09:05:07 AM 100%", Strftime.format("%Y-%m-%d %H:%M:%S %p 100%%", time));
        String today = ChatTemplate.of("{{ strftime_now('%Y-%m-%d') }}", "", "").render(HELLO, true);
        assertTrue(today.matches("20[0-9]{2}-[01][0-9]-[0-3][0-9]"), today);
    }

    @Test
    void severalThreadsMayRenderAtOnce() {
        ChatTemplate template = ChatTemplate.of(
                "{% for m in messages %}{% set x = m.content %}{{ x }}{{ loop.index }}{% endfor %}", "", "");
        List<String> rendered = IntStream.range(0, 64)
                .parallel()
                .mapToObj(i -> template.render(List.of(new Message("user", "m" + i)), true))
                .toList();
        assertEquals(IntStream.range(0, 64).mapToObj(i -> "m" + i + "1").toList(), rendered);
    }
}
