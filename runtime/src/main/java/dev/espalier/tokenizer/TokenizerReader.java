package dev.espalier.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.AddedTokens.AddedToken;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/// Puts a [Tokenizer] together from its files.
final class TokenizerReader {
    /// No vocabulary comes near; a damaged id must not cost the memory of a table as long.
    private static final int MAX_ID = 1 << 22;

    private static final Pattern QWEN2 = OnigurumaRegex.compile("(?i:'s|'t|'re|'ve|'m|'ll|'d)"
            + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");

    /// The steps around the byte-pair model.
    private record Pipeline(Normalizer normalizer, PreTokenizer preTokenizer, Detokenizer detokenizer) {}

    private final TokenizerConfig config;
    private final Map<String, Integer> vocabulary;
    private final Map<String, AddedToken> added = new LinkedHashMap<>();

    private TokenizerReader(TokenizerConfig config, Map<String, Integer> vocabulary, List<AddedToken> listed) {
        this.config = config;
        this.vocabulary = vocabulary;
        listed.forEach(this::add);
        config.added().forEach(this::add);
        config.named().values().forEach(content -> {
            if (!added.containsKey(content) && vocabulary.containsKey(content)) {
                add(new AddedToken(vocabulary.get(content), content, false, false, false, false, true));
            }
        });
    }

    private void add(AddedToken token) {
        int id = vocabulary.getOrDefault(token.content(), token.id());
        if (id < 0 || id > MAX_ID) {
            throw new InputException("the added token '" + token.content() + "' has the id " + id + "; ids from 0 to "
                    + MAX_ID + " are supported");
        }
        boolean special = token.special() || config.named().containsValue(token.content());
        added.put(
                token.content(),
                new AddedToken(
                        id,
                        token.content(),
                        token.singleWord(),
                        token.lstrip(),
                        token.rstrip(),
                        token.normalized(),
                        special));
    }

    static Optional<Tokenizer> read(Path folder) throws IOException {
        Path json = folder.resolve("tokenizer.json");
        Path vocabulary = folder.resolve("vocab.json");
        Path merges = folder.resolve("merges.txt");
        if (Files.isRegularFile(json)) {
            return Optional.of(read(Spec.parse(Files.readAllBytes(json), json.toString()), config(folder)));
        }
        if (!Files.exists(vocabulary) && !Files.exists(merges)) {
            return Optional.empty();
        }
        for (Path file : List.of(vocabulary, merges)) {
            if (!Files.isRegularFile(file)) {
                throw new InputException(
                        folder + " holds no tokenizer.json, and of vocab.json and merges.txt only one: "
                                + file.getFileName() + " is missing");
            }
        }
        return Optional.of(read(
                Spec.parse(Files.readAllBytes(vocabulary), vocabulary.toString()),
                new String(Files.readAllBytes(merges), StandardCharsets.UTF_8),
                merges.toString(),
                config(folder)));
    }

    /// A tokenizer's file of a kind that is not read, to name it in the error; or the empty string.
    static String foreignFile(Path folder) {
        for (String name : List.of("tokenizer.model", "spiece.model", "tekken.json", "tokenizer.bin", "vocab.txt")) {
            if (Files.exists(folder.resolve(name))) {
                return name;
            }
        }
        return "";
    }

    private static TokenizerConfig config(Path folder) throws IOException {
        TokenizerConfig config = TokenizerConfig.EMPTY;
        Path file = folder.resolve("tokenizer_config.json");
        if (Files.isRegularFile(file)) {
            config = TokenizerConfig.read(Spec.parse(Files.readAllBytes(file), file.toString()));
        }
        Path map = folder.resolve("special_tokens_map.json");
        if (Files.isRegularFile(map)) {
            config = config.withSpecialTokensMap(Spec.parse(Files.readAllBytes(map), map.toString()));
        }
        Path template = folder.resolve("chat_template.jinja");
        if (Files.isRegularFile(template)) {
            config = config.withChatTemplate(new String(Files.readAllBytes(template), StandardCharsets.UTF_8));
        }
        return config;
    }

    /// From `tokenizer.json`.
    static Tokenizer read(Spec file, TokenizerConfig config) {
        Spec model = file.requiredObject("model");
        String type = model.optionalText("type").orElse(model.has("merges") ? "BPE" : "without a type");
        if (!type.equals("BPE")) {
            throw model.wrong("the model '" + type + "' is not supported; supported: BPE");
        }
        Map<String, Integer> vocabulary = vocabulary(model.requiredObject("vocab"));
        if (!model.has("merges") || !model.node().get("merges").isArray()) {
            throw model.wrong("'merges' must be a list");
        }
        List<String[]> merges = new ArrayList<>();
        for (JsonNode merge : model.node().get("merges")) {
            merges.add(merge(merge, model, merges.size()));
        }
        TokenizerReader reader = new TokenizerReader(config, vocabulary, AddedTokens.read(file));
        PostProcessor own =
                file.object("post_processor").map(PostProcessor::read).orElse(PostProcessor.NOTHING);
        String unknown = model.optionalText("unk_token").orElse(null);
        if (unknown != null && !vocabulary.containsKey(unknown)) {
            throw model.wrong("unk_token '" + unknown + "' is not in the vocabulary");
        }
        String prefix = model.optionalText("continuing_subword_prefix").orElse("");
        String suffix = model.optionalText("end_of_word_suffix").orElse("");
        MergeTable table = merges(merges, vocabulary, prefix, model.where());
        if (config.tokenizerClass().filter("LlamaTokenizer"::equals).isPresent() && spacesAreMarked(file)) {
            boolean prefixed = config.addPrefixSpace().orElse(true);
            String scheme = !prefixed ? "never" : config.legacy() ? "always" : "first";
            return reader.build(
                    new Pipeline(
                            text -> text,
                            PreTokenizer.metaspace("▁", scheme, false),
                            Detokenizer.sentencePiece(prefixed)),
                    new Bpe(vocabulary, table, new Bpe.Options(-1, true, true, false, "", "")),
                    own);
        }
        return reader.build(
                new Pipeline(
                        file.object("normalizer").map(Normalizer::read).orElse(text -> text),
                        file.object("pre_tokenizer").map(PreTokenizer::read).orElse(List::of),
                        file.object("decoder").map(Detokenizer::read).orElseGet(Detokenizer::spaced)),
                new Bpe(
                        vocabulary,
                        table,
                        new Bpe.Options(
                                unknown == null ? -1 : vocabulary.get(unknown),
                                model.flag("fuse_unk", false),
                                model.flag("byte_fallback", false),
                                model.flag("ignore_merges", false),
                                prefix,
                                suffix)),
                own);
    }

    /// Whether the pipeline is of SentencePiece's kind; checkpoints of byte-level vocabularies bear LLaMA's class too.
    private static boolean spacesAreMarked(Spec file) {
        return !file.node().path("pre_tokenizer").toString().contains("ByteLevel")
                && !file.node().path("decoder").toString().contains("ByteLevel")
                && file.node().path("decoder").toString().contains("▁");
    }

    /// From `vocab.json` and `merges.txt`.
    private static Tokenizer read(Spec vocab, String mergesText, String mergesFile, TokenizerConfig config) {
        Map<String, Integer> vocabulary = vocabulary(vocab);
        List<String[]> merges = new ArrayList<>();
        for (String line : mergesText.split("\n")) {
            String stripped = line.strip();
            if (stripped.isEmpty() || stripped.startsWith("#version")) {
                continue;
            }
            String[] pair = stripped.split(" ");
            if (pair.length != 2) {
                throw new InputException(mergesFile + ": merge " + merges.size() + " must be two tokens, found '"
                        + (stripped.length() <= 60 ? stripped : stripped.substring(0, 57) + "...") + "'");
            }
            merges.add(pair);
        }
        String kind = config.tokenizerClass().orElse("GPT2Tokenizer");
        boolean prefixSpace = config.addPrefixSpace().orElse(false);
        boolean opt = vocabulary.containsKey("<pad>") && vocabulary.containsKey("</s>");
        TokenizerConfig complete = config;
        if (config.equals(TokenizerConfig.EMPTY)) {
            complete = opt
                    ? defaults("</s>", List.of("<s>", "<pad>", "</s>", "<unk>"), vocabulary, true)
                    : defaults("<|endoftext|>", List.of("<|endoftext|>"), vocabulary, false);
        }
        Pipeline pipeline = switch (kind) {
            case "GPT2Tokenizer", "PreTrainedTokenizer" ->
                new Pipeline(text -> text, PreTokenizer.byteLevel(prefixSpace, true), Detokenizer.byteLevel());
            case "Qwen2Tokenizer" ->
                new Pipeline(
                        text -> java.text.Normalizer.normalize(text, java.text.Normalizer.Form.NFC),
                        PreTokenizer.sequence(List.of(
                                PreTokenizer.pattern(QWEN2, SplitBehavior.ISOLATED, false),
                                PreTokenizer.byteLevel(prefixSpace, false))),
                        Detokenizer.byteLevel());
            default ->
                throw vocab.wrong("the tokenizer_class '" + kind + "' is not supported with vocab.json "
                        + "and merges.txt; supported: GPT2Tokenizer (also OPT's), Qwen2Tokenizer");
        };
        return new TokenizerReader(complete, vocabulary, List.of())
                .build(
                        pipeline,
                        new Bpe(
                                vocabulary,
                                merges(merges, vocabulary, "", mergesFile),
                                new Bpe.Options(-1, false, false, false, "", "")),
                        PostProcessor.NOTHING);
    }

    /// What the released GPT-2 and OPT say, for folders without `tokenizer_config.json`.
    private static TokenizerConfig defaults(
            String bosAndEos, List<String> special, Map<String, Integer> vocabulary, boolean addBos) {
        return new TokenizerConfig(
                Optional.empty(),
                Map.of("bos_token", bosAndEos, "eos_token", bosAndEos),
                special.stream()
                        .filter(vocabulary::containsKey)
                        .map(token -> new AddedToken(vocabulary.get(token), token, false, false, false, false, true))
                        .toList(),
                Optional.of(addBos),
                Optional.empty(),
                Optional.empty(),
                false,
                Optional.empty());
    }

    private Tokenizer build(Pipeline pipeline, Bpe model, PostProcessor own) {
        Map<String, Integer> ids = new LinkedHashMap<>(vocabulary);
        added.forEach((content, token) -> ids.put(content, token.id()));
        if (ids.isEmpty()) {
            throw new InputException("the tokenizer's vocabulary is empty");
        }
        int size = ids.values().stream().mapToInt(Integer::intValue).max().orElse(-1) + 1;
        String[] tokens = new String[size];
        vocabulary.forEach((token, id) -> tokens[id] = token);
        boolean[] special = new boolean[size];
        added.values().forEach(token -> {
            tokens[token.id()] = token.content();
            special[token.id()] = token.special();
        });
        PostProcessor postProcessor = postProcessor(own, ids);
        for (int id : postProcessor.ids()) {
            if (id >= size || tokens[id] == null) {
                throw new InputException(
                        "the tokenizer's post_processor adds the id " + id + ", which the vocabulary does not have");
            }
        }
        return new Tokenizer(
                new AddedTokens(added.values(), pipeline.normalizer()),
                pipeline.preTokenizer(),
                model,
                postProcessor,
                pipeline.detokenizer(),
                tokens,
                special,
                ids,
                new Tokenizer.SpecialTokens(
                        config.bos(), config.eos(), config.chatTemplate().orElse(null)));
    }

    /// What `tokenizer_config.json` says about start and end token replaces the file's own post-processor.
    private PostProcessor postProcessor(PostProcessor own, Map<String, Integer> ids) {
        if (config.addBos().isEmpty() && config.addEos().isEmpty()) {
            return own;
        }
        return new PostProcessor(
                config.addBos().orElse(false) ? id(config.bos(), ids) : new int[0],
                config.addEos().orElse(false) ? id(config.eos(), ids) : new int[0]);
    }

    private static int[] id(String token, Map<String, Integer> ids) {
        if (token == null) {
            return new int[0];
        }
        Integer id = ids.get(token);
        if (id == null) {
            throw new InputException("tokenizer_config.json names the token '" + token
                    + "', which the vocabulary does not have; the files belong to different tokenizers");
        }
        return new int[] {id};
    }

    private static Map<String, Integer> vocabulary(Spec vocab) {
        Map<String, Integer> ids = LinkedHashMap.newLinkedHashMap(vocab.node().size());
        String[] byId = new String[vocab.node().size()];
        for (var entry : vocab.node().properties()) {
            JsonNode id = entry.getValue();
            if (!id.isInt() || id.intValue() < 0 || id.intValue() > MAX_ID) {
                throw vocab.wrong("the id of '" + entry.getKey() + "' must be a whole number from 0 to " + MAX_ID
                        + ", found " + Spec.brief(id));
            }
            int value = id.intValue();
            if (value >= byId.length) {
                byId = Arrays.copyOf(byId, Math.max(value + 1, byId.length + byId.length / 2));
            }
            if (byId[value] != null) {
                throw vocab.wrong("'" + byId[value] + "' and '" + entry.getKey() + "' have the same id " + value);
            }
            byId[value] = entry.getKey();
            ids.put(entry.getKey(), value);
        }
        return ids;
    }

    /// `"a b"`, or `["a", "b"]` as newer files write it.
    private static String[] merge(JsonNode merge, Spec model, int rank) {
        if (merge.isTextual()) {
            String[] pair = merge.textValue().split(" ", -1);
            if (pair.length == 2) {
                return pair;
            }
        } else if (merge.isArray()
                && merge.size() == 2
                && merge.get(0).isTextual()
                && merge.get(1).isTextual()) {
            return new String[] {merge.get(0).textValue(), merge.get(1).textValue()};
        }
        throw model.wrong("merges[" + rank + "] must be \"a b\" or [\"a\", \"b\"], found " + Spec.brief(merge));
    }

    private static MergeTable merges(
            List<String[]> merges, Map<String, Integer> vocabulary, String prefix, String where) {
        MergeTable table = new MergeTable(merges.size());
        for (int rank = 0; rank < merges.size(); rank++) {
            String left = merges.get(rank)[0];
            String right = merges.get(rank)[1];
            String product = left + (right.startsWith(prefix) ? right.substring(prefix.length()) : right);
            for (String token : List.of(left, right, product)) {
                if (!vocabulary.containsKey(token)) {
                    throw new InputException(where + ": merges[" + rank + "] '" + left + " " + right
                            + "' needs the token '" + token + "', which the vocabulary does not have");
                }
            }
            table.put(vocabulary.get(left), vocabulary.get(right), rank, vocabulary.get(product));
        }
        return table;
    }
}
