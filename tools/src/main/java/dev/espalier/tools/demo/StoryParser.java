package dev.espalier.tools.demo;

import dev.espalier.tools.demo.Production.Kind;
import dev.espalier.tools.demo.StoryWorld.Contradiction;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// Reads what [StoryGrammar] writes: whether a sentence is one of the grammar's, and whether a story contradicts itself.
public final class StoryParser {
    private record Reading(Kind kind, Map<String, Object> event) {}

    private StoryParser() {}

    /// Whether the sentence, taken alone, can be derived from the grammar: its words, its form and its agreement
    /// (gender, number, articles) are right, whatever was said before it.
    ///
    /// @param sentence one sentence with its full stop or question mark, without spaces around it
    public static boolean accepts(String sentence) {
        return !readings(sentence).isEmpty();
    }

    /// The sentences of a text, in order, each with its closing mark; a piece without one at the end is returned as it
    /// is. A question mark inside quotation marks ends a sentence only where no small letter follows ("...?" asked Mia).
    public static List<String> sentences(String text) {
        List<String> found = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            int end = -1;
            if (c == '\n') {
                end = i;
            } else if (c == '.' || c == '?' || c == '!') {
                int next = i + 1;
                if (next < text.length() && text.charAt(next) == '"') {
                    next++;
                }
                boolean last = next == text.length() || text.charAt(next) == '\n';
                boolean spaced = !last && text.charAt(next) == ' ' && next + 1 < text.length();
                if (last || (spaced && !Character.isLowerCase(text.charAt(next + 1)))) {
                    end = next;
                }
            }
            if (end >= 0) {
                add(found, text.substring(start, end));
                start = end;
                i = Math.max(i, end - 1);
            }
        }
        add(found, text.substring(start));
        return found;
    }

    private static void add(List<String> found, String sentence) {
        String stripped = sentence.strip();
        if (!stripped.isEmpty()) {
            found.add(stripped);
        }
    }

    /// Whether the story is one of the grammar's: every sentence accepted, none contradicting an earlier one, and
    /// complete from its opening to its end.
    public static boolean consistent(String story) {
        return fault(story, true) == null;
    }

    /// What is wrong with a story, as one line that names the sentence; null if nothing is.
    ///
    /// @param story one paragraph
    /// @param whole whether the story must have come to its end
    public static String fault(String story, boolean whole) {
        StoryWorld world = new StoryWorld();
        for (String sentence : sentences(story)) {
            List<Reading> readings = readings(sentence);
            if (readings.isEmpty()) {
                return "not a sentence of the grammar: " + sentence;
            }
            String why = null;
            for (Reading r : readings) {
                try {
                    world.accept(r.kind, r.event);
                    why = null;
                    break;
                } catch (Contradiction e) {
                    why = e.getMessage();
                }
            }
            if (why != null) {
                return why + ": " + sentence;
            }
        }
        return whole && !world.complete() ? "the story does not end" : null;
    }

    private static List<Reading> readings(String sentence) {
        List<Reading> found = new ArrayList<>();
        for (String form : Production.uncapitalized(sentence)) {
            for (Production p : Production.ALL) {
                for (Map<String, Object> event : p.parse(form)) {
                    found.add(new Reading(p.kind(), event));
                }
            }
        }
        return found;
    }
}
