package dev.espalier.tools.gpu;

import java.util.List;

/// What a measurement allocated, closed in the opposite order.
final class Owned {
    private Owned() {}

    static void close(List<AutoCloseable> owned) {
        RuntimeException first = null;
        for (AutoCloseable object : owned.reversed()) {
            try {
                object.close();
            } catch (RuntimeException e) {
                first = first == null ? e : first;
            } catch (Exception e) {
                throw new AssertionError(e); // None of ours throws a checked one.
            }
        }
        if (first != null) {
            throw first;
        }
    }
}
