package dev.espalier.kernels.format;

import dev.espalier.kernels.cpu.CpuLinear.Input;

/// How the weights of a sparse matrix are put in order: bands of 128 rows, in a band strips of at most 2048 columns, in a strip
/// units of some rows that a kernel takes at once.
///
/// ```
///               strip 0            strip 1
///   band 0    | unit 0, 1, ... 7 | unit 0, 1, ... 7 |      rows 0 to 127
///   band 1    | unit 0, 1, ... 7 | unit 0, 1, ... 7 |      rows 128 to 255
/// ```
///
/// The 8192 activations of a wide matrix are 32 KB and do not stay in the first-level cache while its weights run through; those of a
/// strip, 8 KB, do, and serve a whole band. SWELL at 80 % with 8192 columns: 2.9 and 2.5 times as fast as dense with
/// strips, 2.1 times without. A strip's weights lie behind those of the one before, or half of that is lost to starting streams.
record Strips(int rows, int columns, int unit, int count, int width) {
    /// A multiple of the rows of any unit.
    static final int BAND = 128;

    private static final int MOST_COLUMNS = 2048;
    /// What widths are multiples of: the groups of all formats, and those that they keep offsets for.
    private static final int ALIGNMENT = 256;

    /// What is done with each unit of each strip, in order.
    interface Task {
        /// @param index which it is
        /// @param row its first row
        void run(int index, int row, int strip);
    }

    /// A matrix whose products are taken strip by strip.
    interface Matrix {
        /// The products of rows `from` to `to`, all of one band, with the activations of a strip, which begin at `x`. Row r's is
        /// written to `y + 4 r`, or added to what is there if the strip is not the first.
        ///
        /// @param pages whether to load from the pages to come ([Ahead])
        void multiplyStrip(int strip, int from, int to, long x, long y, boolean pages);

        /// What the calling thread knows of that.
        AheadChoice ahead();

        /// Bytes of its weights.
        long bytes();
    }

    static Strips of(int rows, int columns, int unit) {
        int count = Math.max(1, Math.ceilDiv(columns, MOST_COLUMNS));
        int width = Math.max(1, Math.ceilDiv(Math.ceilDiv(columns, count), ALIGNMENT)) * ALIGNMENT;
        return new Strips(rows, columns, unit, Math.max(1, Math.ceilDiv(columns, width)), width);
    }

    /// One strip, however wide.
    static Strips one(int rows, int columns, int unit) {
        return new Strips(rows, columns, unit, 1, Math.max(ALIGNMENT, columns));
    }

    /// Units of all strips.
    int units() {
        return count * Math.ceilDiv(rows, unit);
    }

    /// The first column of a strip.
    int first(int strip) {
        return strip * width;
    }

    /// The columns of a strip; the last one may have fewer than the others.
    int columns(int strip) {
        return Math.min(width, columns - first(strip));
    }

    /// Where the band of `row` ends.
    int bandEnd(int row) {
        return Math.min(rows, (row / BAND + 1) * BAND);
    }

    /// Which unit `row` is in.
    int index(int row, int strip) {
        int band = row / BAND * BAND;
        int inBand = Math.ceilDiv(bandEnd(row) - band, unit);
        return band / unit * count + strip * inBand + (row - band) / unit;
    }

    /// Which group it is of all, if units consist of groups of columns in order: group `group` of the unit of `row`.
    ///
    /// @param perStrip groups of a strip; the last may have fewer
    /// @param all groups of all strips
    long index(int row, int group, int perStrip, int all) {
        int strip = group / perStrip;
        int band = row / BAND * BAND;
        int inBand = Math.ceilDiv(bandEnd(row) - band, unit);
        int inStrip = Math.min(perStrip, all - strip * perStrip);
        return (long) (band / unit) * all
                + (long) inBand * strip * perStrip
                + (long) ((row - band) / unit) * inStrip
                + group % perStrip;
    }

    /// The products of rows `from` to `to` of `matrix`; whole activations, laid out as `layout` says, begin at `x`.
    void multiply(Matrix matrix, Input layout, int from, int to, long x, long y) {
        AheadChoice ahead = matrix.ahead();
        boolean pages = ahead.begin(matrix.bytes() * (to - from) / Math.max(1, rows));
        for (int band = from; band < to; band = bandEnd(band)) {
            int end = Math.min(to, bandEnd(band));
            for (int strip = 0; strip < count; strip++) {
                matrix.multiplyStrip(strip, band, end, x + layout.offset(first(strip)), y, pages);
            }
        }
        ahead.end();
    }

    void forEach(Task task) {
        for (int band = 0; band < rows; band += BAND) {
            for (int strip = 0; strip < count; strip++) {
                for (int row = band; row < bandEnd(band); row += unit) {
                    task.run(index(row, strip), row, strip);
                }
            }
        }
    }
}
