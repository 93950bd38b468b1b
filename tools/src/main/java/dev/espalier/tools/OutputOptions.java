package dev.espalier.tools;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// How a command prints: the options that every verb has, and the two streams behind them.
///
/// Results go to stdout, everything else (progress, notes, errors) to stderr.
final class OutputOptions {
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

    @Spec(Spec.Target.MIXEE)
    private CommandSpec command;

    @Option(names = "--json", description = "Print one JSON document on stdout, and nothing else there.")
    private boolean json;

    @Option(
            names = {"-q", "--quiet"},
            description = "Print results and errors only.")
    private boolean quiet;

    @Option(names = "--no-color", description = "Print without colours and without a moving progress bar.")
    private boolean noColor;

    @Option(names = "--debug", description = "With an error, print where it happened.")
    private boolean debug;

    boolean json() {
        return json;
    }

    boolean quiet() {
        return quiet;
    }

    boolean debug() {
        return debug;
    }

    /// The words of the whole command line.
    List<String> arguments() {
        return command.root().commandLine().getParseResult().originalArgs();
    }

    /// Where results go.
    PrintWriter out() {
        return command.commandLine().getOut();
    }

    /// A line of the result, unless JSON was asked for.
    void print(String format, Object... arguments) {
        if (!json) {
            out().println(format(format, arguments));
            out().flush();
        }
    }

    /// A line beside the result, for whoever watches.
    void note(String format, Object... arguments) {
        if (!quiet) {
            PrintWriter err = command.commandLine().getErr();
            err.println(format(format, arguments));
            err.flush();
        }
    }

    /// A line that whoever started this waits for: on stdout, or on stderr where stdout is for JSON.
    void announce(String line) {
        PrintWriter to = json ? command.commandLine().getErr() : out();
        to.println(line);
        to.flush();
    }

    /// The one JSON document, if it was asked for.
    void document(JsonNode document) {
        if (json) {
            try {
                out().println(JSON.writeValueAsString(document));
            } catch (JsonProcessingException e) {
                throw new IllegalStateException("a JSON tree that cannot be written", e);
            }
            out().flush();
        }
    }

    /// An indicator of how far `work` has come.
    ///
    /// @param total how many steps there are
    Progress progress(String work, long total) {
        return new Progress(quiet ? null : command.commandLine().getErr(), work, total, !noColor && Terminal.stderr());
    }

    /// Puts `value` under `name`; a number that JSON cannot write (NaN, infinite) becomes null.
    static void put(ObjectNode object, String name, double value) {
        if (Double.isFinite(value)) {
            object.put(name, value);
        } else {
            object.putNull(name);
        }
    }

    private static String format(String format, Object... arguments) {
        return arguments.length == 0 ? format : String.format(Locale.ROOT, format, arguments);
    }
}
