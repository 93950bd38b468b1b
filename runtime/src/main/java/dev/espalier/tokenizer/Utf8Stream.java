package dev.espalier.tokenizer;

import java.util.Arrays;

/// UTF-8 that comes in pieces, as text: characters are given out when they are complete, and each maximal broken
/// sequence becomes one U+FFFD, exactly as Python's `errors="replace"` counts them. (Java's own decoder makes one of an
/// encoded surrogate where Python makes three.)
final class Utf8Stream {
    private static final byte[] NOTHING = new byte[0];

    private byte[] pending = NOTHING;

    /// The text that `bytes` complete; with `end`, also what cannot be completed any more.
    String next(byte[] bytes, boolean end) {
        byte[] all = bytes;
        if (pending.length > 0) {
            all = Arrays.copyOf(pending, pending.length + bytes.length);
            System.arraycopy(bytes, 0, all, pending.length, bytes.length);
        }
        StringBuilder text = new StringBuilder(all.length);
        int at = 0;
        while (at < all.length) {
            int length = length(all[at] & 0xFF);
            int valid = valid(all, at, length);
            if (valid == length) {
                text.appendCodePoint(character(all, at, length));
            } else if (at + valid == all.length && !end) {
                break;
            } else {
                text.append('\uFFFD');
            }
            at += Math.max(valid, 1);
        }
        pending = at == all.length ? NOTHING : Arrays.copyOfRange(all, at, all.length);
        return text.toString();
    }

    /// How many bytes a character has that begins with `lead`; 5, which no sequence reaches, where none does.
    private static int length(int lead) {
        if (lead < 0x80) {
            return 1;
        }
        if (lead < 0xC2 || lead > 0xF4) {
            return 5;
        }
        return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    }

    /// How many bytes from `start` on are the beginning of a character of that length, or all of it.
    private static int valid(byte[] bytes, int start, int length) {
        if (length == 5) {
            return 0;
        }
        int lead = bytes[start] & 0xFF;
        int valid = 1;
        while (valid < length && start + valid < bytes.length) {
            int next = bytes[start + valid] & 0xFF;
            int low = valid > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
            int high = valid > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
            if (next < low || next > high) {
                break;
            }
            valid++;
        }
        return valid;
    }

    private static int character(byte[] bytes, int start, int length) {
        int lead = bytes[start] & 0xFF;
        int character = length == 1 ? lead : lead & (0x7F >> length);
        for (int i = 1; i < length; i++) {
            character = character << 6 | (bytes[start + i] & 0x3F);
        }
        return character;
    }
}
