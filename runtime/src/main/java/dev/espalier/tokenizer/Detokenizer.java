package dev.espalier.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// From token strings back to text: `decoder` in `tokenizer.json`, compiled so that it works token by token.
///
/// Every decoder of a byte-pair checkpoint comes down to this: each token stands for some bytes, which depend on the
/// token and on whether it is the first; the bytes in a row are UTF-8; and from the text as a whole some characters at
/// its start or end are stripped. A chain that cannot be put so is refused.
///
/// Bytes that are not UTF-8 become U+FFFD, one for each maximal broken sequence. (The tokenizers library does so for
/// byte-level vocabularies; with byte fallback it gives up the whole run of byte tokens, also the characters before the
/// broken one, which a stream has sent long ago.)
final class Detokenizer {
    private static final Pattern BYTE_TOKEN = Pattern.compile("<0x([0-9A-Fa-f]{2})>");

    /// Characters stripped from the text's two ends.
    record Strip(int content, int start, int stop) {
        static final Strip NOTHING = new Strip(' ', 0, 0);
    }

    private final List<UnaryOperator<String>> steps = new ArrayList<>();
    private UnaryOperator<String> firstToken = UnaryOperator.identity();
    private boolean byteLevel;
    private boolean byteFallback;
    private boolean spaced;
    private boolean fused;
    private Strip strip = Strip.NOTHING;

    private Detokenizer() {}

    /// Tokens joined by spaces: what the library does where no decoder is named.
    static Detokenizer spaced() {
        Detokenizer plain = new Detokenizer();
        plain.spaced = true;
        return plain;
    }

    static Detokenizer byteLevel() {
        Detokenizer bytes = new Detokenizer();
        bytes.byteLevel = true;
        return bytes;
    }

    /// SentencePiece's decoder with byte fallback; `prefixed` if encoding puts a space in front.
    static Detokenizer sentencePiece(boolean prefixed) {
        Detokenizer pieces = new Detokenizer();
        pieces.steps.add(token -> token.replace('▁', ' '));
        pieces.byteFallback = true;
        pieces.strip = new Strip(' ', prefixed ? 1 : 0, 0);
        return pieces;
    }

    static Detokenizer read(Spec spec) {
        Detokenizer decoder = new Detokenizer();
        decoder.add(spec);
        return decoder;
    }

    private void add(Spec spec) {
        switch (spec.type()) {
            case "Sequence" -> spec.objects("decoders").forEach(this::add);
            case "ByteLevel" -> {
                whole(spec);
                byteLevel = true;
                fused = true;
            }
            case "ByteFallback" -> {
                whole(spec);
                byteFallback = true;
            }
            case "Fuse" -> fused = true;
            case "Replace" -> replace(spec);
            case "Strip" -> strip(spec);
            case "Metaspace" -> metaspace(spec);
            default ->
                throw spec.wrong("the decoder '" + spec.type() + "' is not supported; supported: Sequence, "
                        + "ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace");
        }
    }

    private void whole(Spec spec) {
        if (fused || byteFallback) {
            throw spec.wrong("the decoder '" + spec.type() + "' after one that joins the tokens is not supported");
        }
    }

    /// After the tokens are joined, a pattern of one character is the same as before.
    private void replace(Spec spec) {
        Pattern pattern = Normalizer.pattern(spec);
        String content = Matcher.quoteReplacement(spec.text("content"));
        boolean single =
                spec.requiredObject("pattern").optionalText("String").orElse("").length() == 1;
        if (byteLevel || ((fused || byteFallback) && !single)) {
            whole(spec);
        }
        if (!strip.equals(Strip.NOTHING)) {
            throw spec.wrong("the decoder 'Replace' after 'Strip' is not supported");
        }
        steps.add(token -> pattern.matcher(token).replaceAll(content));
    }

    private void strip(Spec spec) {
        String content = spec.text("content");
        if (content.codePointCount(0, content.length()) != 1) {
            throw spec.wrong("'content' must be one character");
        }
        Strip ends = new Strip(content.codePointAt(0), spec.count("start"), spec.count("stop"));
        if (!fused) {
            whole(spec);
            steps.add(token -> stripped(token, ends));
        } else if (strip.equals(Strip.NOTHING)) {
            strip = ends;
        } else {
            throw spec.wrong("a second decoder 'Strip' is not supported");
        }
    }

    private static String stripped(String token, Strip ends) {
        int[] characters = token.codePoints().toArray();
        int start = 0;
        while (start < Math.min(ends.start(), characters.length) && characters[start] == ends.content()) {
            start++;
        }
        int end = characters.length;
        while (characters.length - end < ends.stop() && end > start && characters[end - 1] == ends.content()) {
            end--;
        }
        return new String(characters, start, end - start);
    }

    private void metaspace(Spec spec) {
        whole(spec);
        String replacement = spec.optionalText("replacement").orElse("▁");
        String scheme =
                spec.optionalText("prepend_scheme").orElse(spec.flag("add_prefix_space", true) ? "always" : "never");
        if (!steps.isEmpty()) {
            throw spec.wrong("the decoder 'Metaspace' after another one is not supported");
        }
        if (!scheme.equals("never")) {
            firstToken = token -> token.replace(replacement, "");
        }
        steps.add(token -> token.replace(replacement, " "));
    }

    Strip strip() {
        return strip;
    }

    /// The bytes that `token` adds to the text, before anything is stripped; `first` if it is the text's first.
    byte[] bytes(String token, boolean first) {
        if (byteFallback) {
            Matcher matcher = BYTE_TOKEN.matcher(token);
            if (matcher.matches()) {
                return new byte[] {(byte) Integer.parseInt(matcher.group(1), 16)};
            }
        }
        String text = first ? firstToken.apply(token) : token;
        for (UnaryOperator<String> step : steps) {
            text = step.apply(text);
        }
        if (spaced && !first) {
            text = " " + text;
        }
        return byteLevel ? ByteAlphabet.decode(text) : text.getBytes(StandardCharsets.UTF_8);
    }
}
