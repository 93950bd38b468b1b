package dev.espalier.tools.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class StoryParserTest {
    private static final String STORY =
            "One rainy morning Mia and her brother Tom were in the garden. Mia had a red kite."
                    + " Tom had five plums. Mia gave the kite to her brother. Tom thanked Mia. He gave Mia two plums."
                    + " Now Tom had three plums, and Mia had two plums. Then Tom hid the red kite under a bush."
                    + " Mia went to the barn. Where was the kite? It was in the garden. Tom followed Mia to the barn."
                    + " \"Where is the red kite?\" asked Mia. \"It is in the garden,\" said Tom."
                    + " In the evening they went home together. The red kite was still in the garden. They were tired but happy.";

    @Test
    void everythingThatTheGrammarWritesIsAccepted() {
        for (long seed = 0; seed < 150; seed++) {
            StoryGrammar grammar = StoryGrammar.of(seed);
            for (int i = 0; i < 6; i++) {
                String story = grammar.story();
                assertNull(StoryParser.fault(story, true), story);
                for (String sentence : StoryParser.sentences(story)) {
                    assertTrue(StoryParser.accepts(sentence), sentence);
                }
                assertEquals(story, String.join(" ", StoryParser.sentences(story)));
            }
        }
    }

    @Test
    void aStoryWrittenByHandIsConsistent() {
        assertNull(StoryParser.fault(STORY, true));
        assertTrue(StoryParser.consistent(STORY));
    }

    /// One change each to the story above, which leaves every sentence grammatical.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    her brother Tom were       | her sister Anna were
                    Tom were in the garden     | Tom were in the kitchen
                    Mia gave                   | Tom gave
                    Mia gave                   | She gave
                    He gave                    | She gave
                    the kite to her brother    | the kite to her sister
                    gave the kite              | gave the blue kite
                    gave the kite              | gave the drum
                    Tom thanked Mia            | Mia thanked Tom
                    gave Mia two plums         | gave Mia six plums
                    gave Mia two plums         | gave Mia two pears
                    Now Tom had three          | Now Tom had four
                    and Mia had two            | and Mia had three
                    Tom hid the red kite       | Mia hid the red kite
                    Mia went to the barn       | Mia went to the garden
                    It was in the garden       | It was in the barn
                    It was in the garden       | Mia had it
                    It was in the garden. Tom  | Tom
                    Tom followed Mia to        | Anna followed Mia to
                    followed Mia to the barn   | followed Mia to the mill
                    "It is in the garden," said Tom | "I have it," said Tom
                    "It is in the garden," said Tom | "It is in the garden," said Mia
                    One rainy morning          | One sunny afternoon the rain fell. One rainy morning
                    still in the garden        | still on the hill
                    In the evening they        | They were tired but happy. In the evening they
                    """)
    void aChangedStoryIsRefused(String was, String becomes) {
        assertTrue(STORY.contains(was), was);
        assertFalse(StoryParser.consistent(STORY.replace(was, becomes)));
    }

    @Test
    void aStoryThatStopsInTheMiddleIsConsistentButNotWhole() {
        String half = STORY.substring(0, STORY.indexOf("In the evening") - 1);
        assertNull(StoryParser.fault(half, false));
        assertEquals("the story does not end", StoryParser.fault(half, true));
    }

    @Test
    void faultsNameTheSentence() {
        String fault = StoryParser.fault(STORY.replace("Now Tom had three", "Now Tom had four"), true);
        assertEquals("wrong count: Now Tom had four plums, and Mia had two plums.", fault);
        assertEquals("not a sentence of the grammar: Hello.", StoryParser.fault("Hello. " + STORY, true));
    }

    @Test
    void aWrongHolderIsRefusedInEveryStory() {
        Pattern holder = Pattern.compile("(Now (?=\\w+ had the)|\\? )(\\w+)(?= had (?:the |it\\.))");
        int changed = 0;
        for (String story : StoryGrammar.of(40).stories().limit(300).toList()) {
            Matcher m = holder.matcher(story);
            while (m.find()) {
                for (String other : List.of("Mia", "Tom", "Ella", "Hugo")) {
                    if (!other.equals(m.group(2))
                            && Character.isUpperCase(m.group(2).charAt(0))) {
                        String bad = story.substring(0, m.start(2)) + other + story.substring(m.end(2));
                        assertNotNull(StoryParser.fault(bad, true), bad);
                        changed++;
                    }
                }
            }
        }
        assertTrue(changed > 100, changed + " changed stories");
    }

    @Test
    void aWrongCountIsRefusedInEveryStory() {
        List<String> numbers = List.of("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten");
        Pattern count =
                Pattern.compile("(?:Now \\w+ had|still had|Only|Together they had|\"I have) (\\w+) \\w+[.,\" ]");
        int changed = 0;
        for (String story : StoryGrammar.of(41).stories().limit(300).toList()) {
            Matcher m = count.matcher(story);
            while (m.find()) {
                int n = numbers.indexOf(m.group(1));
                if (n >= 1 && n < 9) {
                    String bad = story.substring(0, m.start(1)) + numbers.get(n + 1) + story.substring(m.end(1));
                    assertNotNull(StoryParser.fault(bad, true), bad);
                    changed++;
                }
            }
        }
        assertTrue(changed > 100, changed + " changed stories");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    Mia had an orange kite.                       | Mia had a orange kite.
                    Mia had a red kite.                           | Mia had an red kite.
                    Tom had a silver cup.                         | Tom had a silver scarf.
                    Mia had a red kite with her.                  | Mia had a red kite with him.
                    She had three plums.                          | She had three plum.
                    Now he had one plum.                          | Now he had one plums.
                    Only one plum was left.                       | Only one plum were left.
                    Only two plums were left.                     | Only two plums was left.
                    Tom ate two plums.                            | Tom ate two coins.
                    Tom ate two plums.                            | Tom ate no plums.
                    Tom asked Mia for the kite, and Mia gave it to him. | Tom asked Mia for the kite, and Mia gave it to her.
                    Tom asked Mia for the kite, and Mia gave it to him. | Tom asked Mia for the kite, and Anna gave it to him.
                    She was happy because she had the kite.       | She was happy because he had the kite.
                    Mia gave the kite to her brother.             | Mia gave the kite to his brother.
                    Mia gave the kite to Tom.                     | Mia gave the kite to Mia.
                    Once there was a girl named Mia.              | Once there was a boy named Mia.
                    She had a brother named Tom.                  | She had a sister named Tom.
                    One icy morning they went to the lake.        | One icy morning they go to the lake.
                    It was an icy morning, and Mia was at the mill with her friend Tom. | It was a icy morning, and Mia was at the mill with her friend Tom.
                    They were tired but happy.                    | They was tired but happy.
                    Mia went to the garden and found the key under a bush. | Mia went to the garden and found the key on the shelf.
                    "Where is Tom?" asked Mia.                    | "Where is Mia?" asked Mia.
                    Then she went to the barn.                    | Then She went to the barn.
                    Then she went to the barn.                    | then she went to the barn.
                    Then she went to the barn.                    | Then she went to the barn
                    Then she went to the barn.                    | Then she went to barn.
                    Tom gave the ring to Mia and got the key in return. | Tom gave the ring to Mia and got the ring in return.
                    """)
    void oneWrongWordIsRefused(String good, String bad) {
        assertTrue(StoryParser.accepts(good), good);
        assertFalse(StoryParser.accepts(bad), bad);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"", " ", ".", "\"", "Mia", "The", "\"Where", "Mia had a red kite. Mia laughed.", "É.", "\n"})
    void whatIsNoSentenceIsRefused(String text) {
        assertFalse(StoryParser.accepts(text));
    }

    @Test
    void swappedNeighboursAreRefused() {
        int refused = 0;
        List<String> accepted = new ArrayList<>();
        for (String sentence :
                StoryParser.sentences(StoryGrammar.of(77).text(20_000).replace(StoryGrammar.SEPARATOR, " "))) {
            String[] words = sentence.substring(0, sentence.length() - 1).split(" ");
            for (int i = 1; i < words.length; i++) {
                String[] swapped = words.clone();
                swapped[i - 1] = words[i];
                swapped[i] = words[i - 1];
                if (!Arrays.equals(words, swapped)) {
                    String bad = String.join(" ", swapped) + sentence.charAt(sentence.length() - 1);
                    if (StoryParser.accepts(bad)) {
                        accepted.add(bad);
                    } else {
                        refused++;
                    }
                }
            }
        }
        assertTrue(refused > 2_000, refused + " refused");
        assertEquals(List.of(), accepted);
    }

    @Test
    void aQuestionInQuotationMarksEndsOnlyBeforeACapital() {
        assertEquals(
                List.of(
                        "Mia laughed.",
                        "\"Where is Tom?\" asked Mia.",
                        "\"He is at the mill,\" said Leo.",
                        "Who had the key now?",
                        "Leo had it.",
                        "And then"),
                StoryParser.sentences("Mia laughed. \"Where is Tom?\" asked Mia. \"He is at the mill,\" said Leo."
                        + " Who had the key now? Leo had it.\n\nAnd then"));
        assertEquals(List.of(), StoryParser.sentences(" \n \n"));
    }
}
