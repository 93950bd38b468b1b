package dev.espalier.testing;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

/// A NumPy array as written by `numpy.save`: little-endian f4, f8, i4, i8, u1 or bool, row by row.
///
/// @param values all elements as double, which holds every one of these types' values that tests use
public record Npy(int[] shape, double[] values) {
    private static final Pattern TYPE = Pattern.compile("'descr': *'([<|])([fiub])([1248])'");
    private static final Pattern SHAPE = Pattern.compile("'shape': *\\(([^)]*)\\)");

    /// The array in a `.npy` file.
    public static Npy read(Path file) {
        try {
            return parse(Files.readAllBytes(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// The arrays in a `.npz` file, by name.
    public static Map<String, Npy> readAll(Path file) {
        Map<String, Npy> arrays = new TreeMap<>();
        try (ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(Files.readAllBytes(file)))) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                arrays.put(entry.getName().replaceFirst("\\.npy$", ""), parse(zip.readAllBytes()));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return arrays;
    }

    /// The elements as float.
    public float[] floats() {
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) values[i];
        }
        return floats;
    }

    /// The elements as int.
    public int[] ints() {
        return Arrays.stream(values).mapToInt(value -> (int) value).toArray();
    }

    private static Npy parse(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int start = bytes[6] == 1 ? 10 : 12;
        int length = bytes[6] == 1 ? buffer.getShort(8) & 0xffff : buffer.getInt(8);
        String header = new String(bytes, start, length, StandardCharsets.ISO_8859_1);
        Matcher type = TYPE.matcher(header);
        Matcher shape = SHAPE.matcher(header);
        if (!type.find() || !shape.find() || header.contains("'fortran_order': True")) {
            throw new IllegalArgumentException("not an array that tests read: " + header);
        }
        int[] sizes = Arrays.stream(shape.group(1).split(","))
                .map(String::strip)
                .filter(size -> !size.isEmpty())
                .mapToInt(Integer::parseInt)
                .toArray();
        double[] values = new double[Arrays.stream(sizes).reduce(1, Math::multiplyExact)];
        buffer.position(start + length);
        String kind = type.group(2) + type.group(3);
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (kind) {
                case "f4" -> buffer.getFloat();
                case "f8" -> buffer.getDouble();
                case "i4" -> buffer.getInt();
                case "i8" -> buffer.getLong();
                case "u1", "b1" -> buffer.get() & 0xff;
                default -> throw new IllegalArgumentException("element type " + kind);
            };
        }
        return new Npy(sizes, values);
    }
}
