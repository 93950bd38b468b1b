package dev.espalier.tools;

import picocli.CommandLine.Command;

/// `espalier eval`: how good a model is.
@Command(
        name = "eval",
        mixinStandardHelpOptions = true,
        header = "Measures how good a model is.",
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {EvalPerplexityCommand.class})
final class EvalCommand {}
