package dev.espalier.tools;

import java.io.PrintWriter;
import java.util.Locale;

/// Says how far a long piece of work has come and how long it will take: a bar that is redrawn on a terminal, elsewhere a
/// line now and then. Work that ends within a second or two leaves no trace.
final class Progress implements AutoCloseable {
    private static final int WIDTH = 24;
    private static final long REDRAW = 100_000_000L;
    private static final long FIRST_LINE = 5_000_000_000L;
    private static final long NEXT_LINE = 15_000_000_000L;

    private final PrintWriter err;
    private final String work;
    private final long total;
    private final boolean bar;
    private final long start = System.nanoTime();
    private long due;
    private boolean drawn;

    /// @param err null: nothing is shown
    /// @param bar whether a line may be redrawn
    Progress(PrintWriter err, String work, long total, boolean bar) {
        this.err = err;
        this.work = work;
        this.total = Math.max(1, total);
        this.bar = bar;
        this.due = start + (bar ? REDRAW : FIRST_LINE);
    }

    /// `done` of the steps are done.
    void at(long done) {
        at(done, "");
    }

    /// `done` of the steps are done; `detail` says what the next one is.
    synchronized void at(long done, String detail) {
        long now = System.nanoTime();
        if (err == null || now < due) {
            return;
        }
        due = now + (bar ? REDRAW : NEXT_LINE);
        String line = line(work, Math.min(done, total), total, (now - start) / 1e9, detail);
        if (bar) {
            // Erases what is left of a longer line before.
            err.print("\r" + line + "\u001b[K");
            drawn = true;
        } else {
            err.println(line);
        }
        err.flush();
    }

    /// One line: what, how far, how long it took so far and will take.
    static String line(String work, long done, long total, double seconds, String detail) {
        int filled = (int) (WIDTH * done / total);
        String left = done == 0 ? "" : ", " + duration(seconds / done * (total - done)) + " left";
        return String.format(
                Locale.ROOT,
                "%s [%s%s] %3d %% %s%s%s",
                work,
                "#".repeat(filled),
                "-".repeat(WIDTH - filled),
                100 * done / total,
                duration(seconds),
                left,
                detail.isEmpty() ? "" : "  " + detail);
    }

    /// `12 s`, `3 min 05 s`, `2 h 10 min`.
    static String duration(double seconds) {
        long whole = Math.round(seconds);
        if (whole < 60) {
            return whole + " s";
        }
        if (whole < 3600) {
            return String.format(Locale.ROOT, "%d min %02d s", whole / 60, whole % 60);
        }
        return String.format(Locale.ROOT, "%d h %02d min", whole / 3600, whole % 3600 / 60);
    }

    /// Removes the bar.
    @Override
    public synchronized void close() {
        if (drawn) {
            err.print("\r\u001b[K");
            err.flush();
            drawn = false;
        }
    }
}
