package dev.espalier.generate;

import java.util.List;

/// Lets a text through until a stop string appears, and never the beginning of one: what may still become a stop string
/// is held back until it is clear that it does not.
final class StopStrings {
    private final List<String> stops;
    private final StringBuilder held = new StringBuilder();
    private boolean found;

    StopStrings(List<String> stops) {
        this.stops = stops;
    }

    /// Whether a stop string has appeared; what came after its first character is dropped.
    boolean found() {
        return found;
    }

    /// Takes the next piece of the text and returns what can be shown now.
    String next(String piece) {
        held.append(piece);
        int end = held.length();
        for (String stop : stops) {
            int at = held.indexOf(stop);
            if (at >= 0 && at < end) {
                end = at;
                found = true;
            }
        }
        if (found) {
            return take(end, held.length());
        }
        int keep = 0;
        for (String stop : stops) {
            keep = Math.max(keep, overlap(stop));
        }
        return take(held.length() - keep, held.length() - keep);
    }

    /// What is still held back at the end of the text.
    String finish() {
        return take(held.length(), held.length());
    }

    private String take(int shown, int dropped) {
        String text = held.substring(0, shown);
        held.delete(0, dropped);
        return text;
    }

    /// The length of the longest end of the held text that is a beginning of `stop`.
    private int overlap(String stop) {
        for (int length = Math.min(held.length(), stop.length() - 1); length > 0; length--) {
            if (stop.startsWith(held.substring(held.length() - length))) {
                return length;
            }
        }
        return 0;
    }
}
