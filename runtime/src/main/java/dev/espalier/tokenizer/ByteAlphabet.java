package dev.espalier.tokenizer;

import java.nio.charset.StandardCharsets;

/// GPT-2's alphabet: one printable character for each of the 256 bytes, so that a byte-level vocabulary can be written
/// as text.
///
/// Bytes that are printable in Latin-1 stand for themselves; the other 68 take the code points from 256 on, in order of
/// their value. A space is written `Ġ`, a line feed `Ċ`.
final class ByteAlphabet {
    private static final char[] CHARACTERS = new char[256];
    private static final short[] BYTES = new short[256 + 68];

    static {
        java.util.Arrays.fill(BYTES, (short) -1);
        char next = 256;
        for (int b = 0; b < 256; b++) {
            boolean printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            CHARACTERS[b] = printable ? (char) b : next++;
            BYTES[CHARACTERS[b]] = (short) b;
        }
    }

    private ByteAlphabet() {}

    /// The characters for the UTF-8 bytes of `text`.
    static String encode(String text) {
        boolean plain = true;
        for (int i = 0; i < text.length() && plain; i++) {
            char c = text.charAt(i);
            plain = c >= '!' && c <= '~';
        }
        if (plain) {
            return text;
        }
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        char[] mapped = new char[utf8.length];
        for (int i = 0; i < utf8.length; i++) {
            mapped[i] = CHARACTERS[utf8[i] & 0xFF];
        }
        return new String(mapped);
    }

    /// The bytes that `token` stands for; its own UTF-8 where a character is not of this alphabet.
    static byte[] decode(String token) {
        byte[] bytes = new byte[token.length()];
        for (int i = 0; i < bytes.length; i++) {
            char c = token.charAt(i);
            if (c >= BYTES.length || BYTES[c] < 0) {
                return token.getBytes(StandardCharsets.UTF_8);
            }
            bytes[i] = (byte) BYTES[c];
        }
        return bytes;
    }
}
