package dev.espalier.tools.serve;

import java.util.concurrent.atomic.LongAdder;

/// What the server has done since it started, in Prometheus' text form.
final class Metrics {
    final LongAdder requests = new LongAdder();
    final LongAdder promptTokens = new LongAdder();
    final LongAdder generatedTokens = new LongAdder();
    final LongAdder promptNanos = new LongAdder();
    final LongAdder generatedNanos = new LongAdder();

    String text(Slots slots) {
        StringBuilder text = new StringBuilder();
        line(text, "espalier_requests_total", "counter", "Requests answered.", requests.sum());
        line(text, "espalier_prompt_tokens_total", "counter", "Prompt tokens computed.", promptTokens.sum());
        line(text, "espalier_generated_tokens_total", "counter", "Tokens generated.", generatedTokens.sum());
        line(text, "espalier_prompt_seconds_total", "counter", "Seconds of prefill.", promptNanos.sum() / 1e9);
        line(text, "espalier_generated_seconds_total", "counter", "Seconds of decode.", generatedNanos.sum() / 1e9);
        line(text, "espalier_requests_running", "gauge", "Requests being generated.", slots.running());
        line(text, "espalier_requests_waiting", "gauge", "Requests waiting for a slot.", slots.waiting());
        return text.toString();
    }

    private static void line(StringBuilder text, String name, String type, String help, Number value) {
        text.append("# HELP %s %s%n# TYPE %s %s%n%s %s%n".formatted(name, help, name, type, name, value));
    }
}
