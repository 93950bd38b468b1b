package dev.espalier.tokenizer;

import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/// Patterns of the Oniguruma engine (Ruby syntax, UTF-8), which `tokenizer.json` files are written for, as Java patterns.
///
/// The two differ where nothing complains: in Java `\s`, `\w`, `\d` and `\b` know only ASCII unless told otherwise, `\h`
/// is horizontal space (here: a hexadecimal digit), `{n,m}+` is possessive (here: repeated), `(?m)` changes the anchors
/// (here: lets `.` match line feeds), `(?i)` folds only ASCII, scripts need a prefix in `\p{…}`. What cannot be
/// carried over is refused.
final class OnigurumaRegex {
    private static final Set<String> CATEGORIES = Set.of(
            "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps",
            "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Cs", "Co",
            "Cn");

    /// Oniguruma's `\w`, measured over all code points: no joiners, but the Latin-1 superscripts and fractions.
    private static final String WORD = "\\p{IsAlphabetic}\\p{M}\\p{Nd}\\p{Pc}\u00B2\u00B3\u00B9\u00BC-\u00BE";

    private static final Pattern POSIX_BRACKET = Pattern.compile("\\[:\\^?[a-z]+:]");

    private final String source;
    private final StringBuilder java = new StringBuilder();
    private int at;

    private OnigurumaRegex(String source) {
        this.source = source;
    }

    /// @throws PatternSyntaxException if the pattern is malformed or uses what Java cannot do
    static Pattern compile(String pattern) {
        return Pattern.compile(
                new OnigurumaRegex(pattern).translated(),
                Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNICODE_CASE | Pattern.MULTILINE | Pattern.UNIX_LINES);
    }

    private String translated() {
        if (POSIX_BRACKET.matcher(source).find()) {
            throw refused("a POSIX bracket '[:…:]'");
        }
        while (at < source.length()) {
            char c = source.charAt(at);
            if (c == '\\') {
                escape();
            } else if (c == '(' && source.startsWith("(?", at)) {
                group();
            } else if (c == '{' && intervalEnd() > 0) {
                int end = intervalEnd();
                java.append(source, at, end);
                at = end;
                if (at < source.length() && source.charAt(at) == '+') {
                    throw refused("a repeated interval '{…}+'");
                }
            } else {
                java.append(c);
                at++;
            }
        }
        return java.toString();
    }

    private void escape() {
        if (at + 1 == source.length()) {
            throw refused("a backslash at the end");
        }
        char c = source.charAt(at + 1);
        switch (c) {
            case 'p', 'P' -> property(c);
            case 'h' -> append("[0-9a-fA-F]", 2);
            case 'H' -> append("[^0-9a-fA-F]", 2);
            case 'w' -> append("[" + WORD + "]", 2);
            case 'W' -> append("[^" + WORD + "]", 2);
            case 'K', 'g', 'k', 'y', 'Y', 'O', 'N', 'C', 'M', 'Q', 'E' -> throw refused("'\\" + c + "'");
            default -> append(source.substring(at, at + 2), 2);
        }
    }

    private void property(char kind) {
        int end = source.indexOf('}', at);
        if (!source.startsWith("{", at + 2) || end < 0) {
            throw refused("a property without braces");
        }
        String name = source.substring(at + 3, end);
        boolean negated = name.startsWith("^");
        name = negated ? name.substring(1) : name;
        char sign = negated == (kind == 'p') ? 'P' : 'p';
        append("\\" + sign + "{" + (CATEGORIES.contains(name) ? name : "Is" + name) + "}", end + 1 - at);
    }

    /// `(?i:` and its kind: only `i` means the same in both; groups, look-around and atomic groups are the same.
    private void group() {
        int colon = at + 2;
        while (colon < source.length() && (Character.isLetter(source.charAt(colon)) || source.charAt(colon) == '-')) {
            colon++;
        }
        String flags = source.substring(at + 2, colon);
        if (!flags.chars().allMatch(f -> f == 'i' || f == '-')) {
            throw refused("the flags '" + flags + "'");
        }
        append(source.substring(at, colon), colon - at);
    }

    private int intervalEnd() {
        int i = at + 1;
        while (i < source.length() && (Character.isDigit(source.charAt(i)) || source.charAt(i) == ',')) {
            i++;
        }
        return i > at + 1 && i < source.length() && source.charAt(i) == '}' ? i + 1 : -1;
    }

    private void append(String text, int consumed) {
        java.append(text);
        at += consumed;
    }

    private PatternSyntaxException refused(String what) {
        return new PatternSyntaxException(what + " is not supported", source, at);
    }
}
