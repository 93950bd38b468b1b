package dev.espalier.tools;

import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.InputException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/// The command line: finds the verb, runs it, and turns what went wrong into one or two lines and an exit code.
@Command(
        name = "espalier",
        mixinStandardHelpOptions = true,
        version = "espalier 0.1.0",
        header = "Prunes language models, packs what is left, and serves it, in one process.",
        synopsisSubcommandLabel = "COMMAND",
        description = {
            "",
            "MODEL is a folder in Hugging Face layout, one of the models inside (demo-llama, demo-opt), or random:SHAPE"
                    + " (random weights in the shape of a known model, such as random:llama-1b; for timing only).",
            ""
        },
        footer = {
            "",
            "Try:",
            "  espalier prune-and-serve                            the whole way with a model that is inside",
            "  espalier generate demo-llama --prompt \"Once\"        a text",
            "  espalier prune FOLDER --sparsity 0.5 --out PRUNED   a pruned copy of a model",
            "  espalier COMMAND --help                             every option of a command, with examples",
            "",
            "Exit codes: 0 done, 1 the work failed, 2 wrong usage or unusable input, 130 Ctrl-C."
        })
public final class Espalier {
    /// By their names, in the order of the help.
    private static final Map<String, Class<?>> COMMANDS = commands();

    static final int DONE = 0;
    static final int FAILED = 1;
    static final int WRONG_USAGE = 2;
    static final int INTERRUPTED = 130;

    /// Runs a command and ends the process with its exit code.
    public static void main(String[] arguments) {
        if (arguments.length > 1) { // a verb with something to work on
            CompilerHints.prepare();
        }
        PrintWriter out = writer(new FileOutputStream(FileDescriptor.out));
        PrintWriter err = writer(new FileOutputStream(FileDescriptor.err));
        int code = run(out, err, arguments);
        out.flush();
        err.flush();
        System.exit(code);
    }

    /// Runs a command, prints to `out` and `err`, and returns the exit code.
    static int run(PrintWriter out, PrintWriter err, String... arguments) {
        List<String> words = Arrays.asList(arguments);
        CommandLine line = withCommands(words.isEmpty() ? "" : words.getFirst())
                .setOut(out)
                .setErr(err)
                .setExpandAtFiles(false)
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setUsageHelpAutoWidth(true)
                .setColorScheme(
                        CommandLine.Help.defaultColorScheme(words.contains("--no-color") ? Ansi.OFF : Ansi.AUTO))
                .setParameterExceptionHandler(Espalier::wrongUsage)
                .setExecutionExceptionHandler((e, command, parsed) -> failed(e, command));
        line.setExecutionStrategy(parsed -> {
            if (!parsed.hasSubcommand() && !parsed.isUsageHelpRequested() && !parsed.isVersionHelpRequested()) {
                line.usage(err);
                return WRONG_USAGE;
            }
            return new CommandLine.RunLast().execute(parsed);
        });
        int code;
        try {
            code = line.execute(arguments);
        } catch (OutOfMemoryError e) {
            code = say(
                    err,
                    "out of memory (" + e.getMessage() + "); use a smaller model, fewer samples, or more memory,"
                            + " such as ESPALIER_JAVA_OPTS=-Xmx8g.",
                    FAILED);
        } catch (LinkageError e) {
            if (!VectorCheck.moduleMissing()) {
                throw e;
            }
            code = say(err, VectorCheck.problem().orElseThrow() + ".", WRONG_USAGE);
        }
        out.flush();
        err.flush();
        return code;
    }

    private static Map<String, Class<?>> commands() {
        Map<String, Class<?>> commands = new LinkedHashMap<>();
        for (Class<?> command : List.of(
                PruneAndServeCommand.class,
                GenerateCommand.class,
                PruneCommand.class,
                EvalCommand.class,
                ServeCommand.class,
                BenchCommand.class,
                InfoCommand.class,
                DevicesCommand.class,
                GpuCheckCommand.class)) {
            commands.put(command.getAnnotation(Command.class).name(), command);
        }
        return commands;
    }

    /// The root with all commands under it; with the one called `word` alone if there is one, since each takes its time to be
    /// read.
    static CommandLine withCommands(String word) {
        CommandLine line = new CommandLine(new Espalier());
        COMMANDS.forEach((name, command) -> {
            if (name.equals(word) || !COMMANDS.containsKey(word)) {
                line.addSubcommand(name, command);
            }
        });
        return line;
    }

    /// The text is UTF-8 whatever the locale says: it is what tokenizers and JSON speak.
    private static PrintWriter writer(OutputStream stream) {
        return new PrintWriter(stream, false, StandardCharsets.UTF_8);
    }

    private static int wrongUsage(ParameterException e, String[] arguments) {
        CommandLine command = e.getCommandLine();
        PrintWriter err = command.getErr();
        String message = firstLine(e.getMessage());
        if (e instanceof UnmatchedArgumentException unmatched
                && !unmatched.getSuggestions().isEmpty()) {
            message += "; did you mean " + unmatched.getSuggestions().getFirst() + "?";
        }
        err.println("espalier: " + message);
        err.println("Try: " + command.getCommandSpec().qualifiedName() + " --help");
        return WRONG_USAGE;
    }

    /// Says in a sentence what ended `command`, and returns the exit code.
    static int failed(Exception e, CommandLine command) {
        PrintWriter err = command.getErr();
        command.getOut().flush();
        CommandSpec mixin = command.getCommandSpec().mixins().get("output");
        boolean debug = mixin != null && mixin.userObject() instanceof OutputOptions output && output.debug();
        if (debug) {
            e.printStackTrace(err);
        }
        return switch (e) {
            case InputException input -> say(err, input.getMessage(), WRONG_USAGE);
            case WorkFailedException work -> say(err, work.getMessage(), FAILED);
            case CancellationException stopped -> say(err, stopped.getMessage(), INTERRUPTED);
            case UncheckedIOException io -> say(err, sentence(io.getCause()), FAILED);
            case IOException io -> say(err, sentence(io), FAILED);
            case RuntimeException failure
            when failure.getClass().getName().startsWith("dev.espalier.") -> say(err, failure.getMessage(), FAILED);
            case ArithmeticException arithmetic -> say(err, arithmetic.getMessage(), FAILED);
            default ->
                say(err, "internal error: " + e + (debug ? "" : "\nRun it again with --debug to see where."), FAILED);
        };
    }

    private static int say(PrintWriter err, String message, int code) {
        err.println("espalier: " + message);
        return code;
    }

    private static String sentence(IOException e) {
        String message = e.getMessage();
        String name = e.getClass().getSimpleName();
        return message == null ? name : message.contains(" ") ? message : message + ": " + name;
    }

    private static String firstLine(String message) {
        int end = message.indexOf('\n');
        return (end < 0 ? message : message.substring(0, end)).strip();
    }
}
