package dev.espalier.tools.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class StoryTextTest {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();

    private int run(String in, String... args) throws IOException {
        out.reset();
        err.reset();
        return StoryText.run(
                args,
                new ByteArrayInputStream(in.getBytes(StandardCharsets.UTF_8)),
                new PrintStream(out, true, StandardCharsets.UTF_8),
                new PrintStream(err, true, StandardCharsets.UTF_8));
    }

    private String printed() {
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void printsTheSeedsStories() throws IOException {
        assertEquals(0, run("", "--seed", "8", "--stories", "3"));
        StoryGrammar grammar = StoryGrammar.of(8);
        assertEquals(grammar.story() + "\n\n" + grammar.story() + "\n\n" + grammar.story() + "\n", printed());
    }

    @Test
    void printsTalksOneTurnALine() throws IOException {
        assertEquals(0, run("", "--seed", "8", "--talks", "20"));
        String[] talks = printed().strip().split("\n\n");
        assertEquals(20, talks.length);
        for (String talk : talks) {
            for (String line : talk.split("\n")) {
                assertEquals(2, line.split("\t").length, line);
            }
        }
    }

    @Test
    void judgesSentencesAndStories() throws IOException {
        assertEquals(0, run("Mia laughed. Mia laugh.\n", "--check", "sentences"));
        assertEquals("yes\tMia laughed.\nno\tMia laugh.\n", printed());
        String story = StoryGrammar.of(8).story();
        assertEquals(0, run(story + "\n\nMia laughed.\n", "--check", "stories"));
        assertEquals("yes\t\nno\tnot at this time of the story: Mia laughed.\n", printed());
    }

    @Test
    void anUnknownOptionIsExplained() throws IOException {
        assertEquals(2, run("", "--storys", "3"));
        assertEquals(2, run("", "--stories"));
        assertEquals(2, run("", "--stories", "many"));
        assertTrue(err.toString(StandardCharsets.UTF_8).startsWith("usage: StoryText"));
        assertEquals("", printed());
    }
}
