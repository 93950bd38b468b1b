package dev.espalier.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// One safetensors file: its checked header, and the tensors' bytes as slices of the mapped file.
///
/// ```
/// byte 0          8                  8 + n                                        end of file
///      | n : u64 | header : JSON, n B | tensor bytes, contiguous, in any order of names |
/// ```
///
/// Everything is little-endian. The header is an object from tensor name to `dtype`, `shape` and `data_offsets`
/// `[from, to)`, counted from the end of the header; `__metadata__` holds strings. As the format demands, `n` is at most
/// [#MAX_HEADER], names occur once, and the offsets leave no hole, do not overlap and end with the file.
public final class Safetensors {
    /// The longest header that the format allows, in bytes.
    public static final long MAX_HEADER = 100_000_000;

    /// Bits an element takes, for every type that the format knows, in the format's own order.
    static final Map<String, Integer> BITS = bits();

    private static final String METADATA = "__metadata__";
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxStringLength(Math.toIntExact(MAX_HEADER))
                    .maxNestingDepth(8)
                    .build())
            .build();

    private final String file;
    private final Map<String, String> metadata;
    private final Map<String, Entry> entries;
    private final MemorySegment data;

    private Safetensors(String file, Map<String, String> metadata, Map<String, Entry> entries, MemorySegment data) {
        this.file = file;
        this.metadata = Collections.unmodifiableMap(metadata);
        this.entries = Collections.unmodifiableMap(entries);
        this.data = data;
    }

    /// Where one tensor lies.
    ///
    /// @param type the format's name of the element type, such as `BF16`
    /// @param from first byte, counted from the end of the header
    /// @param to byte after the last
    public record Entry(String name, String type, List<Long> shape, long from, long to) {}

    /// Maps `file` for as long as `arena` lives and checks its header.
    ///
    /// @throws InputException if the file is not a well-formed safetensors file
    /// @throws IOException if it cannot be read
    public static Safetensors map(Path file, Arena arena) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return of(file.toString(), channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena));
        }
    }

    /// Checks the header of a file's whole contents; `file` names it in errors.
    ///
    /// @throws InputException if they are not a well-formed safetensors file
    public static Safetensors of(String file, MemorySegment contents) {
        long size = contents.byteSize();
        if (size < 8) {
            throw broken(file, "is only " + size + " bytes long, too short for a safetensors header");
        }
        long length = contents.get(LONG, 0);
        if (length < 0 || length > MAX_HEADER) {
            throw broken(
                    file,
                    "gives its header " + Long.toUnsignedString(length) + " bytes at byte 0; at most " + MAX_HEADER
                            + " are allowed");
        }
        if (length > size - 8) {
            throw broken(file, "ends at byte " + size + ", inside its header of " + length + " bytes: it is truncated");
        }
        if (length == 0 || contents.get(ValueLayout.JAVA_BYTE, 8) != '{') {
            throw broken(file, "has no JSON object at byte 8, so it is not a safetensors file");
        }
        String json;
        try {
            ByteBuffer bytes = contents.asSlice(8, length).asByteBuffer();
            json = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
        } catch (CharacterCodingException e) {
            throw new InputException(sentence(file, "has a header that is not UTF-8"), e);
        }
        MemorySegment data = contents.asSlice(8 + length);
        Map<String, String> metadata = new LinkedHashMap<>();
        Map<String, Entry> entries = new LinkedHashMap<>();
        try (JsonParser parser = JSON.createParser(json)) {
            parse(file, parser, metadata, entries);
        } catch (JsonProcessingException e) {
            long at = e.getLocation() == null ? 0 : Math.max(0, e.getLocation().getCharOffset());
            throw new InputException(
                    sentence(file, "has a header that is not JSON, near byte " + (8 + at) + ": " + plain(e)), e);
        } catch (IOException e) {
            throw new IllegalStateException("reading from a string", e);
        }
        checkLayout(file, entries, data.byteSize());
        return new Safetensors(file, metadata, entries, data);
    }

    /// The file's name, for errors.
    public String file() {
        return file;
    }

    /// The header's `__metadata__`; empty where it has none.
    public Map<String, String> metadata() {
        return metadata;
    }

    /// All tensors by name, in the header's order.
    public Map<String, Entry> entries() {
        return entries;
    }

    /// The bytes of `entry`, a slice of the file.
    public MemorySegment bytes(Entry entry) {
        return data.asSlice(entry.from, entry.to - entry.from);
    }

    private static void parse(String file, JsonParser parser, Map<String, String> metadata, Map<String, Entry> entries)
            throws IOException {
        parser.nextToken();
        boolean metadataSeen = false;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String name = parser.currentName();
            parser.nextToken();
            if (name.equals(METADATA)) {
                if (metadataSeen) {
                    throw broken(file, "has " + METADATA + " twice in its header");
                }
                metadataSeen = true;
                strings(file, parser, metadata);
            } else if (entries.put(name, entry(file, name, parser)) != null) {
                throw broken(file, "has the tensor " + quoted(name) + " twice in its header");
            }
        }
        if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
            throw broken(file, "has something behind the JSON object of its header");
        }
    }

    private static void strings(String file, JsonParser parser, Map<String, String> metadata) throws IOException {
        if (parser.currentToken() != JsonToken.START_OBJECT) {
            throw broken(file, "has a " + METADATA + " that is not an object");
        }
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw broken(file, "has " + METADATA + " " + quoted(key) + ", which is not a string");
            }
            if (metadata.put(key, parser.getText()) != null) {
                throw broken(file, "has " + METADATA + " " + quoted(key) + " twice");
            }
        }
    }

    private static Entry entry(String file, String name, JsonParser parser) throws IOException {
        if (parser.currentToken() != JsonToken.START_OBJECT) {
            throw broken(file, "describes the tensor " + quoted(name) + " by something that is not an object");
        }
        String type = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            JsonToken value = parser.nextToken();
            boolean again = switch (key) {
                case "dtype" -> {
                    boolean seen = type != null;
                    type = value == JsonToken.VALUE_STRING ? parser.getText() : "";
                    yield seen;
                }
                case "shape" -> {
                    boolean seen = shape != null;
                    shape = sizes(file, name, key, parser);
                    yield seen;
                }
                case "data_offsets" -> {
                    boolean seen = offsets != null;
                    offsets = sizes(file, name, key, parser);
                    yield seen;
                }
                default -> throw broken(file, "has the unknown key " + quoted(key) + " at the tensor " + quoted(name));
            };
            if (again) {
                throw broken(file, "has " + quoted(key) + " twice at the tensor " + quoted(name));
            }
        }
        if (type == null || shape == null || offsets == null || offsets.size() != 2) {
            throw broken(
                    file, "lacks dtype, shape or two data_offsets at the tensor " + quoted(name) + " in its header");
        }
        Integer bits = BITS.get(type);
        if (bits == null) {
            throw broken(file, "gives the tensor " + quoted(name) + " the unknown dtype " + quoted(type));
        }
        long from = offsets.get(0);
        long to = offsets.get(1);
        long elements = 1;
        try {
            for (long size : shape) {
                elements = Math.multiplyExact(elements, size);
            }
            elements = Math.multiplyExact(elements, (long) bits);
        } catch (ArithmeticException e) {
            throw new InputException(
                    sentence(file, "gives the tensor " + quoted(name) + " the impossible shape " + shape), e);
        }
        if (to < from || elements % 8 != 0 || elements / 8 != to - from) {
            throw broken(
                    file,
                    "gives the tensor %s the bytes %d to %d, but %s %s takes %d"
                            .formatted(quoted(name), from, to, type, shape, elements / 8));
        }
        return new Entry(name, type, List.copyOf(shape), from, to);
    }

    private static List<Long> sizes(String file, String name, String key, JsonParser parser) throws IOException {
        List<Long> sizes = new ArrayList<>();
        boolean good = parser.currentToken() == JsonToken.START_ARRAY;
        while (good && parser.nextToken() != JsonToken.END_ARRAY) {
            good = parser.currentToken() == JsonToken.VALUE_NUMBER_INT
                    && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER
                    && parser.getLongValue() >= 0
                    && sizes.size() < 32;
            if (good) {
                sizes.add(parser.getLongValue());
            }
        }
        if (!good) {
            throw broken(
                    file,
                    "has at the tensor " + quoted(name) + " a " + key
                            + " that is not a list of whole numbers from 0 up");
        }
        return sizes;
    }

    private static void checkLayout(String file, Map<String, Entry> entries, long size) {
        List<Entry> sorted = new ArrayList<>(entries.values());
        sorted.sort(Comparator.comparingLong(Entry::from).thenComparingLong(Entry::to));
        long at = 0;
        for (Entry entry : sorted) {
            if (entry.from != at) {
                throw broken(
                        file,
                        "has the tensor %s at byte %d of its data, where %d was due: tensors %s"
                                .formatted(
                                        quoted(entry.name),
                                        entry.from,
                                        at,
                                        entry.from < at ? "overlap" : "leave a hole"));
            }
            at = entry.to;
            if (at > size) {
                throw broken(
                        file,
                        "ends at byte %d of its data, inside the tensor %s (bytes %d to %d): it is truncated"
                                .formatted(size, quoted(entry.name), entry.from, entry.to));
            }
        }
        if (at != size) {
            throw broken(file, "has " + (size - at) + " bytes behind its last tensor");
        }
    }

    static InputException broken(String file, String what) {
        return new InputException(sentence(file, what));
    }

    private static String sentence(String file, String what) {
        return file + " " + what + "; fetch or write the file again.";
    }

    /// `name` in quotes, cut and without control characters, so that a hostile header cannot spoil a message.
    static String quoted(String name) {
        String shown = name.length() > 120 ? name.substring(0, 117) + "..." : name;
        return "'" + shown.replaceAll("\\p{Cntrl}", "?") + "'";
    }

    /// Jackson's message without the source excerpt that follows it.
    static String plain(JsonProcessingException e) {
        String message = e.getOriginalMessage().replaceAll("\\s+", " ").replaceAll("\\s*\\(for .*", "");
        return message.length() > 160 ? message.substring(0, 157) + "..." : message;
    }

    private static Map<String, Integer> bits() {
        Map<String, Integer> bits = new LinkedHashMap<>();
        bits.put("BOOL", 8);
        bits.put("F4", 4);
        bits.put("F6_E2M3", 6);
        bits.put("F6_E3M2", 6);
        bits.put("U8", 8);
        bits.put("I8", 8);
        bits.put("F8_E5M2", 8);
        bits.put("F8_E4M3", 8);
        bits.put("F8_E8M0", 8);
        bits.put("F8_E4M3FNUZ", 8);
        bits.put("F8_E5M2FNUZ", 8);
        bits.put("I16", 16);
        bits.put("U16", 16);
        bits.put("F16", 16);
        bits.put("BF16", 16);
        bits.put("I32", 32);
        bits.put("U32", 32);
        bits.put("F32", 32);
        bits.put("C64", 64);
        bits.put("F64", 64);
        bits.put("I64", 64);
        bits.put("U64", 64);
        return Collections.unmodifiableMap(bits);
    }
}
