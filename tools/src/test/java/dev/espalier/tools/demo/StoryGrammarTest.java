package dev.espalier.tools.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class StoryGrammarTest {
    private static String sha256(String text) throws Exception {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        return HexFormat.of().formatHex(digest);
    }

    /// Training, calibration and evaluation of the embedded models rest on this text: a change here asks for new models.
    @Test
    void aSeedGivesTheSameTextForEver() throws Exception {
        assertEquals(
                "5864f78f30b88aaee92e365e24947cac4e5a72920072406d7385715d044d30b4",
                sha256(StoryGrammar.of(StoryGrammar.HELD_OUT_SEED).text(200_000)));
        StoryGrammar grammar = StoryGrammar.of(101);
        StringBuilder talks = new StringBuilder();
        for (int i = 0; i < 200; i++) {
            for (StoryGrammar.Turn turn : grammar.talk()) {
                talks.append(turn.request()).append('\t').append(turn.reply()).append('\n');
            }
        }
        assertEquals("07abd7eb56d79cb047ad6257501674f9d74965e73a81774d4ab34778c5fc5674", sha256(talks.toString()));
    }

    @Test
    void storiesTextAndStreamAreTheSameSequence() {
        List<String> stories = StoryGrammar.of(9).stories().limit(40).toList();
        StoryGrammar again = StoryGrammar.of(9);
        for (String story : stories) {
            assertEquals(story, again.story());
        }
        String text = StoryGrammar.of(9).text(5_000);
        assertTrue(text.length() >= 5_000, "at least the length asked for");
        List<String> paragraphs = List.of(text.split(StoryGrammar.SEPARATOR));
        assertEquals(stories.subList(0, paragraphs.size()), paragraphs);
        assertTrue(text.length() - paragraphs.getLast().length() < 5_000, "no story more than it takes");
    }

    @Test
    void aTextOfNoLengthIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> StoryGrammar.of(1).text(0));
    }

    @Test
    void seedsShareNoStory() {
        Set<String> training = new HashSet<>(StoryGrammar.of(StoryGrammar.TRAINING_SEED)
                .stories()
                .limit(3_000)
                .toList());
        for (long seed : new long[] {StoryGrammar.CALIBRATION_SEED, StoryGrammar.HELD_OUT_SEED, 4, -1}) {
            List<String> others = StoryGrammar.of(seed).stories().limit(1_000).toList();
            assertTrue(others.stream().noneMatch(training::contains), "seed " + seed);
        }
        assertEquals(3_000, training.size(), "and none comes twice");
        assertNotEquals(StoryGrammar.of(5).story(), StoryGrammar.of(6).story());
    }

    @Test
    void storiesHaveTheLengthOfAParagraph() {
        for (String story : StoryGrammar.of(12).stories().limit(300).toList()) {
            int sentences = StoryParser.sentences(story).size();
            assertTrue(sentences >= 6 && sentences <= 45, sentences + " sentences: " + story);
            assertTrue(story.indexOf('\n') < 0, "one paragraph");
        }
    }

    @Test
    void talksAskForAStoryAndThenAboutItsEnd() {
        StoryGrammar grammar = StoryGrammar.of(31);
        int questions = 0;
        for (int i = 0; i < 300; i++) {
            List<StoryGrammar.Turn> turns = grammar.talk();
            assertTrue(
                    StoryParser.accepts(turns.getFirst().request()),
                    turns.getFirst().request());
            assertTrue(
                    StoryParser.consistent(turns.getFirst().reply()),
                    turns.getFirst().reply());
            for (StoryGrammar.Turn turn : turns.subList(1, turns.size())) {
                questions++;
                assertTrue(StoryParser.accepts(turn.request()), turn.request());
                assertTrue(StoryParser.accepts(turn.reply()), turn.reply());
            }
        }
        assertTrue(questions > 300, questions + " questions");
    }
}
