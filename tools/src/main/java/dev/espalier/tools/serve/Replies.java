package dev.espalier.tools.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.UUID;

/// The documents of one request, in the shapes of OpenAI's reference: whole answers and the chunks of a stream, for
/// completions and for chats.
final class Replies {
    private final boolean chat;
    private final String model;
    private final String id;
    private final long created = Instant.now().getEpochSecond();

    Replies(boolean chat, String model) {
        this.chat = chat;
        this.model = model;
        this.id = (chat ? "chatcmpl-" : "cmpl-") + UUID.randomUUID().toString().replace("-", "");
    }

    /// The whole answer.
    ObjectNode whole(Request request, List<Answer> answers) {
        ObjectNode reply = head(chat ? "chat.completion" : "text_completion");
        ArrayNode choices = reply.putArray("choices");
        for (Answer answer : answers) {
            ObjectNode choice = choices.addObject().put("index", answer.index());
            if (chat) {
                choice.putObject("message").put("role", "assistant").put("content", answer.text());
            } else {
                choice.put("text", answer.text());
            }
            choice.set("logprobs", logprobs(request, answer.tokens(), 0));
            choice.put("finish_reason", answer.finishReason());
        }
        reply.set("usage", usage(answers, request.choices()));
        return reply;
    }

    /// A chat stream's first chunk for a choice: the role.
    ObjectNode role(int index) {
        ObjectNode chunk = head("chat.completion.chunk");
        ObjectNode choice = chunk.putArray("choices").addObject().put("index", index);
        choice.putObject("delta").put("role", "assistant").put("content", "");
        choice.putNull("finish_reason");
        return chunk;
    }

    /// A piece of a choice's text.
    ///
    /// @param offset characters of the choice's text before this piece
    ObjectNode delta(Request request, int index, String text, List<Answer.Token> tokens, int offset) {
        return chunk(request, index, text, tokens, offset, null);
    }

    /// A choice's last chunk.
    ObjectNode finish(Request request, Answer answer) {
        return chunk(request, answer.index(), "", List.of(), answer.text().length(), answer.finishReason());
    }

    private ObjectNode chunk(
            Request request, int index, String text, List<Answer.Token> tokens, int offset, String finishReason) {
        ObjectNode chunk = head(chat ? "chat.completion.chunk" : "text_completion");
        ObjectNode choice = chunk.putArray("choices").addObject().put("index", index);
        if (chat) {
            ObjectNode delta = choice.putObject("delta");
            if (finishReason == null) {
                delta.put("content", text);
            }
        } else {
            choice.put("text", text);
        }
        choice.set("logprobs", tokens.isEmpty() ? null : logprobs(request, tokens, offset));
        choice.put("finish_reason", finishReason);
        return chunk;
    }

    /// The chunk after the last one that `stream_options.include_usage` asks for.
    ObjectNode usageChunk(Request request, List<Answer> answers) {
        ObjectNode chunk = head(chat ? "chat.completion.chunk" : "text_completion");
        chunk.putArray("choices");
        chunk.set("usage", usage(answers, request.choices()));
        return chunk;
    }

    private ObjectNode head(String object) {
        return JsonNodeFactory.instance
                .objectNode()
                .put("id", id)
                .put("object", object)
                .put("created", created)
                .put("model", model);
    }

    /// A prompt counts once however many answers it gets.
    private static ObjectNode usage(List<Answer> answers, int choices) {
        int prompt = 0;
        int completion = 0;
        for (Answer answer : answers) {
            prompt += answer.index() % choices == 0 ? answer.promptTokens() : 0;
            completion += answer.newTokens();
        }
        return JsonNodeFactory.instance
                .objectNode()
                .put("prompt_tokens", prompt)
                .put("completion_tokens", completion)
                .put("total_tokens", prompt + completion);
    }

    private ObjectNode logprobs(Request request, List<Answer.Token> tokens, int offset) {
        if (request.logprobs() < 0) {
            return null;
        }
        return chat ? chatLogprobs(tokens) : completionLogprobs(request, tokens, offset);
    }

    private static ObjectNode completionLogprobs(Request request, List<Answer.Token> tokens, int offset) {
        ObjectNode logprobs = JsonNodeFactory.instance.objectNode();
        ArrayNode texts = logprobs.putArray("tokens");
        ArrayNode values = logprobs.putArray("token_logprobs");
        ArrayNode tops = logprobs.putArray("top_logprobs");
        ArrayNode offsets = logprobs.putArray("text_offset");
        int at = offset;
        for (Answer.Token token : tokens) {
            texts.add(token.text());
            offsets.add(at);
            at += token.text().length();
            if (Double.isNaN(token.logprob())) {
                values.addNull();
                tops.addNull();
                continue;
            }
            values.add(token.logprob());
            if (request.logprobs() == 0) {
                tops.addNull();
                continue;
            }
            ObjectNode top = tops.addObject();
            for (Answer.Token candidate : token.top()) {
                top.put(candidate.text(), candidate.logprob());
            }
        }
        return logprobs;
    }

    private static ObjectNode chatLogprobs(List<Answer.Token> tokens) {
        ObjectNode logprobs = JsonNodeFactory.instance.objectNode();
        ArrayNode content = logprobs.putArray("content");
        for (Answer.Token token : tokens) {
            ArrayNode top = token(content.addObject(), token).putArray("top_logprobs");
            for (Answer.Token candidate : token.top()) {
                token(top.addObject(), candidate);
            }
        }
        return logprobs;
    }

    private static ObjectNode token(ObjectNode node, Answer.Token token) {
        node.put("token", token.text()).put("logprob", token.logprob());
        ArrayNode bytes = node.putArray("bytes");
        for (byte b : token.text().getBytes(StandardCharsets.UTF_8)) {
            bytes.add(b & 0xff);
        }
        return node;
    }
}
