package dev.espalier.tokenizer;

import java.text.Normalizer.Form;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/// Rewrites text before it is split: `normalizer` in `tokenizer.json`.
@FunctionalInterface
interface Normalizer {
    String normalize(String text);

    /// Reads a component of any kind that byte-pair checkpoints use; others are refused by name.
    static Normalizer read(Spec spec) {
        return switch (spec.type()) {
            case "Sequence" ->
                sequence(spec.objects("normalizers").stream()
                        .map(Normalizer::read)
                        .toList());
            case "Prepend" -> {
                String prefix = spec.text("prepend");
                yield text -> text.isEmpty() ? text : prefix + text;
            }
            case "Replace" -> {
                Pattern pattern = pattern(spec);
                String content = Matcher.quoteReplacement(spec.text("content"));
                yield text -> pattern.matcher(text).replaceAll(content);
            }
            case "NFC" -> unicode(Form.NFC);
            case "NFD" -> unicode(Form.NFD);
            case "NFKC" -> unicode(Form.NFKC);
            case "NFKD" -> unicode(Form.NFKD);
            case "Lowercase" -> Normalizer::lowercase;
            case "Strip" -> strip(spec.flag("strip_left", true), spec.flag("strip_right", true));
            case "StripAccents" -> {
                Pattern marks = Pattern.compile("\\p{M}");
                yield text -> marks.matcher(text).replaceAll("");
            }
            case "ByteLevel" -> ByteAlphabet::encode;
            default ->
                throw spec.wrong("the normalizer '" + spec.type() + "' is not supported; supported: Sequence, "
                        + "Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, ByteLevel");
        };
    }

    static Normalizer sequence(List<Normalizer> steps) {
        return text -> {
            String result = text;
            for (Normalizer step : steps) {
                result = step.normalize(result);
            }
            return result;
        };
    }

    /// The component's `pattern`: `{"String": …}`, taken literally, or `{"Regex": …}`.
    static Pattern pattern(Spec spec) {
        Spec pattern = spec.requiredObject("pattern");
        if (pattern.has("String")) {
            if (pattern.text("String").isEmpty()) {
                throw spec.wrong("the pattern is empty");
            }
            return Pattern.compile(Pattern.quote(pattern.text("String")));
        }
        try {
            return OnigurumaRegex.compile(pattern.text("Regex"));
        } catch (PatternSyntaxException e) {
            throw spec.wrong(
                    "the regular expression cannot be used: " + e.getDescription() + " near index " + e.getIndex());
        }
    }

    private static Normalizer unicode(Form form) {
        return text -> java.text.Normalizer.normalize(text, form);
    }

    /// Character by character: the final sigma's rule looks at neighbours, which the tokenizers library does not.
    private static String lowercase(String text) {
        StringBuilder lower = new StringBuilder(text.length());
        text.codePoints().forEach(c -> {
            if (c < 128) {
                lower.append((char) Character.toLowerCase(c));
            } else {
                lower.append(Character.toString(c).toLowerCase(Locale.ROOT));
            }
        });
        return lower.toString();
    }

    private static Normalizer strip(boolean left, boolean right) {
        return text -> {
            int start = 0;
            int end = text.length();
            while (left && start < end && whitespace(text.charAt(start))) {
                start++;
            }
            while (right && end > start && whitespace(text.charAt(end - 1))) {
                end--;
            }
            return text.substring(start, end);
        };
    }

    /// Unicode's White_Space, all of it in the basic plane. Java's own predicates leave out the no-break spaces, or NEL,
    /// or take in the information separators.
    static boolean whitespace(int c) {
        return (c >= 0x09 && c <= 0x0D)
                || c == 0x20
                || c == 0x85
                || c == 0xA0
                || c == 0x1680
                || (c >= 0x2000 && c <= 0x200A)
                || c == 0x2028
                || c == 0x2029
                || c == 0x202F
                || c == 0x205F
                || c == 0x3000;
    }
}
