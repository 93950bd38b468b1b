package dev.espalier.prune;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipInputStream;

/// NumPy's arrays, as far as the fixtures use them: little-endian floats, integers and bytes in C order.
public final class Npz {
    private static final Pattern DESCR = Pattern.compile("'descr': *'([^']+)'");
    private static final Pattern SHAPE = Pattern.compile("'shape': *\\(([^)]*)\\)");

    /// One array; `values` holds its elements in row-major order.
    public record Array(int[] shape, float[] values) {}

    private final Map<String, Array> arrays = new HashMap<>();

    private Npz(InputStream stream) throws IOException {
        try (ZipInputStream zip = new ZipInputStream(stream)) {
            for (var entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                arrays.put(entry.getName().replaceFirst("\\.npy$", ""), array(zip.readAllBytes()));
            }
        }
    }

    public static Npz resource(String name) {
        try {
            return new Npz(Npz.class.getResourceAsStream(name));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public static Npz file(Path file) {
        try {
            return new Npz(Files.newInputStream(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public boolean has(String name) {
        return arrays.containsKey(name);
    }

    public Array get(String name) {
        if (!arrays.containsKey(name)) {
            throw new IllegalArgumentException("no array " + name + " among " + arrays.keySet());
        }
        return arrays.get(name);
    }

    public float[] floats(String name) {
        return get(name).values();
    }

    private static Array array(byte[] npy) {
        ByteBuffer buffer = ByteBuffer.wrap(npy).order(ByteOrder.LITTLE_ENDIAN);
        int headerAt = npy[6] == 1 ? 10 : 12;
        int headerLength = npy[6] == 1 ? buffer.getShort(8) : buffer.getInt(8);
        String header = new String(npy, headerAt, headerLength, StandardCharsets.ISO_8859_1);
        if (header.contains("'fortran_order': True")) {
            throw new IllegalArgumentException("Fortran order: " + header);
        }
        Matcher shapeText = SHAPE.matcher(header);
        Matcher type = DESCR.matcher(header);
        if (!shapeText.find() || !type.find()) {
            throw new IllegalArgumentException(header);
        }
        int[] shape = Pattern.compile(",")
                .splitAsStream(shapeText.group(1))
                .map(String::strip)
                .filter(s -> !s.isEmpty())
                .mapToInt(Integer::parseInt)
                .toArray();
        int size = 1;
        for (int extent : shape) {
            size *= extent;
        }
        buffer.position(headerAt + headerLength);
        float[] values = new float[size];
        for (int i = 0; i < size; i++) {
            values[i] = switch (type.group(1)) {
                case "<f2" -> Float.float16ToFloat(buffer.getShort());
                case "<f4" -> buffer.getFloat();
                case "<f8" -> (float) buffer.getDouble();
                case "<i4" -> buffer.getInt();
                case "<i8" -> buffer.getLong();
                case "|u1" -> buffer.get() & 0xff;
                default -> throw new IllegalArgumentException(header);
            };
        }
        return new Array(shape, values);
    }
}
