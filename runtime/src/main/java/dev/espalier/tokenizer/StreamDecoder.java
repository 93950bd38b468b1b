package dev.espalier.tokenizer;

/// Turns the ids of one text into text as they come.
///
/// A character that is spread over several tokens is held back until it is complete, so no piece ever splits one; bytes
/// that are not UTF-8 become U+FFFD. All pieces joined, [#finish]'s included, equal [Tokenizer#decode] of all the ids.
/// Not for use by several threads at once.
public final class StreamDecoder {
    private final Tokenizer tokenizer;
    private final Detokenizer.Strip strip;
    private final Utf8Stream utf8 = new Utf8Stream();
    private final StringBuilder held = new StringBuilder();
    private boolean first = true;
    private int toStrip;

    StreamDecoder(Tokenizer tokenizer, Detokenizer.Strip strip) {
        this.tokenizer = tokenizer;
        this.strip = strip;
        toStrip = strip.start();
    }

    /// The text that `id` completes; the empty string for a special token, one that the vocabulary does not have, or one
    /// that ends within a character.
    public String next(int id) {
        if (tokenizer.isSpecial(id) || !tokenizer.has(id)) {
            return "";
        }
        byte[] more = tokenizer.bytes(id, first);
        first = false;
        return stripped(utf8.next(more, false), false);
    }

    /// What is still held back: U+FFFD where the last character is incomplete. The decoder is not to be used after it.
    public String finish() {
        return stripped(utf8.next(new byte[0], true), true);
    }

    /// Takes the text's first and last characters away where the decoder says so; what may be among the last ones waits.
    private String stripped(String text, boolean end) {
        int start = 0;
        while (toStrip > 0 && start < text.length()) {
            int c = text.codePointAt(start);
            if (c != strip.content()) {
                toStrip = 0;
            } else {
                start += Character.charCount(c);
                toStrip--;
            }
        }
        if (strip.stop() == 0) {
            return text.substring(start);
        }
        held.append(text, start, text.length());
        int keep = held.length();
        for (int i = 0; i < strip.stop() && keep > 0 && held.codePointBefore(keep) == strip.content(); i++) {
            keep -= Character.charCount(strip.content());
        }
        String sent = held.substring(0, keep);
        held.delete(0, end ? held.length() : keep);
        return sent;
    }
}
