package dev.espalier.tools;

import static dev.espalier.tools.Cli.refused;
import static dev.espalier.tools.Cli.words;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

class EspalierTest {
    @Test
    void noArgumentsPrintTheHelpToStderrAndExitWithTwo() {
        Cli cli = Cli.run();
        assertEquals(2, cli.code());
        assertEquals("", cli.out());
        assertTrue(cli.err().contains("Try:"), cli.err());
    }

    @Test
    void helpAndVersionGoToStdout() {
        for (String option : List.of("--help", "-h", "--version", "-V")) {
            Cli cli = Cli.run(option);
            assertEquals(0, cli.code(), option);
            assertTrue(cli.out().contains("espalier"), option);
            assertEquals("", cli.err(), option);
        }
    }

    @Test
    void everyCommandsHelpTeachesByExampleAndExplainsEveryOption() {
        for (CommandLine command : commands()) {
            String name = command.getCommandSpec().qualifiedName();
            String help = command.getUsageMessage();
            if (command.getSubcommands().isEmpty()) {
                assertTrue(help.contains("Example"), name + " has no example");
                assertTrue(command.getCommandSpec().findOption("--json") != null, name + " has no --json");
                assertTrue(command.getCommandSpec().findOption("--quiet") != null, name + " has no --quiet");
                assertTrue(command.getCommandSpec().findOption("--no-color") != null, name + " has no --no-color");
                assertTrue(command.getCommandSpec().findOption("--debug") != null, name + " has no --debug");
            }
            command.getCommandSpec().options().forEach(option -> {
                assertTrue(option.description().length > 0, name + " " + option.longestName());
                assertTrue(option.hidden() || help.contains(option.longestName()), name + option.longestName());
            });
        }
    }

    @Test
    void anUnknownOptionGetsTwoLinesAndNoUsage() {
        refused(
                2,
                words("info", "demo-llama", "--layer"),
                "Unknown option",
                "--layer",
                "did you mean --layers",
                "--help");
        refused(2, words("info", "demo-llama", "--frobnicate=3"), "--frobnicate");
        refused(2, words("--frobnicate"), "--frobnicate");
    }

    @Test
    void anUnknownVerbIsRefused() {
        refused(2, words("frobnicate"), "frobnicate");
        refused(2, words("eval", "tasks", "demo-llama"), "tasks");
    }

    @Test
    void aMissingModelIsAskedFor() {
        refused(2, words("info"), "MODEL");
    }

    @Test
    void wordsThatBeginWithAnAtSignAreNotFiles() {
        refused(2, words("info", "@nothing"), "@nothing");
    }

    @Test
    void verbsThatDoNotWorkYetAreAbsent() {
        String help = Cli.run("--help").out();
        for (String verb : List.of("experiment", "pull")) {
            assertFalse(help.contains(verb), verb);
            refused(2, words(verb));
        }
    }

    private static List<CommandLine> commands() {
        List<CommandLine> all = new ArrayList<>(List.of(Espalier.withCommands("")));
        for (int i = 0; i < all.size(); i++) {
            for (Map.Entry<String, CommandLine> sub :
                    all.get(i).getSubcommands().entrySet()) {
                all.add(sub.getValue());
            }
        }
        return all;
    }
}
