package dev.espalier.tools;

import picocli.CommandLine.Command;

/// `espalier bench`: times dense against sparse.
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        header = "Times dense against sparse, in one run.",
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {BenchDecodeCommand.class, BenchKernelsCommand.class, BenchSolversCommand.class})
final class BenchCommand {}
