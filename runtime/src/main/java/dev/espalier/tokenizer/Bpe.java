package dev.espalier.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/// Byte-pair encoding: a piece's characters, merged pair by pair in the order in which training found the merges
/// (Sennrich, Haddow, Birch 2016).
///
/// The next merge comes from a heap and the symbols form a linked list, so a piece of n characters takes O(n log n):
/// vocabularies made by SentencePiece have no pre-tokenizer, and a whole book is one piece.
final class Bpe {
    /// What a model does with the exceptional.
    ///
    /// @param unknownId the id for a character outside the vocabulary, or -1: such characters are dropped
    /// @param fuseUnknown one unknown token for a run of unknown characters
    /// @param byteFallback unknown characters become their UTF-8 bytes' tokens `<0x00>` to `<0xFF>`
    /// @param ignoreMerges a whole piece in the vocabulary is taken without asking the merges
    /// @param subwordPrefix put before all characters of a piece but the first to look them up
    /// @param wordSuffix put after the last one
    record Options(
            int unknownId,
            boolean fuseUnknown,
            boolean byteFallback,
            boolean ignoreMerges,
            String subwordPrefix,
            String wordSuffix) {}

    private static final int CACHED_PIECES = 1 << 16;
    private static final int CACHED_LENGTH = 48;

    private final Map<String, Integer> vocabulary;
    private final MergeTable merges;
    private final Options options;
    private final int[] byteIds;
    private final int[] characterIds = new int[Character.MAX_VALUE + 1];
    private final Map<String, int[]> cache = new ConcurrentHashMap<>();

    Bpe(Map<String, Integer> vocabulary, MergeTable merges, Options options) {
        this.vocabulary = vocabulary;
        this.merges = merges;
        this.options = options;
        byteIds = new int[256];
        for (int b = 0; b < 256; b++) {
            byteIds[b] = vocabulary.getOrDefault("<0x%02X>".formatted(b), -1);
        }
        Arrays.fill(characterIds, -1);
        vocabulary.forEach((token, id) -> {
            if (token.length() == 1) {
                characterIds[token.charAt(0)] = id;
            }
        });
    }

    /// Appends the ids of `piece`.
    void encode(String piece, Ids ids) {
        if (piece.isEmpty()) {
            return;
        }
        if (piece.length() > CACHED_LENGTH) {
            merge(piece, ids);
            return;
        }
        int[] known = cache.get(piece);
        if (known == null) {
            Ids fresh = new Ids();
            merge(piece, fresh);
            known = fresh.toArray();
            if (cache.size() < CACHED_PIECES) {
                cache.put(piece, known);
            }
        }
        ids.addAll(known);
    }

    private void merge(String piece, Ids ids) {
        if (options.ignoreMerges()) {
            Integer whole = vocabulary.get(piece);
            if (whole != null) {
                ids.add(whole);
                return;
            }
        }
        Ids symbols = symbols(piece);
        new Merging(symbols.toArray()).run(ids);
    }

    /// The ids of the single characters.
    private Ids symbols(String piece) {
        Ids symbols = new Ids();
        boolean plain =
                options.subwordPrefix().isEmpty() && options.wordSuffix().isEmpty();
        boolean unknown = false;
        for (int at = 0; at < piece.length(); ) {
            int c = piece.codePointAt(at);
            int end = at + Character.charCount(c);
            int id = plain && c <= Character.MAX_VALUE ? characterIds[c] : idAt(piece, at, end);
            if (id >= 0) {
                if (unknown) {
                    symbols.add(options.unknownId());
                    unknown = false;
                }
                symbols.add(id);
            } else if (!options.byteFallback() || !addBytes(affixed(piece, at, end), symbols)) {
                if (unknown && !options.fuseUnknown()) {
                    symbols.add(options.unknownId());
                }
                unknown = options.unknownId() >= 0;
            }
            at = end;
        }
        if (unknown) {
            symbols.add(options.unknownId());
        }
        return symbols;
    }

    private int idAt(String piece, int start, int end) {
        return vocabulary.getOrDefault(affixed(piece, start, end), -1);
    }

    private String affixed(String piece, int start, int end) {
        return (start > 0 ? options.subwordPrefix() : "")
                + piece.substring(start, end)
                + (end == piece.length() ? options.wordSuffix() : "");
    }

    private boolean addBytes(String character, Ids symbols) {
        byte[] utf8 = character.getBytes(StandardCharsets.UTF_8);
        for (byte b : utf8) {
            if (byteIds[b & 0xFF] < 0) {
                return false;
            }
        }
        for (byte b : utf8) {
            symbols.add(byteIds[b & 0xFF]);
        }
        return true;
    }

    /// One piece being merged. A heap entry holds a merge's rank above the position of its left symbol, so that the
    /// smallest is the earliest merge, leftmost first; entries that a neighbour's merge has overtaken are dropped when
    /// they come up.
    private final class Merging {
        private final int[] symbols;
        private final int[] next;
        private final int[] previous;
        private long[] heap;
        private int size;

        Merging(int[] symbols) {
            this.symbols = symbols;
            int n = symbols.length;
            next = new int[n];
            previous = new int[n];
            heap = new long[n + 1];
            for (int i = 0; i < n; i++) {
                next[i] = i + 1 < n ? i + 1 : -1;
                previous[i] = i - 1;
            }
        }

        void run(Ids ids) {
            for (int i = 0; i + 1 < symbols.length; i++) {
                offer(i);
            }
            while (size > 0) {
                long entry = poll();
                int left = (int) entry;
                int right = next[left];
                if (symbols[left] < 0 || right < 0) {
                    continue;
                }
                int slot = merges.slot(symbols[left], symbols[right]);
                if (slot < 0 || merges.rank(slot) != (int) (entry >>> 32)) {
                    continue;
                }
                symbols[left] = merges.product(slot);
                symbols[right] = -1;
                next[left] = next[right];
                if (next[right] >= 0) {
                    previous[next[right]] = left;
                }
                offer(left);
                if (previous[left] >= 0) {
                    offer(previous[left]);
                }
            }
            for (int symbol : symbols) {
                if (symbol >= 0) {
                    ids.add(symbol);
                }
            }
        }

        private void offer(int left) {
            if (next[left] < 0) {
                return;
            }
            int slot = merges.slot(symbols[left], symbols[next[left]]);
            if (slot < 0) {
                return;
            }
            if (size == heap.length) {
                heap = Arrays.copyOf(heap, 2 * size);
            }
            long entry = (long) merges.rank(slot) << 32 | left;
            int at = size++;
            while (at > 0 && heap[(at - 1) / 2] > entry) {
                heap[at] = heap[(at - 1) / 2];
                at = (at - 1) / 2;
            }
            heap[at] = entry;
        }

        private long poll() {
            long smallest = heap[0];
            long last = heap[--size];
            int at = 0;
            for (int child = 1; child < size; child = 2 * at + 1) {
                if (child + 1 < size && heap[child + 1] < heap[child]) {
                    child++;
                }
                if (heap[child] >= last) {
                    break;
                }
                heap[at] = heap[child];
                at = child;
            }
            heap[at] = last;
            return smallest;
        }
    }

    /// A growing list of token ids.
    static final class Ids {
        private int[] ids = new int[16];
        private int size;

        void add(int id) {
            if (size == ids.length) {
                ids = Arrays.copyOf(ids, 2 * size);
            }
            ids[size++] = id;
        }

        void addAll(int[] more) {
            for (int id : more) {
                add(id);
            }
        }

        int[] toArray() {
            return Arrays.copyOf(ids, size);
        }
    }
}
