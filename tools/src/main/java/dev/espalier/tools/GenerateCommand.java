package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.generate.Generation;
import dev.espalier.generate.GenerationOptions;
import dev.espalier.generate.Generator;
import dev.espalier.generate.SamplingOptions;
import dev.espalier.generate.TokenListener;
import dev.espalier.generate.TokenLogprobs;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.Tokenizer;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier generate`: continues a prompt, streamed.
@Command(
        name = "generate",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Continues a prompt; the text appears as it is made.",
        footer = {
            "",
            "Examples:",
            "  espalier generate demo-llama --prompt \"Once upon a time\"",
            "  espalier generate FOLDER --prompt-file prompt.txt --max-new-tokens 200 --temperature 0.7 --top-p 0.9",
            "  espalier generate FOLDER --prompt-ids 1,403,407 --temperature 0 --json",
        })
final class GenerateCommand implements Callable<Integer> {
    /// Weights are packed for so long between two tokens: a few of these are worth waiting for, hundreds of slow tokens are not.
    private static final long PACK_NANOS = 300_000_000;

    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Option(names = "--prompt", paramLabel = "TEXT", description = "The text to continue.")
    private String prompt;

    @Option(names = "--prompt-file", paramLabel = "FILE", description = "A file with the text to continue, in UTF-8.")
    private Path promptFile;

    @Option(
            names = "--prompt-ids",
            paramLabel = "1,2,3",
            split = ",",
            description = "Token ids to continue, taken as they are; needs no tokenizer.")
    private List<Integer> promptIds;

    @Option(
            names = "--max-new-tokens",
            paramLabel = "N",
            defaultValue = "128",
            description = "The most tokens to add. Default: ${DEFAULT-VALUE}.")
    private int maxNewTokens;

    @Option(
            names = "--temperature",
            paramLabel = "X",
            defaultValue = "0.8",
            description = "Above 0: how freely tokens are drawn; 0: always the likeliest. Default: ${DEFAULT-VALUE}.")
    private double temperature;

    @Option(
            names = "--top-k",
            paramLabel = "N",
            defaultValue = "0",
            description = "Draw from the N likeliest tokens only; 0: from all. Default: ${DEFAULT-VALUE}.")
    private int topK;

    @Option(
            names = "--top-p",
            paramLabel = "X",
            defaultValue = "1",
            description =
                    "Draw from the likeliest tokens that together reach this probability. Default: ${DEFAULT-VALUE}.")
    private double topP;

    @Option(
            names = "--min-p",
            paramLabel = "X",
            defaultValue = "0",
            description = "Drop tokens below this share of the likeliest one's probability. Default: ${DEFAULT-VALUE}.")
    private double minP;

    @Option(
            names = "--repetition-penalty",
            paramLabel = "X",
            defaultValue = "1",
            description =
                    "Above 1: tokens that already stand in the text become less likely. Default: ${DEFAULT-VALUE}.")
    private double repetitionPenalty;

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            description = "End just before this text appears; may be given several times.")
    private List<String> stop = List.of();

    @Option(names = "--ignore-eos", description = "Go on past an end-of-text token, to exactly --max-new-tokens.")
    private boolean ignoreEos;

    @Option(
            names = "--logprobs",
            paramLabel = "N",
            description = "With --json: each token's log-probability, and those of the N likeliest.")
    private Integer logprobs;

    @Option(names = "--seed", paramLabel = "N", description = "Of the random numbers. Default: another one each time.")
    private Long seed;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        int sources = (prompt == null ? 0 : 1) + (promptFile == null ? 0 : 1) + (promptIds == null ? 0 : 1);
        if (sources != 1) {
            throw new InputException("give the prompt by one of --prompt, --prompt-file and --prompt-ids.");
        }
        long drawn = seed == null ? System.nanoTime() : seed;
        GenerationOptions wanted = GenerationOptions.of(
                        maxNewTokens, new SamplingOptions(temperature, topK, topP, minP, repetitionPenalty, drawn))
                .withStop(stop)
                .withIgnoreEos(ignoreEos)
                .withLogprobs(logprobs == null ? -1 : logprobs);
        try (LoadedModel loaded = LoadedModel.openForDecode(model, options, drawn, output)) {
            int[] ids = ids(loaded);
            Tokenizer tokenizer = loaded.tokenizer().orElse(null);
            try (Generator generator = new Generator(loaded.model(), tokenizer)) {
                Generation generation = generator.generate(ids, wanted, new Printer(tokenizer == null, loaded));
                output.print("");
                output.note(
                        "%d prompt tokens at %s tok/s, %d new tokens at %s tok/s (%s)",
                        ids.length,
                        Units.number(generation.prefillTokensPerSecond()),
                        generation.tokenIds().length,
                        Units.number(generation.decodeTokensPerSecond()),
                        generation.finishReason().label());
                output.document(document(loaded, generation));
            }
        }
        return Espalier.DONE;
    }

    private int[] ids(LoadedModel loaded) {
        if (promptIds != null) {
            return promptIds.stream().mapToInt(Integer::intValue).toArray();
        }
        String text = prompt != null ? prompt : TextFiles.read(promptFile, "--prompt-file");
        return loaded.requireTokenizer("give --prompt-ids.").encode(text);
    }

    /// Prints the text as it comes; ids where there is no tokenizer. Between tokens weights are packed, for later ones.
    private final class Printer implements TokenListener {
        private final boolean ids;
        private final LoadedModel loaded;
        private int tokens;

        Printer(boolean ids, LoadedModel loaded) {
            this.ids = ids;
            this.loaded = loaded;
        }

        @Override
        public void token(int id, TokenLogprobs entry) {
            if (ids && !output.json()) {
                show(id + " ");
            }
            if (tokens++ > 0) {
                loaded.packFor(PACK_NANOS);
            }
        }

        @Override
        public void text(String piece) {
            if (!output.json()) {
                show(piece);
            }
        }

        private void show(String piece) {
            output.out().print(piece);
            output.out().flush();
        }
    }

    private ObjectNode document(LoadedModel loaded, Generation generation) {
        ObjectNode document = JsonNodeFactory.instance.objectNode().put("model", model);
        add(document.putArray("prompt_ids"), generation.promptIds());
        add(document.putArray("token_ids"), generation.tokenIds());
        document.put("text", generation.text());
        if (logprobs != null) {
            ArrayNode list = document.putArray("logprobs");
            for (TokenLogprobs entry : generation.logprobs()) {
                ObjectNode node =
                        list.addObject().put("token_id", entry.tokenId()).put("logprob", entry.logprob());
                ArrayNode top = node.putArray("top");
                entry.top()
                        .forEach(likely -> top.addObject()
                                .put("token_id", likely.tokenId())
                                .put("logprob", likely.logprob()));
            }
        }
        document.put("finish_reason", generation.finishReason().label());
        document.put("load_seconds", loaded.seconds());
        document.put("first_token_seconds", generation.firstTokenSeconds());
        OutputOptions.put(document, "prefill_tokens_per_s", generation.prefillTokensPerSecond());
        OutputOptions.put(document, "decode_tokens_per_s", generation.decodeTokensPerSecond());
        return document;
    }

    private static void add(ArrayNode array, int[] ids) {
        for (int id : ids) {
            array.add(id);
        }
    }
}
