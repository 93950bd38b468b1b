package dev.espalier.tools.demo;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/// Prints stories, or judges them, for scripts.
///
/// `--seed S` with `--stories N` prints stories, separated by blank lines; with `--talks N`, talks, separated by blank
/// lines, one turn a line, reader and teller separated by a tab. `--check sentences` and `--check stories` read a text
/// from standard input and print a line for each: `yes` or `no`, a tab, and the sentence or the story's fault.
public final class StoryText {
    private StoryText() {}

    /// Runs the command.
    public static void main(String[] args) throws IOException {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        int status = run(args, System.in, out, System.err);
        out.flush();
        if (status != 0) {
            System.exit(status);
        }
    }

    static int run(String[] args, InputStream in, PrintStream out, PrintStream err) throws IOException {
        long seed = StoryGrammar.TRAINING_SEED;
        int stories = 0;
        int talks = 0;
        String check = null;
        try {
            for (int i = 0; i < args.length; i += 2) {
                String value = args[i + 1];
                switch (args[i]) {
                    case "--seed" -> seed = Long.parseLong(value);
                    case "--stories" -> stories = Integer.parseInt(value);
                    case "--talks" -> talks = Integer.parseInt(value);
                    case "--check" -> check = value;
                    default -> throw new IllegalArgumentException(args[i]);
                }
            }
        } catch (IllegalArgumentException | ArrayIndexOutOfBoundsException e) {
            err.println(
                    "usage: StoryText [--seed S] [--stories N] [--talks N], or StoryText --check sentences|stories");
            return 2;
        }
        if (check != null) {
            check(check.equals("stories"), new String(in.readAllBytes(), StandardCharsets.UTF_8), out);
            return 0;
        }
        StoryGrammar grammar = StoryGrammar.of(seed);
        for (int i = 0; i < stories; i++) {
            out.print(i == 0 ? "" : StoryGrammar.SEPARATOR);
            out.print(grammar.story());
        }
        for (int i = 0; i < talks; i++) {
            out.print(i == 0 && stories == 0 ? "" : StoryGrammar.SEPARATOR);
            String separator = "";
            for (StoryGrammar.Turn turn : grammar.talk()) {
                out.print(separator + turn.request() + "\t" + turn.reply());
                separator = "\n";
            }
        }
        out.print("\n");
        return 0;
    }

    private static void check(boolean stories, String text, PrintStream out) {
        if (!stories) {
            for (String sentence : StoryParser.sentences(text)) {
                out.print((StoryParser.accepts(sentence) ? "yes\t" : "no\t") + sentence + "\n");
            }
            return;
        }
        for (String story : text.split("\n\\s*\n")) {
            if (!story.isBlank()) {
                String fault = StoryParser.fault(story, true);
                out.print(fault == null ? "yes\t\n" : "no\t" + fault + "\n");
            }
        }
    }
}
