package dev.espalier.tokenizer;

/// The merges by their pair of ids: open addressing in three arrays, for the lookups that encoding consists of.
final class MergeTable {
    private static final long EMPTY = -1;

    private final long[] pairs;
    private final int[] ranks;
    private final int[] products;
    private final int mask;

    /// A table for up to `count` merges.
    MergeTable(int count) {
        int capacity = Integer.highestOneBit(Math.max(8, count)) << 2;
        pairs = new long[capacity];
        java.util.Arrays.fill(pairs, EMPTY);
        ranks = new int[capacity];
        products = new int[capacity];
        mask = capacity - 1;
    }

    /// Records that `left` and `right` become `product`; a pair that comes again takes the later rank, as in the
    /// tokenizers library.
    void put(int left, int right, int rank, int product) {
        long pair = pair(left, right);
        int at = home(pair);
        while (pairs[at] != EMPTY && pairs[at] != pair) {
            at = at + 1 & mask;
        }
        pairs[at] = pair;
        ranks[at] = rank;
        products[at] = product;
    }

    /// Where the pair's merge stands, or -1.
    int slot(int left, int right) {
        long pair = pair(left, right);
        int at = home(pair);
        while (pairs[at] != EMPTY) {
            if (pairs[at] == pair) {
                return at;
            }
            at = at + 1 & mask;
        }
        return -1;
    }

    int rank(int slot) {
        return ranks[slot];
    }

    int product(int slot) {
        return products[slot];
    }

    private static long pair(int left, int right) {
        return (long) left << 32 | right;
    }

    private int home(long pair) {
        return (int) ((pair * 0x9E3779B97F4A7C15L) >>> 32) & mask;
    }
}
