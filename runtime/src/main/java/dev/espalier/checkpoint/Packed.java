package dev.espalier.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/// The canonical packed layout: a safetensors file in which a sparse matrix `W` `[rows, columns]` is two tensors.
///
/// ```
/// W.mask    U8       [rows, ceil(columns / 8)]   bit k of byte b of a row = column 8 b + k; 1 = kept
/// W.values  W's type [kept]                      the kept weights, row by row, columns rising
/// ```
///
/// A weight is kept if it is not zero; -0.0 is a zero and comes back as 0.0, every other value bit by bit. Padding bits
/// are zero, so equal weights give equal bytes. The metadata says `format` = `espalier-packed`, its version, and under
/// `packed` the shape of every packed matrix and the name of the format that suits it. Tensors that packing would not
/// shrink stay as they are. The file is called [#FILE], not `model.safetensors`, so that no other program takes it for a
/// checkpoint that lacks weights.
public final class Packed {
    /// The name of a packed checkpoint's weights file.
    public static final String FILE = "model.packed.safetensors";

    /// The version that is written, and the newest that is read.
    public static final int VERSION = 1;

    static final String FORMAT = "espalier-packed";
    static final String FORMAT_KEY = "format";
    static final String VERSION_KEY = "espalier_packed_version";
    static final String LIST_KEY = "packed";
    static final String MASK = ".mask";
    static final String VALUES = ".values";

    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Packed() {}

    /// Adds the tensors of `file`, plain and packed, to `tensors`.
    static void tensors(Safetensors file, Map<String, StoredTensor> tensors) {
        Map<String, String> metadata = file.metadata();
        Map<String, Safetensors.Entry> rest = new TreeMap<>(file.entries());
        if (metadata.containsKey(VERSION_KEY) || FORMAT.equals(metadata.get(FORMAT_KEY))) {
            requireVersion(file.file(), metadata.get(VERSION_KEY));
            for (Map.Entry<String, JsonNode> field : list(file.file(), metadata).properties()) {
                String name = field.getKey();
                StoredTensor packed = packed(file, name, field.getValue(), rest);
                rest.remove(name + MASK);
                rest.remove(name + VALUES);
                if (rest.containsKey(name)) {
                    throw Safetensors.broken(
                            file.file(), "holds the tensor " + Safetensors.quoted(name) + " both packed and plain");
                }
                tensors.put(name, packed);
            }
            for (String name : rest.keySet()) {
                if (name.endsWith(MASK) || name.endsWith(VALUES)) {
                    throw Safetensors.broken(
                            file.file(),
                            "holds " + Safetensors.quoted(name) + ", a part of no packed tensor that it lists");
                }
            }
        }
        for (Safetensors.Entry entry : rest.values()) {
            tensors.put(entry.name(), new StoredTensor.Plain(file, entry));
        }
    }

    private static void requireVersion(String file, String version) {
        int number;
        try {
            number = Integer.parseInt(version == null ? "" : version);
        } catch (NumberFormatException e) {
            throw new InputException(
                    file + " is packed, but gives its version as " + version + " instead of a number.", e);
        }
        if (number > VERSION) {
            throw new InputException(
                    "%s is packed in version %d of the layout; this program reads up to version %d: use a newer one."
                            .formatted(file, number, VERSION));
        }
        if (number < 1) {
            throw Safetensors.broken(file, "is packed in version " + number + ", which never was");
        }
    }

    private static JsonNode list(String file, Map<String, String> metadata) {
        String format = metadata.get(FORMAT_KEY);
        if (!FORMAT.equals(format)) {
            throw Safetensors.broken(
                    file,
                    "calls its packed format " + Safetensors.quoted(String.valueOf(format)) + "; only " + FORMAT
                            + " is known");
        }
        try {
            JsonNode list = Checkpoint.JSON.readTree(metadata.getOrDefault(LIST_KEY, ""));
            if (list.isObject()) {
                return list;
            }
        } catch (JsonProcessingException e) {
            throw new InputException(
                    file + " has metadata " + LIST_KEY + " that is not JSON: " + Safetensors.plain(e) + ".", e);
        }
        throw Safetensors.broken(file, "lacks the list of its packed tensors (metadata " + LIST_KEY + ")");
    }

    private static StoredTensor packed(
            Safetensors file, String name, JsonNode how, Map<String, Safetensors.Entry> entries) {
        JsonNode shape = how.path("shape");
        if (shape.size() != 2
                || !shape.path(0).canConvertToInt()
                || !shape.path(1).canConvertToInt()
                || shape.path(0).intValue() < 0
                || shape.path(1).intValue() < 0
                || !how.path("format").isTextual()) {
            throw Safetensors.broken(
                    file.file(),
                    "gives no shape [rows, columns] and format for the packed " + Safetensors.quoted(name));
        }
        int rows = shape.path(0).intValue();
        int columns = shape.path(1).intValue();
        Safetensors.Entry mask = part(file, name + MASK, name, entries);
        Safetensors.Entry values = part(file, name + VALUES, name, entries);
        if (!mask.type().equals("U8") || !mask.shape().equals(List.of((long) rows, maskBytes(columns)))) {
            throw Safetensors.broken(
                    file.file(),
                    "holds %s as %s %s, but a [%d, %d] matrix needs U8 [%d, %d]"
                            .formatted(
                                    Safetensors.quoted(mask.name()),
                                    mask.type(),
                                    mask.shape(),
                                    rows,
                                    columns,
                                    rows,
                                    maskBytes(columns)));
        }
        if (values.shape().size() != 1 || values.shape().getFirst() > (long) rows * columns) {
            throw Safetensors.broken(
                    file.file(),
                    "holds %s with the shape %s, which no [%d, %d] matrix can keep"
                            .formatted(Safetensors.quoted(values.name()), values.shape(), rows, columns));
        }
        return new Tensors(file, name, how.path("format").asText(), rows, columns, mask, values);
    }

    private static Safetensors.Entry part(
            Safetensors file, String part, String name, Map<String, Safetensors.Entry> entries) {
        Safetensors.Entry entry = entries.get(part);
        if (entry == null) {
            throw Safetensors.broken(
                    file.file(),
                    "lacks " + Safetensors.quoted(part) + ", a part of the packed tensor " + Safetensors.quoted(name));
        }
        return entry;
    }

    /// Bytes that the mask of a row of `columns` weights takes.
    static long maskBytes(int columns) {
        return (columns + 7L) / 8;
    }

    /// Writes the mask of `dense` into `mask` and its kept weights into `values`, which both hold enough bytes.
    ///
    /// @return how many weights are kept
    static long pack(Tensor dense, MemorySegment mask, MemorySegment values) {
        int bytes = dense.dtype().bytes();
        MemorySegment from = dense.segment();
        long kept = 0;
        long element = 0;
        long at = 0;
        for (int row = 0; row < dense.rows(); row++) {
            for (int column = 0; column < dense.columns(); column += 8, at++) {
                int bits = 0;
                for (int bit = 0; bit < 8 && column + bit < dense.columns(); bit++, element++) {
                    if (bytes == 2) {
                        short value = from.get(ValueLayout.JAVA_SHORT_UNALIGNED, element * 2);
                        if ((value & 0x7fff) != 0) {
                            bits |= 1 << bit;
                            values.set(ValueLayout.JAVA_SHORT_UNALIGNED, kept++ * 2, value);
                        }
                    } else {
                        int value = from.get(ValueLayout.JAVA_INT_UNALIGNED, element * 4);
                        if ((value & 0x7fffffff) != 0) {
                            bits |= 1 << bit;
                            values.set(ValueLayout.JAVA_INT_UNALIGNED, kept++ * 4, value);
                        }
                    }
                }
                mask.set(ValueLayout.JAVA_BYTE, at, (byte) bits);
            }
        }
        return kept;
    }

    /// The name of the format that suits a mask `[rows, columns]` of which `kept` bits are set: `N:M` if it keeps at
    /// most N of each M consecutive columns, and nearly that many on the whole; otherwise `bitmask`.
    static String formatOf(MemorySegment mask, int rows, int columns, long kept) {
        for (int m : new int[] {4, 8, 16, 32}) {
            if (columns % m != 0) {
                continue;
            }
            int most = mostOf(mask, rows, columns, m);
            if (most > 0 && most < m && kept >= 0.9 * most / m * rows * columns) {
                return most + ":" + m;
            }
        }
        return "bitmask";
    }

    private static int mostOf(MemorySegment mask, int rows, int columns, int m) {
        long rowBytes = maskBytes(columns);
        int most = 0;
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column += m) {
                long at = row * rowBytes + column / 8;
                int count = 0;
                if (m == 4) {
                    count = Integer.bitCount(mask.get(ValueLayout.JAVA_BYTE, at) >>> (column & 4) & 0xf);
                } else {
                    for (int i = 0; i < m / 8; i++) {
                        count += Integer.bitCount(mask.get(ValueLayout.JAVA_BYTE, at + i) & 0xff);
                    }
                }
                most = Math.max(most, count);
            }
        }
        return most;
    }

    /// How many weights of `dense` are not zero; -0.0 is a zero.
    static long kept(Tensor dense) {
        MemorySegment from = dense.segment();
        long size = dense.size();
        long kept = 0;
        if (dense.dtype().bytes() == 2) {
            for (long i = 0; i < size; i++) {
                kept += (from.get(ValueLayout.JAVA_SHORT_UNALIGNED, i * 2) & 0x7fff) == 0 ? 0 : 1;
            }
        } else {
            for (long i = 0; i < size; i++) {
                kept += (from.get(ValueLayout.JAVA_INT_UNALIGNED, i * 4) & 0x7fffffff) == 0 ? 0 : 1;
            }
        }
        return kept;
    }

    /// A packed matrix in its file.
    private record Tensors(
            Safetensors in,
            String name,
            String format,
            int rows,
            int columns,
            Safetensors.Entry mask,
            Safetensors.Entry values)
            implements StoredTensor {
        @Override
        public String file() {
            return in.file();
        }

        @Override
        public String type() {
            return values.type();
        }

        @Override
        public List<Long> shape() {
            return List.of((long) rows, (long) columns);
        }

        @Override
        public long bytes() {
            return mask.to() - mask.from() + values.to() - values.from();
        }

        @Override
        public Optional<String> packedFormat() {
            return Optional.of(format);
        }

        @Override
        public boolean plain() {
            return false;
        }

        @Override
        public long nonZeros() {
            return values.shape().getFirst();
        }

        @Override
        public Tensor read(Arena arena) {
            MemorySegment bits = in.bytes(mask);
            MemorySegment kept = in.bytes(values);
            requireCount(bits);
            Tensor dense = Tensor.allocate(arena, dtype(), rows, columns);
            MemorySegment to = dense.segment();
            int size = dtype().bytes();
            long next = 0;
            long at = 0;
            for (int row = 0; row < rows; row++) {
                long start = (long) row * columns;
                for (int column = 0; column < columns; column += 8, at++) {
                    int set = bits.get(ValueLayout.JAVA_BYTE, at) & 0xff;
                    if (column + 8 > columns && set >>> (columns - column) != 0) {
                        throw Safetensors.broken(
                                file(), "has bits past the last column in " + Safetensors.quoted(mask.name()));
                    }
                    for (; set != 0; set &= set - 1, next++) {
                        long element = start + column + Integer.numberOfTrailingZeros(set);
                        if (size == 2) {
                            to.set(
                                    ValueLayout.JAVA_SHORT_UNALIGNED,
                                    element * 2,
                                    kept.get(ValueLayout.JAVA_SHORT_UNALIGNED, next * 2));
                        } else {
                            to.set(
                                    ValueLayout.JAVA_INT_UNALIGNED,
                                    element * 4,
                                    kept.get(ValueLayout.JAVA_INT_UNALIGNED, next * 4));
                        }
                    }
                }
            }
            return dense;
        }

        private void requireCount(MemorySegment bits) {
            long count = 0;
            long at = 0;
            for (; at + 8 <= bits.byteSize(); at += 8) {
                count += Long.bitCount(bits.get(LONG, at));
            }
            for (; at < bits.byteSize(); at++) {
                count += Integer.bitCount(bits.get(ValueLayout.JAVA_BYTE, at) & 0xff);
            }
            long stored = values.shape().getFirst();
            if (count != stored) {
                throw Safetensors.broken(
                        file(),
                        "keeps %d weights by %s but holds %d in %s"
                                .formatted(
                                        count,
                                        Safetensors.quoted(mask.name()),
                                        stored,
                                        Safetensors.quoted(values.name())));
            }
            if (dtype() == DType.I8) {
                throw Safetensors.broken(file(), "holds " + Safetensors.quoted(name) + " packed as I8");
            }
        }
    }
}
