package dev.espalier.tools.serve;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/// One request on its way: waits for a slot, generates each choice, and sends what comes of it.
final class Completion {
    private final Engine engine;
    private final Request request;
    private final HttpReply reply;
    private final Replies replies;
    private final boolean chat;
    private final AtomicBoolean clientGone = new AtomicBoolean();
    /// Ends the watch; an interrupt would close the connection it writes to.
    private final CountDownLatch answered = new CountDownLatch(1);

    Completion(Engine engine, Request request, HttpReply reply, Replies replies, boolean chat) {
        this.engine = engine;
        this.request = request;
        this.reply = reply;
        this.replies = replies;
        this.chat = chat;
    }

    /// Answers the request; `patience` is how long the client hears nothing before it is told that work goes on.
    ///
    /// @throws IOException if the client has gone
    void run(Duration patience) throws IOException, InterruptedException {
        List<int[]> prompts = new ArrayList<>();
        for (Request.Prompt prompt : request.prompts()) {
            int[] tokens = engine.tokens(prompt, chat);
            engine.check(request, tokens);
            prompts.add(tokens);
        }
        Thread.startVirtualThread(() -> watch(patience));
        try (Slots.Slot _ = engine.slots().take()) {
            if (clientGone.get()) {
                throw new IOException("the client left while it waited");
            }
            if (request.delivery().stream()) {
                reply.beginStream();
            }
            List<Answer> answers = new ArrayList<>();
            for (int[] prompt : prompts) {
                for (int n = 0; n < request.choices(); n++) {
                    answers.add(answer(prompt, answers.size(), n));
                }
            }
            answered.countDown();
            finish(answers);
        } finally {
            answered.countDown();
        }
    }

    private void watch(Duration patience) {
        try {
            while (!answered.await(patience.toMillis(), TimeUnit.MILLISECONDS)) {
                reply.keepAlive(request.delivery().stream());
            }
        } catch (IOException e) {
            clientGone.set(true);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private Answer answer(int[] prompt, int index, int attempt) throws IOException {
        if (!request.delivery().stream()) {
            return engine.generate(request, prompt, index, attempt, (text, tokens, offset) -> {}, clientGone::get);
        }
        if (chat) {
            reply.event(replies.role(index));
        }
        Answer answer = engine.generate(
                request,
                prompt,
                index,
                attempt,
                (text, tokens, offset) -> reply.event(replies.delta(request, index, text, tokens, offset)),
                clientGone::get);
        reply.event(replies.finish(request, answer));
        return answer;
    }

    private void finish(List<Answer> answers) throws IOException {
        if (!request.delivery().stream()) {
            reply.json(200, replies.whole(request, answers));
            return;
        }
        if (request.delivery().usage()) {
            reply.event(replies.usageChunk(request, answers));
        }
        reply.endStream();
    }
}
