package dev.espalier.tokenizer;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import java.util.regex.Pattern;

/// The tokens that are found in the text itself before anything else happens to it: special tokens, and words added to
/// a vocabulary later.
///
/// Tokens whose `normalized` is false are looked for in the text as it is, the others, themselves normalized, in the
/// normalized stretches between. Of several that begin at one place the longest wins.
final class AddedTokens {
    /// One added token.
    ///
    /// @param singleWord found only where no letter or digit touches it
    /// @param lstrip takes the white space before it along
    /// @param rstrip takes the white space after it along
    record AddedToken(
            int id,
            String content,
            boolean singleWord,
            boolean lstrip,
            boolean rstrip,
            boolean normalized,
            boolean special) {}

    private static final Pattern WORD = Pattern.compile("\\w", Pattern.UNICODE_CHARACTER_CLASS);

    private final Trie raw = new Trie();
    private final Trie normalized = new Trie();
    private final Normalizer normalizer;

    AddedTokens(Collection<AddedToken> tokens, Normalizer normalizer) {
        this.normalizer = normalizer;
        for (AddedToken token : tokens) {
            if (token.normalized()) {
                normalized.add(normalizer.normalize(token.content()), token);
            } else {
                raw.add(token.content(), token);
            }
        }
    }

    /// Walks through `text` in order: ids of added tokens to `found`, everything between, normalized, to `between`.
    void split(String text, Consumer<PreTokenizer.Piece> between, IntConsumer found) {
        split(
                raw,
                new PreTokenizer.Piece(text, true),
                piece -> split(
                        normalized,
                        new PreTokenizer.Piece(normalizer.normalize(piece.text()), piece.first()),
                        between,
                        found),
                found);
    }

    private static void split(
            Trie trie, PreTokenizer.Piece piece, Consumer<PreTokenizer.Piece> between, IntConsumer found) {
        String text = piece.text();
        int done = 0;
        if (!trie.isEmpty()) {
            int at = 0;
            while (at < text.length()) {
                Match match = trie.longest(text, at);
                if (match == null) {
                    at++;
                    continue;
                }
                at = match.end();
                AddedToken token = match.token();
                if (token.singleWord() && touchesWord(text, match.start(), match.end())) {
                    continue;
                }
                int start = token.lstrip() ? Math.max(done, spaceBefore(text, match.start())) : match.start();
                int end = token.rstrip() ? spaceAfter(text, match.end()) : match.end();
                if (done < start) {
                    between.accept(new PreTokenizer.Piece(text.substring(done, start), piece.first() && done == 0));
                }
                found.accept(token.id());
                done = end;
            }
        }
        if (done < text.length()) {
            between.accept(done == 0 ? piece : new PreTokenizer.Piece(text.substring(done), false));
        }
    }

    private static boolean touchesWord(String text, int start, int end) {
        return (start > 0 && isWord(text.codePointBefore(start)))
                || (end < text.length() && isWord(text.codePointAt(end)));
    }

    private static boolean isWord(int c) {
        return WORD.matcher(Character.toString(c)).matches();
    }

    private static int spaceBefore(String text, int start) {
        int at = start;
        while (at > 0 && Normalizer.whitespace(text.charAt(at - 1))) {
            at--;
        }
        return at;
    }

    private static int spaceAfter(String text, int end) {
        int at = end;
        while (at < text.length() && Normalizer.whitespace(text.charAt(at))) {
            at++;
        }
        return at;
    }

    private record Match(int start, int end, AddedToken token) {}

    /// A character trie; the few hundred added tokens of a checkpoint share few prefixes.
    private static final class Trie {
        private final Node root = new Node();

        private static final class Node {
            private final Map<Character, Node> next = new HashMap<>();
            private AddedToken token;
        }

        void add(String content, AddedToken token) {
            if (content.isEmpty()) {
                return;
            }
            Node node = root;
            for (char c : content.toCharArray()) {
                node = node.next.computeIfAbsent(c, _ -> new Node());
            }
            node.token = node.token == null ? token : node.token;
        }

        boolean isEmpty() {
            return root.next.isEmpty();
        }

        Match longest(String text, int start) {
            Node node = root;
            Match match = null;
            for (int at = start; at < text.length(); ) {
                node = node.next.get(text.charAt(at++));
                if (node == null) {
                    break;
                }
                if (node.token != null) {
                    match = new Match(start, at, node.token);
                }
            }
            return match;
        }
    }

    /// The added tokens listed in `tokenizer.json`.
    static List<AddedToken> read(Spec tokenizer) {
        List<AddedToken> tokens = new ArrayList<>();
        for (Spec spec : tokenizer.objects("added_tokens")) {
            tokens.add(read(spec, spec.count("id")));
        }
        return tokens;
    }

    /// One added token whose id stands elsewhere (`added_tokens_decoder` in `tokenizer_config.json`).
    static AddedToken read(Spec spec, int id) {
        boolean special = spec.flag("special", false);
        return new AddedToken(
                id,
                Tokenizer.wellFormed(spec.text("content")),
                spec.flag("single_word", false),
                spec.flag("lstrip", false),
                spec.flag("rstrip", false),
                spec.flag("normalized", !special),
                special);
    }
}
