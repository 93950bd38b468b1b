package dev.espalier.checkpoint;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// Writes one safetensors file whose tensors are declared first and may then arrive in any order.
///
/// The layout is canonical: types in the format's order from the widest, names in alphabetical order within a type, the
/// header padded with blanks to a multiple of 8. Equal tensors and metadata give equal bytes, and the same bytes as the
/// format's reference implementation writes.
public final class SafetensorsWriter implements AutoCloseable {
    private static final int CHUNK = 1 << 24;
    private static final List<String> TYPES = List.copyOf(Safetensors.BITS.keySet());

    /// A tensor to come.
    ///
    /// @param type the element type as safetensors spells it
    public record Declared(String name, String type, List<Long> shape) {
        long bytes() {
            long bits = Safetensors.BITS.get(type);
            for (long size : shape) {
                bits = Math.multiplyExact(bits, size);
            }
            return bits / 8;
        }
    }

    private final Path file;
    private final FileChannel channel;
    private final Map<String, long[]> places = new LinkedHashMap<>();
    private final Set<String> written = new HashSet<>();
    private final long size;

    /// Creates `file`, which must not exist, and writes its header.
    ///
    /// @throws IOException if it cannot be written
    public SafetensorsWriter(Path file, Map<String, String> metadata, Collection<Declared> tensors) throws IOException {
        this.file = file;
        List<Declared> sorted = new ArrayList<>(tensors);
        sorted.sort(
                Comparator.comparingInt((Declared t) -> -TYPES.indexOf(t.type)).thenComparing(Declared::name));
        Map<String, Object> header = new LinkedHashMap<>();
        if (!metadata.isEmpty()) {
            header.put("__metadata__", metadata);
        }
        long at = 0;
        for (Declared tensor : sorted) {
            long end = Math.addExact(at, tensor.bytes());
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("dtype", tensor.type);
            entry.put("shape", tensor.shape);
            entry.put("data_offsets", List.of(at, end));
            if (header.put(tensor.name, entry) != null) {
                throw new IllegalArgumentException("two tensors called " + tensor.name);
            }
            places.put(tensor.name, new long[] {at, end});
            at = end;
        }
        byte[] json = Checkpoint.JSON.writeValueAsBytes(header);
        int length = (json.length + 7) / 8 * 8;
        if (length > Safetensors.MAX_HEADER) {
            throw new IOException(file + " would need a header of " + length + " bytes, more than the format allows");
        }
        ByteBuffer start = ByteBuffer.allocate(8 + length).order(ByteOrder.LITTLE_ENDIAN);
        start.putLong(length).put(json);
        while (start.hasRemaining()) {
            start.put((byte) ' ');
        }
        for (long[] place : places.values()) {
            place[0] += start.capacity();
            place[1] += start.capacity();
        }
        size = at + start.capacity();
        channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        try {
            write(start.flip(), 0);
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    /// The size of the finished file in bytes.
    public long size() {
        return size;
    }

    /// Writes the declared tensor `name`, all of its `bytes`; a second time replaces the first.
    ///
    /// @throws IOException if it cannot be written
    public void write(String name, MemorySegment bytes) throws IOException {
        long[] place = places.get(name);
        if (place == null || bytes.byteSize() != place[1] - place[0]) {
            throw new IllegalArgumentException("%s was not declared with %d bytes".formatted(name, bytes.byteSize()));
        }
        for (long at = 0; at < bytes.byteSize(); at += CHUNK) {
            write(bytes.asSlice(at, Math.min(CHUNK, bytes.byteSize() - at)).asByteBuffer(), place[0] + at);
        }
        written.add(name);
    }

    /// Whether the declared tensor `name` has been written.
    public boolean has(String name) {
        return written.contains(name);
    }

    /// Forces the finished file to the disk and closes it.
    ///
    /// @throws IllegalStateException if a declared tensor has not been written
    /// @throws IOException if it cannot be written
    public void finish() throws IOException {
        for (String name : places.keySet()) {
            if (!written.contains(name)) {
                throw new IllegalStateException(file + ": " + name + " was declared and never written");
            }
        }
        channel.force(true);
        channel.close();
    }

    /// Closes the file, finished or not.
    @Override
    public void close() throws IOException {
        channel.close();
    }

    private void write(ByteBuffer buffer, long position) throws IOException {
        long at = position;
        while (buffer.hasRemaining()) {
            at += channel.write(buffer, at);
        }
    }
}
