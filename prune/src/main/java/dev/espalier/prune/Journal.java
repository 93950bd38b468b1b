package dev.espalier.prune;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.checkpoint.Safetensors;
import dev.espalier.checkpoint.SafetensorsWriter;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.zip.CRC32C;

/// The finished blocks of a run, on disk, so that a run that was killed can be continued and ends with the same bytes.
///
/// A folder holds `identity.json` (what plan, checkpoint and windows the run is of), `windows.json` (the windows that the
/// model wrote itself, which another run might not get in the same number), and for each finished block
/// `block-00000.safetensors` with its pruned weights and reports. A file is written beside its name, forced to the disk
/// and renamed, so a block is there whole or not at all; its bytes have a checksum all the same.
///
/// What the blocks made of the windows is not kept: the position, which is the number of finished blocks, is enough to
/// make it again, one pass a block, and it would be gigabytes to write after each block of a large model.
public final class Journal implements PruneSink {
    private static final String IDENTITY = "identity.json";
    private static final String WINDOWS = "windows.json";
    private static final String WRITING = ".writing";
    private static final String REPORT = "report:";
    private static final String CHECKSUM = "crc32c";
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path folder;
    private final ObjectNode identity;
    private final CalibrationData data;
    private final PruneSink next;
    private final Map<String, Done> earlier = new HashMap<>();
    private final List<Done> block = new ArrayList<>();

    private Journal(Path folder, ObjectNode identity, CalibrationData data, PruneSink next) {
        this.folder = folder;
        this.identity = identity;
        this.data = data;
        this.next = next;
    }

    /// The journal of a run, which goes on from the finished blocks that `folder` holds already.
    ///
    /// @param data null where the plan needs none
    /// @param next receives every weight, those of an earlier run too
    /// @throws InputException if what is in `folder` is of another plan, checkpoint or calibration
    public static Journal open(
            Path folder, PrunePlan plan, Checkpoint checkpoint, CalibrationData data, PruneSink next) {
        Journal journal = new Journal(folder, identity(plan, checkpoint, data), data, next);
        if (Files.exists(folder.resolve(IDENTITY))) {
            journal.requireSame(read(folder.resolve(IDENTITY)));
            journal.readBlocks();
        }
        return journal;
    }

    /// The windows that a model wrote itself for the run in `folder`; empty if there is no such run.
    public static Optional<CalibrationData> windows(Path folder) {
        if (!Files.exists(folder.resolve(WINDOWS))) {
            return Optional.empty();
        }
        JsonNode json = read(folder.resolve(WINDOWS));
        return Optional.of(new CalibrationData(
                json.path("source").asText(),
                json.path("seq_len").asInt(),
                json.path("seed").asLong(),
                ids(json.path("windows")),
                ids(json.path("held_out"))));
    }

    /// How many blocks an earlier run finished.
    public int finishedBlocks() {
        return (int) earlier.values().stream()
                .mapToInt(done -> done.report().block())
                .distinct()
                .count();
    }

    @Override
    public Optional<Done> done(String name) {
        Done done = earlier.get(name);
        if (done != null) {
            next.layer(done.report(), done.weight());
        }
        return Optional.ofNullable(done);
    }

    @Override
    public void layer(LayerReport report, Tensor weight) {
        block.add(new Done(weight, report));
        next.layer(report, weight);
    }

    @Override
    public void blockDone(int index) {
        try {
            if (!Files.exists(folder.resolve(IDENTITY))) {
                Files.createDirectories(folder);
                write(IDENTITY, JSON.writeValueAsBytes(identity));
                if (data != null && data.source().equals("self")) {
                    write(WINDOWS, JSON.writeValueAsBytes(json(data)));
                }
            }
            write(index);
        } catch (IOException e) {
            throw new UncheckedIOException(failed(e));
        }
        block.clear();
        next.blockDone(index);
    }

    /// Removes what is half written, and all of it where no block is finished.
    private IOException failed(IOException e) {
        boolean any = Files.exists(block(0));
        File[] files = folder.toFile().listFiles((parent, name) -> !any || name.endsWith(WRITING));
        for (File file : files == null ? new File[0] : files) {
            // What cannot be removed is no worse than what was not written.
            boolean ignored = file.delete();
        }
        String reason = e instanceof FileSystemException system && system.getReason() != null
                ? system.getReason()
                : e.getMessage();
        return new IOException(
                "writing %s failed: %s; %s"
                        .formatted(
                                folder,
                                reason,
                                any ? "what is finished is kept for --resume." : "nothing was left there."),
                e);
    }

    private static ObjectNode identity(PrunePlan plan, Checkpoint checkpoint, CalibrationData data) {
        ObjectNode identity = JsonNodeFactory.instance.objectNode();
        identity.put("version", 1);
        plan.putInto(identity.putObject("plan"));
        identity.put("checkpoint", checksum(checkpoint));
        identity.put("calibration", data == null ? "none" : checksum(data));
        return identity;
    }

    private void requireSame(JsonNode other) {
        String difference = null;
        if (!other.path("checkpoint").equals(identity.path("checkpoint"))) {
            difference = "another checkpoint";
        }
        if (!other.path("calibration").equals(identity.path("calibration"))) {
            difference = "another calibration text, or other windows of it";
        }
        for (Map.Entry<String, JsonNode> option : identity.path("plan").properties()) {
            JsonNode value = other.path("plan").path(option.getKey());
            if (!value.equals(option.getValue())) {
                difference = "another plan (%s %s, now %s)"
                        .formatted(
                                option.getKey(),
                                value.asText(),
                                option.getValue().asText());
            }
        }
        if (!other.path("version").equals(identity.path("version"))) {
            difference = "another version of this program";
        }
        if (difference != null) {
            throw new InputException(
                    "the journal in %s is of %s; give what that run was given, or leave --resume out to start afresh"
                            .formatted(folder.getParent(), difference));
        }
    }

    private Path block(int index) {
        return folder.resolve("block-%05d.safetensors".formatted(index));
    }

    private void readBlocks() {
        for (int index = 0; Files.exists(block(index)); index++) {
            try {
                readBlock(index);
            } catch (IOException | InputException e) {
                // A block that cannot be read is pruned again, and so are those after it.
                return;
            }
        }
    }

    private void readBlock(int index) throws IOException {
        // The mapping lasts as long as a weight is in use.
        Safetensors file = Safetensors.map(block(index), Arena.ofAuto());
        CRC32C sum = new CRC32C();
        Map<String, Done> read = new HashMap<>();
        for (Safetensors.Entry entry : file.entries().values()) {
            MemorySegment bytes = file.bytes(entry);
            add(sum, bytes);
            JsonNode report = JSON.readTree(file.metadata().getOrDefault(REPORT + entry.name(), "null"));
            if (report.isNull() || entry.shape().size() != 2) {
                throw new IOException("no report of " + entry.name());
            }
            Tensor weight = Tensor.of(
                    DType.valueOf(entry.type()),
                    Math.toIntExact(entry.shape().get(0)),
                    Math.toIntExact(entry.shape().get(1)),
                    bytes);
            read.put(entry.name(), new Done(weight, LayerReport.of(report)));
        }
        if (!Long.toHexString(sum.getValue()).equals(file.metadata().get(CHECKSUM))) {
            throw new IOException("the checksum is another");
        }
        earlier.putAll(read);
    }

    private void write(int index) throws IOException {
        List<SafetensorsWriter.Declared> declared = new ArrayList<>();
        Map<String, String> metadata = new HashMap<>();
        CRC32C sum = new CRC32C();
        // The order in which the file lists them.
        block.sort((a, b) -> a.report().name().compareTo(b.report().name()));
        for (Done done : block) {
            Tensor weight = done.weight();
            String name = done.report().name();
            declared.add(new SafetensorsWriter.Declared(
                    name, weight.dtype().name(), List.of((long) weight.rows(), (long) weight.columns())));
            metadata.put(REPORT + name, JSON.writeValueAsString(done.report().toJson()));
            add(sum, weight.segment());
        }
        metadata.put(CHECKSUM, Long.toHexString(sum.getValue()));
        Path beside = folder.resolve("block" + WRITING);
        Files.deleteIfExists(beside);
        try (SafetensorsWriter writer = new SafetensorsWriter(beside, metadata, declared)) {
            for (Done done : block) {
                writer.write(done.report().name(), done.weight().segment());
            }
            writer.finish();
        }
        rename(beside, block(index));
    }

    private void write(String name, byte[] bytes) throws IOException {
        Path beside = folder.resolve(name + WRITING);
        Files.write(beside, bytes);
        try (FileChannel channel = FileChannel.open(beside, StandardOpenOption.WRITE)) {
            channel.force(true);
        }
        rename(beside, folder.resolve(name));
    }

    private void rename(Path from, Path to) throws IOException {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        // The new name itself must survive a crash; not every system lets a folder be opened for that.
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        } catch (IOException e) {
            return;
        }
    }

    private static JsonNode read(Path file) {
        try {
            return JSON.readTree(file.toFile());
        } catch (IOException e) {
            throw new InputException("the journal " + file + " cannot be read; leave --resume out to start afresh", e);
        }
    }

    /// Of all names, types, shapes and bytes.
    private static String checksum(Checkpoint checkpoint) {
        CRC32C sum = new CRC32C();
        for (String name : checkpoint.names()) {
            sum.update((name + checkpoint.typeName(name) + Arrays.toString(checkpoint.shape(name)))
                    .getBytes(StandardCharsets.UTF_8));
            try (Arena scratch = Arena.ofShared()) {
                add(sum, checkpoint.read(name, scratch).segment());
            }
        }
        return Long.toHexString(sum.getValue());
    }

    private static String checksum(CalibrationData data) {
        CRC32C sum = new CRC32C();
        for (List<int[]> windows : List.of(data.windows(), data.heldOut())) {
            ByteBuffer count = ByteBuffer.allocate(8).putInt(windows.size()).putInt(data.seqLen());
            sum.update(count.flip());
            for (int[] window : windows) {
                ByteBuffer ids = ByteBuffer.allocate(Integer.BYTES * window.length);
                ids.asIntBuffer().put(window);
                sum.update(ids);
            }
        }
        return Long.toHexString(sum.getValue());
    }

    private static void add(CRC32C sum, MemorySegment bytes) {
        for (long at = 0; at < bytes.byteSize(); at += 1 << 30) {
            sum.update(
                    bytes.asSlice(at, Math.min(1 << 30, bytes.byteSize() - at)).asByteBuffer());
        }
    }

    private static ObjectNode json(CalibrationData data) {
        ObjectNode json = JsonNodeFactory.instance
                .objectNode()
                .put("source", data.source())
                .put("seq_len", data.seqLen())
                .put("seed", data.seed());
        json.set("windows", JSON.valueToTree(data.windows()));
        json.set("held_out", JSON.valueToTree(data.heldOut()));
        return json;
    }

    private static List<int[]> ids(JsonNode windows) {
        List<int[]> ids = new ArrayList<>();
        for (JsonNode window : windows) {
            ids.add(JSON.convertValue(window, int[].class));
        }
        return ids;
    }
}
