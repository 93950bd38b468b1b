package dev.espalier.prune.calibrate;

/// Python's `random.Random`: the Mersenne twister MT19937 (Matsumoto and Nishimura 1998), seeded with an integer as Python
/// does it.
///
/// The papers' calibration windows are drawn with it, so that the same seed gives the same windows here.
final class PythonRandom {
    private static final int N = 624;
    private static final int M = 397;

    private final int[] state = new int[N];
    private int at = N;

    /// `random.seed(seed)`.
    PythonRandom(long seed) {
        long magnitude = Math.abs(seed);
        int low = (int) magnitude;
        int high = (int) (magnitude >>> 32);
        initialize(high == 0 ? new int[] {low} : new int[] {low, high});
    }

    /// `random.randint(first, last)`: a number from `first` to `last`, both included.
    int between(int first, int last) {
        int count = last - first + 1;
        if (count < 1) {
            throw new IllegalArgumentException("no number from " + first + " to " + last);
        }
        int bits = 32 - Integer.numberOfLeadingZeros(count);
        int drawn;
        do {
            drawn = next() >>> (32 - bits);
        } while (drawn >= count);
        return first + drawn;
    }

    private void initialize(int[] key) {
        state[0] = 19650218;
        for (int i = 1; i < N; i++) {
            state[i] = 1812433253 * (state[i - 1] ^ state[i - 1] >>> 30) + i;
        }
        int i = 1;
        int j = 0;
        for (int k = Math.max(N, key.length); k > 0; k--) {
            state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >>> 30) * 1664525) + key[j] + j;
            i++;
            j = (j + 1) % key.length;
            if (i == N) {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        for (int k = N - 1; k > 0; k--) {
            state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >>> 30) * 1566083941) - i;
            i++;
            if (i == N) {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 0x80000000;
    }

    /// The next 32 random bits.
    private int next() {
        if (at == N) {
            for (int k = 0; k < N; k++) {
                int y = state[k] & 0x80000000 | state[(k + 1) % N] & 0x7fffffff;
                state[k] = state[(k + M) % N] ^ y >>> 1 ^ ((y & 1) == 0 ? 0 : 0x9908b0df);
            }
            at = 0;
        }
        int y = state[at++];
        y ^= y >>> 11;
        y ^= y << 7 & 0x9d2c5680;
        y ^= y << 15 & 0xefc60000;
        return y ^ y >>> 18;
    }
}
