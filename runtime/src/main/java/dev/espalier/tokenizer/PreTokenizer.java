package dev.espalier.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Cuts text into the pieces that merges never cross: `pre_tokenizer` in `tokenizer.json`.
@FunctionalInterface
interface PreTokenizer {
    /// A stretch of text; `first` if it begins where the whole text begins.
    record Piece(String text, boolean first) {}

    /// The pattern of GPT-2, which the byte-level component uses unless told otherwise.
    Pattern GPT2 = OnigurumaRegex.compile(
            "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");

    /// The pieces of `piece`, none of them empty.
    List<Piece> split(Piece piece);

    /// Reads a component of any kind that byte-pair checkpoints use; others are refused by name.
    static PreTokenizer read(Spec spec) {
        return switch (spec.type()) {
            case "Sequence" ->
                sequence(spec.objects("pretokenizers").stream()
                        .map(PreTokenizer::read)
                        .toList());
            case "ByteLevel" -> byteLevel(spec.flag("add_prefix_space", true), spec.flag("use_regex", true));
            case "Split" ->
                pattern(Normalizer.pattern(spec), SplitBehavior.read(spec, "behavior"), spec.flag("invert", false));
            case "Metaspace" -> metaspace(spec);
            case "Digits" ->
                pattern(
                        Pattern.compile("\\p{N}"),
                        spec.flag("individual_digits", false) ? SplitBehavior.ISOLATED : SplitBehavior.CONTIGUOUS,
                        false);
            case "Whitespace" ->
                pattern(
                        Pattern.compile("\\w+|[^\\w\\s]+", Pattern.UNICODE_CHARACTER_CLASS),
                        SplitBehavior.REMOVED,
                        true);
            case "WhitespaceSplit" -> pattern(OnigurumaRegex.compile("\\s"), SplitBehavior.REMOVED, false);
            case "Punctuation" ->
                pattern(
                        punctuation(),
                        spec.has("behavior") ? SplitBehavior.read(spec, "behavior") : SplitBehavior.ISOLATED,
                        false);
            case "BertPreTokenizer" ->
                sequence(List.of(
                        pattern(OnigurumaRegex.compile("\\s"), SplitBehavior.REMOVED, false),
                        pattern(punctuation(), SplitBehavior.ISOLATED, false)));
            case "CharDelimiterSplit" ->
                pattern(Pattern.compile(Pattern.quote(spec.text("delimiter"))), SplitBehavior.REMOVED, false);
            default ->
                throw spec.wrong("the pre-tokenizer '" + spec.type() + "' is not supported; supported: "
                        + "Sequence, ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit, Punctuation, "
                        + "BertPreTokenizer, CharDelimiterSplit");
        };
    }

    static PreTokenizer sequence(List<PreTokenizer> steps) {
        return piece -> {
            List<Piece> pieces = List.of(piece);
            for (PreTokenizer step : steps) {
                List<Piece> next = new ArrayList<>(pieces.size());
                pieces.forEach(p -> next.addAll(step.split(p)));
                pieces = next;
            }
            return pieces;
        };
    }

    static PreTokenizer byteLevel(boolean prefixSpace, boolean regex) {
        PreTokenizer words = regex ? pattern(GPT2, SplitBehavior.ISOLATED, false) : List::of;
        return piece -> {
            Piece spaced =
                    prefixSpace && !piece.text().startsWith(" ") ? new Piece(" " + piece.text(), piece.first()) : piece;
            return words.split(spaced).stream()
                    .map(word -> new Piece(ByteAlphabet.encode(word.text()), word.first()))
                    .toList();
        };
    }

    static PreTokenizer pattern(Pattern pattern, SplitBehavior behavior, boolean inverted) {
        return piece -> {
            SplitBehavior.Cutter cutter = behavior.cutter();
            Matcher matcher = pattern.matcher(piece.text());
            int end = 0;
            while (matcher.find()) {
                if (matcher.start() > end) {
                    cutter.add(end, matcher.start(), inverted);
                }
                if (matcher.end() > matcher.start()) {
                    cutter.add(matcher.start(), matcher.end(), !inverted);
                }
                end = matcher.end();
            }
            if (end < piece.text().length()) {
                cutter.add(end, piece.text().length(), inverted);
            }
            return cutter.cut(piece);
        };
    }

    private static PreTokenizer metaspace(Spec spec) {
        String replacement = spec.optionalText("replacement").orElse("▁");
        if (replacement.codePointCount(0, replacement.length()) != 1) {
            throw spec.wrong("'replacement' must be one character");
        }
        String scheme =
                spec.optionalText("prepend_scheme").orElse(spec.flag("add_prefix_space", true) ? "always" : "never");
        if (!List.of("always", "first", "never").contains(scheme)) {
            throw spec.wrong("'prepend_scheme' must be always, first or never, found '" + scheme + "'");
        }
        return metaspace(replacement, scheme, spec.flag("split", true));
    }

    /// SentencePiece's spaces: each becomes `replacement`, and one is put in front, `always`, on the `first` piece of the
    /// text, or `never`.
    static PreTokenizer metaspace(String replacement, String scheme, boolean split) {
        PreTokenizer words = split
                ? pattern(Pattern.compile(Pattern.quote(replacement)), SplitBehavior.MERGED_WITH_NEXT, false)
                : List::of;
        return piece -> {
            String text = piece.text().replace(" ", replacement);
            boolean prefix = scheme.equals("always") || (scheme.equals("first") && piece.first());
            return words.split(
                    new Piece(prefix && !text.startsWith(replacement) ? replacement + text : text, piece.first()));
        };
    }

    private static Pattern punctuation() {
        return Pattern.compile("[\\p{P}!-/:-@\\[-`{-~]");
    }
}
