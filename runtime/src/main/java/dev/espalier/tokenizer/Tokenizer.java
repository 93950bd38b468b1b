package dev.espalier.tokenizer;

import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/// Text to token ids and back: byte-pair vocabularies as Hugging Face checkpoints hold them.
///
/// Gives the ids of the tokenizers library for every component that it accepts; a component of another kind is refused
/// by name, never skipped. Where `tokenizer_config.json` names a class that transformers builds anew instead of
/// reading the pipeline (`LlamaTokenizer`), and where it says `add_bos_token` or `add_eos_token`, it is followed, as
/// transformers 5 does. Safe for use by several threads.
public final class Tokenizer {
    private static final byte[] NOTHING = new byte[0];

    private final AddedTokens addedTokens;
    private final PreTokenizer preTokenizer;
    private final Bpe model;
    private final PostProcessor postProcessor;
    private final Detokenizer detokenizer;
    private final String[] tokens;
    private final boolean[] special;
    private final byte[][] bytes;
    private final Map<String, Integer> ids;
    private final SpecialTokens specialTokens;

    /// What `tokenizer_config.json` says beside the pipeline; absent strings are null.
    record SpecialTokens(String bos, String eos, String chatTemplate) {}

    Tokenizer(
            AddedTokens addedTokens,
            PreTokenizer preTokenizer,
            Bpe model,
            PostProcessor postProcessor,
            Detokenizer detokenizer,
            String[] tokens,
            boolean[] special,
            Map<String, Integer> ids,
            SpecialTokens specialTokens) {
        this.addedTokens = addedTokens;
        this.preTokenizer = preTokenizer;
        this.model = model;
        this.postProcessor = postProcessor;
        this.detokenizer = detokenizer;
        this.tokens = tokens;
        this.special = special;
        this.bytes = new byte[tokens.length][];
        this.ids = ids;
        this.specialTokens = specialTokens;
    }

    /// The tokenizer of a checkpoint's folder: `tokenizer.json`, or else `vocab.json` and `merges.txt` with the defaults
    /// of GPT-2 and OPT, or of Qwen2 where `tokenizer_config.json` names it; both with `tokenizer_config.json`,
    /// `special_tokens_map.json` and `chat_template.jinja` where they are.
    ///
    /// @throws InputException if there is none, or a file is malformed or asks for what is not supported
    public static Tokenizer open(Path folder) {
        return openIfPresent(folder).orElseThrow(() -> {
            String other = TokenizerReader.foreignFile(folder);
            return new InputException(folder + " holds no tokenizer.json, nor vocab.json and merges.txt"
                    + (other.isEmpty() ? "" : "; " + other + " must be converted to tokenizer.json first"));
        });
    }

    /// As [#open], but empty where the folder holds no tokenizer's files at all.
    public static Optional<Tokenizer> openIfPresent(Path folder) {
        try {
            return TokenizerReader.read(folder);
        } catch (IOException e) {
            throw new InputException("the tokenizer in " + folder + " cannot be read: " + e.getMessage(), e);
        }
    }

    /// A tokenizer from the contents of its files.
    ///
    /// @param tokenizerJson `tokenizer.json`
    /// @param tokenizerConfigJson `tokenizer_config.json`, or null
    /// @throws InputException if one is malformed or asks for what is not supported
    public static Tokenizer of(byte[] tokenizerJson, byte[] tokenizerConfigJson) {
        return TokenizerReader.read(
                Spec.parse(tokenizerJson, "tokenizer.json"),
                tokenizerConfigJson == null
                        ? TokenizerConfig.EMPTY
                        : TokenizerConfig.read(Spec.parse(tokenizerConfigJson, "tokenizer_config.json")));
    }

    /// The ids of `text` with the tokenizer's own special tokens around it (LLaMA's and OPT's start token).
    public int[] encode(String text) {
        return encode(text, true);
    }

    /// The ids of `text`. Special tokens written out in it are recognized; with `addSpecialTokens` those that the
    /// tokenizer puts around every text are added. A rendered chat template holds its own and is encoded without.
    public int[] encode(String text, boolean addSpecialTokens) {
        Bpe.Ids encoded = new Bpe.Ids();
        try {
            addedTokens.split(
                    wellFormed(text),
                    piece -> preTokenizer.split(piece).forEach(p -> model.encode(p.text(), encoded)),
                    encoded::add);
        } catch (StackOverflowError e) {
            throw new InputException(
                    "this tokenizer's regular expression cannot split a text of " + text.length() + " characters", e);
        }
        int[] result = encoded.toArray();
        return addSpecialTokens ? postProcessor.process(result) : result;
    }

    /// The text of `ids` without special tokens; ids that the vocabulary does not have are passed over.
    public String decode(int... ids) {
        StreamDecoder decoder = streamDecoder();
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            text.append(decoder.next(id));
        }
        return text.append(decoder.finish()).toString();
    }

    /// A decoder for a text that begins with the first id it is given.
    public StreamDecoder streamDecoder() {
        return new StreamDecoder(this, detokenizer.strip());
    }

    /// A decoder for what follows `prompt`: its text continues the prompt's, so that the space between two words that
    /// meet at the seam is there. After a prompt of special tokens only, it is as [#streamDecoder()].
    public StreamDecoder streamDecoder(int... prompt) {
        StreamDecoder decoder = streamDecoder();
        for (int id : prompt) {
            decoder.next(id);
        }
        return decoder;
    }

    /// The token as it stands in the vocabulary (`Ġthe`, `▁the`, `<0x0A>`); the empty string where there is none.
    public String token(int id) {
        return has(id) ? tokens[id] : "";
    }

    /// The id of a token as it stands in the vocabulary.
    public OptionalInt id(String token) {
        Integer id = token == null ? null : ids.get(token);
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /// The bytes that a token stands for within a text, not always whole characters; a special token's own name.
    public byte[] tokenBytes(int id) {
        if (!has(id)) {
            return NOTHING;
        }
        return special[id]
                ? tokens[id].getBytes(StandardCharsets.UTF_8)
                : bytes(id, false).clone();
    }

    /// One more than the highest id. A model's embedding may have more rows; those stand for nothing.
    public int vocabularySize() {
        return tokens.length;
    }

    /// Whether `id` is a special token, which [#decode] leaves out.
    public boolean isSpecial(int id) {
        return id >= 0 && id < special.length && special[id];
    }

    /// The start token's id, if the tokenizer names one.
    public OptionalInt bosId() {
        return id(specialTokens.bos());
    }

    /// The end token's id, if the tokenizer names one. A generation config may name others.
    public OptionalInt eosId() {
        return id(specialTokens.eos());
    }

    /// The start token, or the empty string.
    public String bosToken() {
        return specialTokens.bos() == null ? "" : specialTokens.bos();
    }

    /// The end token, or the empty string.
    public String eosToken() {
        return specialTokens.eos() == null ? "" : specialTokens.eos();
    }

    /// The checkpoint's own Jinja template for conversations.
    public Optional<String> chatTemplate() {
        return Optional.ofNullable(specialTokens.chatTemplate());
    }

    boolean has(int id) {
        return id >= 0 && id < tokens.length && tokens[id] != null;
    }

    /// Not to be changed by the caller.
    byte[] bytes(int id, boolean first) {
        if (first) {
            return detokenizer.bytes(tokens[id], true);
        }
        byte[] known = bytes[id];
        if (known == null) {
            known = detokenizer.bytes(tokens[id], false);
            bytes[id] = known;
        }
        return known;
    }

    /// `text` with U+FFFD for each half of a surrogate pair that stands alone: UTF-8 has no form for it.
    static String wellFormed(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                return text.codePoints()
                        .map(p -> p <= Character.MAX_VALUE && Character.isSurrogate((char) p) ? 0xFFFD : p)
                        .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                        .toString();
            }
        }
        return text;
    }
}
