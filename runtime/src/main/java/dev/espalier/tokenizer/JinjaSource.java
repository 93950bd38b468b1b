package dev.espalier.tokenizer;

import dev.espalier.tensor.InputException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A template rewritten so that Jinjava reads it as Jinja does.
///
/// The two grammars differ quietly: in Jinjava `not` binds before `is`, a named argument ends at the first operator,
/// `}}` within a map ends the tag, strings know other escapes, a filter or test that does not exist yields nothing.
/// White space around tags is settled here too (`trim_blocks`, `lstrip_blocks`, `-`). What stays different is refused.
final class JinjaSource {
    private enum Kind {
        SPACE,
        STRING,
        NAME,
        NUMBER,
        SIGN
    }

    private record Token(Kind kind, String text) {
        boolean is(String sign) {
            return kind != Kind.STRING && text.equals(sign);
        }
    }

    private static final Pattern TOKEN = Pattern.compile(
            "(?<space>\\s+)"
                    + "|(?<string>'(?:[^'\\\\]|\\\\.)*+'|\"(?:[^\"\\\\]|\\\\.)*+\")"
                    + "|(?<name>[\\p{L}_][\\p{L}\\p{N}_]*)"
                    + "|(?<number>[0-9][0-9_]*(?:\\.[0-9]+)?)"
                    + "|(?<sign>\\*\\*|//|==|!=|<=|>=|.)",
            Pattern.DOTALL);
    private static final Pattern RAW_END = Pattern.compile("\\{%[-+]?\\s*endraw\\s*[-+]?%}");
    /// Jinjava's parser looks ahead through all that is open, at every bracket.
    private static final int MAX_DEPTH = 24;

    private static final int MAX_TOKENS = 4096;
    private static final int MAX_CHARACTERS = 1 << 20;
    private static final Set<String> OPERAND_ENDS = Set.of("and", "or", "if", "else", ",", ":", ")", "]", "}");

    private final String source;
    private final Predicate<String> filters;
    private final Predicate<String> tests;
    private final StringBuilder result = new StringBuilder();
    private int at;
    private boolean stripNext;
    private boolean trimNext;

    private JinjaSource(String source, Predicate<String> filters, Predicate<String> tests) {
        this.source = source;
        this.filters = filters;
        this.tests = tests;
    }

    /// @param filters whether there is a filter of that name
    /// @param tests whether there is a test (`is …`) of that name
    static String rewrite(String template, Predicate<String> filters, Predicate<String> tests) {
        if (template.length() > MAX_CHARACTERS) {
            throw new InputException("the chat template is longer than " + MAX_CHARACTERS + " characters");
        }
        String unix = template.replace("\r\n", "\n").replace('\r', '\n');
        return new JinjaSource(unix.endsWith("\n") ? unix.substring(0, unix.length() - 1) : unix, filters, tests)
                .rewritten();
    }

    private String rewritten() {
        while (at < source.length()) {
            int open = nextTag();
            text(open);
            at = open;
            if (open < source.length()) {
                switch (source.charAt(open + 1)) {
                    case '#' -> comment();
                    case '%' -> tag("%}");
                    default -> tag("}}");
                }
            }
        }
        return result.toString();
    }

    private int nextTag() {
        for (int open = source.indexOf('{', at); open >= 0; open = source.indexOf('{', open + 1)) {
            if (open + 1 < source.length() && "#%{".indexOf(source.charAt(open + 1)) >= 0) {
                return open;
            }
        }
        return source.length();
    }

    /// Copies the text before the tag at `open`: white space goes where either neighbour has a minus; else the line feed
    /// after a block (`trim_blocks`) and the indentation before one (`lstrip_blocks`).
    private void text(int open) {
        int start = at;
        int end = open;
        boolean block = open < source.length() && source.charAt(open + 1) != '{';
        char mark = open + 2 < source.length() ? source.charAt(open + 2) : ' ';
        if (stripNext) {
            while (start < end && Normalizer.whitespace(source.charAt(start))) {
                start++;
            }
        } else if (trimNext && start < end && source.charAt(start) == '\n') {
            start++;
        }
        if (open < source.length() && mark == '-') {
            while (end > start && Normalizer.whitespace(source.charAt(end - 1))) {
                end--;
            }
        } else if (block && mark != '+') {
            int line = end;
            while (line > start && (source.charAt(line - 1) == ' ' || source.charAt(line - 1) == '\t')) {
                line--;
            }
            boolean lineStart = line == 0 || source.charAt(line - 1) == '\n';
            end = lineStart ? line : end;
        }
        result.append(source, start, end);
        stripNext = false;
        trimNext = false;
    }

    private void comment() {
        int end = source.indexOf("#}", at + 2);
        if (end < 0) {
            throw malformed("a comment does not end");
        }
        stripNext = end > at + 2 && source.charAt(end - 1) == '-';
        trimNext = !(end > at + 2 && source.charAt(end - 1) == '+');
        at = end + 2;
    }

    private void tag(String close) {
        boolean marked = at + 2 < source.length() && "-+".indexOf(source.charAt(at + 2)) >= 0;
        List<Token> tokens = new ArrayList<>();
        int end = lex(at + (marked ? 3 : 2), close, tokens);
        String mark = "";
        if (!tokens.isEmpty() && (tokens.getLast().is("-") || tokens.getLast().is("+"))) {
            mark = tokens.removeLast().text();
        }
        boolean block = close.equals("%}");
        stripNext = mark.equals("-");
        trimNext = block && !mark.equals("+");
        String name = block ? firstName(tokens) : "";
        if (name.equals("raw")) {
            raw(end);
            return;
        }
        result.append(source, at, at + 2).append(' ');
        emit(name.equals("macro") ? tokens : rewritten(tokens));
        result.append(' ').append(close);
        at = end;
    }

    /// What stands between `raw` and `endraw` becomes a string that is written out.
    private void raw(int start) {
        Matcher matcher = RAW_END.matcher(source);
        if (!matcher.find(start)) {
            throw malformed("'raw' does not end");
        }
        int from = stripNext ? start : start + (source.startsWith("\n", start) ? 1 : 0);
        String text = source.substring(Math.min(from, matcher.start()), matcher.start());
        text = stripNext ? text.stripLeading() : text;
        text = matcher.group().startsWith("{%-") ? text.stripTrailing() : text;
        result.append("{{ ").append(literal(text)).append(" }}");
        stripNext = matcher.group().endsWith("-%}");
        trimNext = true;
        at = matcher.end();
    }

    /// Reads tokens up to `close`, which does not count within strings and, for `}}`, within a map; returns where the
    /// tag ends.
    private int lex(int start, String close, List<Token> tokens) {
        Matcher matcher = TOKEN.matcher(source);
        int depth = 0;
        int i = start;
        while (i < source.length()) {
            if (depth == 0 && source.startsWith(close, i)) {
                return i + 2;
            }
            matcher.region(i, source.length());
            if (!matcher.lookingAt()) {
                throw malformed("a tag cannot be read");
            }
            i = matcher.end();
            Kind kind = Kind.SIGN;
            for (Kind k : Kind.values()) {
                if (matcher.group(k.name().toLowerCase(java.util.Locale.ROOT)) != null) {
                    kind = k;
                }
            }
            Token token = new Token(kind, matcher.group());
            if (kind == Kind.SIGN && (token.is("'") || token.is("\""))) {
                throw malformed("a string does not end");
            }
            depth += token.is("{") || token.is("(") || token.is("[") ? 1 : 0;
            depth -= depth > 0 && (token.is("}") || token.is(")") || token.is("]")) ? 1 : 0;
            tokens.add(token);
            if (depth > MAX_DEPTH || tokens.size() > MAX_TOKENS) {
                throw malformed("an expression is too long or nested too deeply");
            }
        }
        throw malformed("a tag does not end");
    }

    private static String firstName(List<Token> tokens) {
        return tokens.stream()
                .filter(t -> t.kind() != Kind.SPACE)
                .findFirst()
                .map(Token::text)
                .orElse("");
    }

    private void emit(List<Token> tokens) {
        String before = "";
        for (Token token : tokens) {
            String text = token.kind() == Kind.STRING ? literal(unquoted(token.text())) : token.text();
            if (text.equals("}") && before.equals("}") || text.equals("{") && before.equals("{")) {
                result.append(' ');
            }
            result.append(text);
            before = text;
        }
    }

    private List<Token> rewritten(List<Token> tokens) {
        List<Token> list = joinedStrings(tokens);
        checkNames(list);
        list = reversed(list);
        list = constants(list);
        list = namedArguments(list);
        return negations(list);
    }

    /// `'a' 'b'` is one string.
    private static List<Token> joinedStrings(List<Token> tokens) {
        List<Token> list = new ArrayList<>();
        for (Token token : tokens) {
            int last = before(list, list.size());
            if (token.kind() == Kind.STRING && last >= 0 && list.get(last).kind() == Kind.STRING) {
                String both = unquoted(list.get(last).text()) + unquoted(token.text());
                list.subList(last, list.size()).clear();
                list.add(new Token(Kind.STRING, literal(both)));
            } else {
                list.add(token);
            }
        }
        return list;
    }

    private void checkNames(List<Token> tokens) {
        for (int i = 0; i < tokens.size(); i++) {
            int next = after(tokens, i);
            if (next < 0 || tokens.get(next).kind() != Kind.NAME) {
                continue;
            }
            String name = tokens.get(next).text();
            if (tokens.get(i).is("|") && !filters.test(name)) {
                throw malformed("the filter '" + name + "' is not supported");
            }
            if (tokens.get(i).is("is") && tokens.get(i).kind() == Kind.NAME && !isAttribute(tokens, i)) {
                int test = name.equals("not") ? after(tokens, next) : next;
                if (test < 0 || !tests.test(tokens.get(test).text())) {
                    throw malformed("the test 'is " + name + "' is not supported");
                }
            }
        }
    }

    /// `[::-1]` is the filter `reverse`; other steps are refused.
    private List<Token> reversed(List<Token> tokens) {
        List<Token> list = new ArrayList<>(tokens);
        for (int i = 0; i + 4 < list.size(); i++) {
            if (list.get(i).is("[")
                    && list.get(i + 1).is(":")
                    && list.get(i + 2).is(":")
                    && list.get(i + 3).is("-")
                    && list.get(i + 4).is("1")) {
                list.subList(i, i + 6).clear();
                list.addAll(i, List.of(new Token(Kind.SIGN, "|"), new Token(Kind.NAME, "reverse")));
            }
        }
        int colons = 0;
        for (Token token : list) {
            colons = token.is(":") ? colons + 1 : token.is("[") || token.is("]") || token.is(",") ? 0 : colons;
            if (colons == 2 && list.stream().noneMatch(t -> t.is("{"))) {
                throw malformed("a slice with a step is not supported");
            }
        }
        return list;
    }

    /// Python's constants in Jinjava's spelling.
    private static List<Token> constants(List<Token> tokens) {
        List<Token> list = new ArrayList<>(tokens);
        for (int i = 0; i < list.size(); i++) {
            if (list.get(i).kind() != Kind.NAME || isAttribute(list, i)) {
                continue;
            }
            int before = before(list, i);
            boolean test = before >= 0
                    && (list.get(before).is("is")
                            || (list.get(before).is("not")
                                    && before(list, before) >= 0
                                    && list.get(before(list, before)).is("is")));
            switch (list.get(i).text()) {
                case "True" -> list.set(i, new Token(Kind.NAME, "true"));
                case "False" -> list.set(i, new Token(Kind.NAME, "false"));
                case "None", "none" -> list.set(i, new Token(Kind.NAME, test ? "none" : "null"));
                default -> {}
            }
        }
        return list;
    }

    /// `f(a=b + 1)` becomes `f(a=(b + 1))`.
    private static List<Token> namedArguments(List<Token> tokens) {
        List<Token> list = new ArrayList<>(tokens);
        for (int i = list.size() - 1; i > 0; i--) {
            int name = before(list, i);
            int opener = name < 0 ? -1 : before(list, name);
            if (list.get(i).is("=")
                    && opener >= 0
                    && list.get(name).kind() == Kind.NAME
                    && (list.get(opener).is("(") || list.get(opener).is(","))) {
                int end = end(list, i + 1, Set.of(",", ")"));
                list.add(end, new Token(Kind.SIGN, ")"));
                list.add(i + 1, new Token(Kind.SIGN, "("));
            }
        }
        return list;
    }

    /// `not a is b` becomes `not (a is b)`.
    private static List<Token> negations(List<Token> tokens) {
        List<Token> list = new ArrayList<>(tokens);
        for (int i = list.size() - 1; i >= 0; i--) {
            if (!list.get(i).is("not") || isAttribute(list, i)) {
                continue;
            }
            int before = before(list, i);
            int after = after(list, i);
            boolean prefix = (before < 0 || !list.get(before).is("is"))
                    && after >= 0
                    && !list.get(after).is("in");
            if (prefix) {
                int end = end(list, i + 1, OPERAND_ENDS);
                list.add(end, new Token(Kind.SIGN, ")"));
                list.add(i + 1, new Token(Kind.SIGN, " ("));
            }
        }
        return list;
    }

    private static int end(List<Token> tokens, int start, Set<String> ends) {
        int depth = 0;
        for (int i = start; i < tokens.size(); i++) {
            Token token = tokens.get(i);
            if (token.kind() == Kind.STRING) {
                continue;
            }
            if (depth == 0 && ends.contains(token.text()) && !isAttribute(tokens, i)) {
                return i;
            }
            String text = token.text().strip();
            depth += text.equals("(") || text.equals("[") || text.equals("{") ? 1 : 0;
            depth -= text.equals(")") || text.equals("]") || text.equals("}") ? 1 : 0;
        }
        return tokens.size();
    }

    private static boolean isAttribute(List<Token> tokens, int i) {
        int before = before(tokens, i);
        return before >= 0 && tokens.get(before).is(".");
    }

    private static int before(List<Token> tokens, int i) {
        int at = i - 1;
        while (at >= 0 && tokens.get(at).kind() == Kind.SPACE) {
            at--;
        }
        return at;
    }

    private static int after(List<Token> tokens, int i) {
        int at = i + 1;
        while (at < tokens.size() && tokens.get(at).kind() == Kind.SPACE) {
            at++;
        }
        return at < tokens.size() ? at : -1;
    }

    /// The value of a Python string literal.
    private static String unquoted(String literal) {
        StringBuilder value = new StringBuilder();
        for (int i = 1; i < literal.length() - 1; i++) {
            char c = literal.charAt(i);
            if (c != '\\') {
                value.append(c);
                continue;
            }
            char escaped = literal.charAt(++i);
            int digits = escaped == 'x' ? 2 : escaped == 'u' ? 4 : escaped == 'U' ? 8 : 0;
            switch (escaped) {
                case 'n' -> value.append('\n');
                case 't' -> value.append('\t');
                case 'r' -> value.append('\r');
                case 'b' -> value.append('\b');
                case 'f' -> value.append('\f');
                case 'v' -> value.append('\u000B');
                case 'a' -> value.append('\u0007');
                case '0' -> value.append('\0');
                case '\n' -> {}
                case '\\', '\'', '"' -> value.append(escaped);
                case 'x', 'u', 'U' -> {
                    int end = Math.min(i + 1 + digits, literal.length() - 1);
                    try {
                        value.appendCodePoint(Integer.parseInt(literal.substring(i + 1, end), 16));
                    } catch (IllegalArgumentException e) {
                        throw new InputException("the chat template cannot be read: a string holds a broken escape", e);
                    }
                    i = end - 1;
                }
                default -> value.append('\\').append(escaped);
            }
        }
        return value.toString();
    }

    /// A literal that Jinjava reads as `value`.
    private static String literal(String value) {
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'";
    }

    private InputException malformed(String what) {
        int line = 1
                + (int) source.substring(0, Math.min(at, source.length()))
                        .chars()
                        .filter(c -> c == '\n')
                        .count();
        return new InputException("the chat template cannot be read: " + what + " (line " + line + ")");
    }
}
