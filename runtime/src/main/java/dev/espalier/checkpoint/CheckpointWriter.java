package dev.espalier.checkpoint;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/// Writes a changed copy of a checkpoint: replaced weights as they come, everything else from the source.
///
/// Names, element types, tied tensors and auxiliary files stay as they are. The folder appears under its name only when
/// [#finish] has written all of it; closing before that leaves nothing.
///
/// ```java
/// try (CheckpointWriter writer = CheckpointWriter.open(source, out, SaveAs.DENSE, Map.of())) {
///     writer.put("model.layers.0.mlp.up_proj.weight", pruned);
///     writer.finish(Map.of("report.json", report));
/// }
/// ```
public final class CheckpointWriter implements AutoCloseable {
    private static final Set<String> PACKED_KEYS = Set.of(Packed.FORMAT_KEY, Packed.VERSION_KEY, Packed.LIST_KEY);

    private final Checkpoint source;
    private final SaveAs saveAs;
    private final Map<String, String> metadata = new TreeMap<>();
    private final OutputFolder folder;
    private final Path out;
    /// Dense: the file itself. Packed: null until the end, because a header can be written only when all sizes are known.
    private SafetensorsWriter dense;
    /// Packed: what has arrived, compressed.
    private FileChannel spool;

    private final Map<String, Spooled> spooled = new HashMap<>();
    private boolean finished;

    /// A replaced tensor in the spool: mask bytes at `at`, then `kept` values; `maskBytes` 0 = the dense tensor.
    private record Spooled(long at, long maskBytes, long valueBytes, String format) {}

    private CheckpointWriter(Checkpoint source, Path out, SaveAs saveAs, OutputFolder folder) {
        this.source = source;
        this.out = out;
        this.saveAs = saveAs;
        this.folder = folder;
    }

    /// Starts a copy of `source` in the folder `out`, which does not exist or is empty. `metadata` is added to what the
    /// source's weights file says.
    ///
    /// @throws InputException if `out` cannot be used
    /// @throws IOException if there is not enough room or the disk fails
    public static CheckpointWriter open(Checkpoint source, Path out, SaveAs saveAs, Map<String, String> metadata)
            throws IOException {
        return open(source, out, saveAs, metadata, false);
    }

    /// The same; with `resume`, what an earlier writer of `out` left in its [#journal] stays there.
    ///
    /// @throws InputException if `out` cannot be used
    /// @throws IOException if there is not enough room or the disk fails
    public static CheckpointWriter open(
            Checkpoint source, Path out, SaveAs saveAs, Map<String, String> metadata, boolean resume)
            throws IOException {
        CheckpointWriter writer = new CheckpointWriter(source, out, saveAs, OutputFolder.open(out, resume));
        try {
            writer.metadata.putAll(source.metadata());
            writer.metadata.keySet().removeAll(PACKED_KEYS);
            writer.metadata.putAll(metadata);
            writer.start();
            return writer;
        } catch (IOException | RuntimeException e) {
            writer.close();
            throw e;
        }
    }

    /// The folder for notes from which a later writer of `out` can go on: it outlives this one unless it is empty, or the
    /// checkpoint is complete.
    ///
    /// @throws IOException if the path cannot be looked at
    public static Path journal(Path out) throws IOException {
        return OutputFolder.partial(out).resolve(OutputFolder.KEPT);
    }

    /// Checks that `out` can be written later: it does not exist or is an empty folder.
    ///
    /// @throws InputException if not
    /// @throws IOException if it cannot be looked at
    public static void requireFree(Path out) throws IOException {
        OutputFolder.requireFree(out);
    }

    /// Removes from the complete checkpoint `out` what a process left in it that was killed right after completing it.
    ///
    /// @throws IOException if it cannot be removed
    public static void tidy(Path out) throws IOException {
        OutputFolder.tidy(out);
    }

    /// Copies `source` to `out` with the tensors `replaced`, and writes `extraFiles` beside the weights.
    ///
    /// @throws InputException if `out` cannot be used
    /// @throws IOException if the disk is full or fails
    public static void save(
            Checkpoint source,
            Path out,
            SaveAs saveAs,
            Map<String, Tensor> replaced,
            Map<String, String> metadata,
            Map<String, byte[]> extraFiles)
            throws IOException {
        try (CheckpointWriter writer = open(source, out, saveAs, metadata)) {
            for (Map.Entry<String, Tensor> tensor : replaced.entrySet()) {
                writer.put(tensor.getKey(), tensor.getValue());
            }
            writer.finish(extraFiles);
        }
    }

    private void start() throws IOException {
        if (saveAs == SaveAs.PACKED) {
            spool = FileChannel.open(
                    folder.path().resolve("spool"),
                    StandardOpenOption.CREATE_NEW,
                    StandardOpenOption.READ,
                    StandardOpenOption.WRITE,
                    StandardOpenOption.DELETE_ON_CLOSE);
            return;
        }
        List<SafetensorsWriter.Declared> tensors = new ArrayList<>();
        long bytes = 0;
        for (String name : source.names()) {
            StoredTensor stored = source.stored(name);
            SafetensorsWriter.Declared declared = new SafetensorsWriter.Declared(name, stored.type(), stored.shape());
            tensors.add(declared);
            bytes += declared.bytes();
        }
        long room = Files.getFileStore(folder.path()).getUsableSpace();
        if (bytes > room) {
            throw new IOException("%s needs %,d kB, and only %,d kB are free there; give a folder on another disk."
                    .formatted(out, bytes / 1000 + 1, room / 1000));
        }
        metadata.put(Packed.FORMAT_KEY, "pt");
        dense = new SafetensorsWriter(folder.path().resolve("model.safetensors"), metadata, tensors);
    }

    /// Replaces the tensor `name` by `weights`, a host tensor of the same shape, rounded to the type that the source
    /// stores. -0.0 is written as 0.0.
    ///
    /// @throws IOException if the disk is full or fails
    public void put(String name, Tensor weights) throws IOException {
        StoredTensor stored = source.stored(name);
        if (weights.rows() != stored.rows() || weights.columns() != stored.columns()) {
            throw new IllegalArgumentException("%s is [%d, %d], not [%d, %d]"
                    .formatted(name, stored.rows(), stored.columns(), weights.rows(), weights.columns()));
        }
        try (Arena scratch = Arena.ofShared()) {
            Tensor rounded = rounded(weights, stored.dtype(), scratch);
            if (dense != null) {
                dense.write(name, rounded.segment());
            } else {
                spooled.put(name, spool(rounded, scratch));
            }
        } catch (IOException e) {
            throw failed(e);
        }
    }

    /// Writes what was not replaced, the source's auxiliary files and `extraFiles`, and gives the folder its name.
    ///
    /// @throws IOException if the disk is full or fails
    public void finish(Map<String, byte[]> extraFiles) throws IOException {
        try {
            if (dense != null) {
                for (String name : source.names()) {
                    if (!dense.has(name)) {
                        copy(name, dense);
                    }
                }
                dense.finish();
            } else {
                finishPacked();
            }
            Map<String, byte[]> files = new TreeMap<>();
            for (String file : source.auxiliaryFiles()) {
                files.put(file, source.file(file).orElseThrow());
            }
            files.putAll(extraFiles);
            for (Map.Entry<String, byte[]> file : files.entrySet()) {
                Files.write(folder.path().resolve(file.getKey()), file.getValue(), StandardOpenOption.CREATE_NEW);
            }
            folder.publish();
            finished = true;
        } catch (IOException e) {
            throw failed(e);
        }
    }

    private void copy(String name, SafetensorsWriter writer) throws IOException {
        StoredTensor stored = source.stored(name);
        if (stored instanceof StoredTensor.Plain plain) {
            writer.write(name, plain.segment());
            return;
        }
        try (Arena scratch = Arena.ofShared()) {
            writer.write(name, stored.read(scratch).segment());
        }
    }

    private Spooled spool(Tensor tensor, Arena scratch) throws IOException {
        long at = spool.size();
        long maskBytes = Packed.maskBytes(tensor.columns()) * tensor.rows();
        long valueBytes = Packed.kept(tensor) * tensor.dtype().bytes();
        if (!shrinks(tensor, maskBytes + valueBytes)) {
            append(tensor.segment());
            return new Spooled(at, 0, tensor.bytes(), "dense");
        }
        MemorySegment mask = scratch.allocate(Math.max(1, maskBytes)).asSlice(0, maskBytes);
        MemorySegment values = scratch.allocate(Math.max(1, valueBytes)).asSlice(0, valueBytes);
        Packed.pack(tensor, mask, values);
        append(mask);
        append(values);
        String format = Packed.formatOf(
                mask,
                tensor.rows(),
                tensor.columns(),
                valueBytes / tensor.dtype().bytes());
        return new Spooled(at, maskBytes, valueBytes, format);
    }

    private static boolean shrinks(Tensor tensor, long packedBytes) {
        return tensor.dtype() != DType.I8 && packedBytes < tensor.bytes();
    }

    private void append(MemorySegment bytes) throws IOException {
        for (long at = 0; at < bytes.byteSize(); at += 1 << 24) {
            ByteBuffer chunk =
                    bytes.asSlice(at, Math.min(1 << 24, bytes.byteSize() - at)).asByteBuffer();
            while (chunk.hasRemaining()) {
                spool.write(chunk, spool.size());
            }
        }
    }

    private void finishPacked() throws IOException {
        // What was not replaced may be sparse too: a packed source, or a model that was pruned before.
        for (String name : source.names()) {
            StoredTensor stored = source.stored(name);
            boolean matrix =
                    stored.shape().size() == 2 && Set.of("F32", "BF16", "F16").contains(stored.type());
            if (matrix && !spooled.containsKey(name)) {
                try (Arena scratch = Arena.ofShared()) {
                    Tensor tensor = stored.read(scratch);
                    long size = Packed.maskBytes(tensor.columns()) * tensor.rows()
                            + Packed.kept(tensor) * tensor.dtype().bytes();
                    if (shrinks(tensor, size)) {
                        spooled.put(name, spool(tensor, scratch));
                    }
                }
            }
        }
        List<SafetensorsWriter.Declared> declared = new ArrayList<>();
        Map<String, Object> list = new TreeMap<>();
        for (String name : source.names()) {
            StoredTensor stored = source.stored(name);
            Spooled packed = spooled.get(name);
            if (packed == null || packed.maskBytes == 0) {
                declared.add(new SafetensorsWriter.Declared(name, stored.type(), stored.shape()));
                continue;
            }
            long rows = stored.rows();
            long kept = packed.valueBytes / stored.dtype().bytes();
            declared.add(new SafetensorsWriter.Declared(
                    name + Packed.MASK, "U8", List.of(rows, Packed.maskBytes(stored.columns()))));
            declared.add(new SafetensorsWriter.Declared(name + Packed.VALUES, stored.type(), List.of(kept)));
            Map<String, Object> how = new LinkedHashMap<>();
            how.put("format", packed.format);
            how.put("shape", stored.shape());
            list.put(name, how);
        }
        metadata.put(Packed.FORMAT_KEY, Packed.FORMAT);
        metadata.put(Packed.VERSION_KEY, Integer.toString(Packed.VERSION));
        metadata.put(Packed.LIST_KEY, Checkpoint.JSON.writeValueAsString(list));
        try (SafetensorsWriter writer = new SafetensorsWriter(folder.path().resolve(Packed.FILE), metadata, declared);
                Arena mapped = Arena.ofShared()) {
            MemorySegment all = spool.map(FileChannel.MapMode.READ_ONLY, 0, spool.size(), mapped);
            for (String name : source.names()) {
                Spooled packed = spooled.get(name);
                if (packed == null) {
                    copy(name, writer);
                } else if (packed.maskBytes == 0) {
                    writer.write(name, all.asSlice(packed.at, packed.valueBytes));
                } else {
                    writer.write(name + Packed.MASK, all.asSlice(packed.at, packed.maskBytes));
                    writer.write(name + Packed.VALUES, all.asSlice(packed.at + packed.maskBytes, packed.valueBytes));
                }
            }
            writer.finish();
        }
        spool.close();
    }

    private static Tensor rounded(Tensor weights, DType dtype, Arena scratch) {
        Tensor rounded = Tensor.allocate(scratch, dtype, weights.rows(), weights.columns());
        DType from = weights.dtype();
        MemorySegment source = weights.segment();
        MemorySegment to = rounded.segment();
        for (long i = 0; i < weights.size(); i++) {
            // Adding 0 turns -0.0 into 0.0 and leaves every other value as it is.
            dtype.set(to, i, from.get(source, i) + 0f);
        }
        return rounded;
    }

    private IOException failed(IOException e) {
        String reason = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        if (reason.startsWith("writing ")) {
            return e;
        }
        String left = folder.keeps() ? "what is finished is kept for --resume." : "nothing was left there.";
        return new IOException("writing " + out + " failed: " + reason + "; " + left, e);
    }

    /// Ends the work; without [#finish] before it, nothing is left.
    @Override
    public void close() throws IOException {
        try {
            if (dense != null && !finished) {
                dense.close();
            }
            if (spool != null) {
                spool.close();
            }
        } finally {
            folder.close();
        }
    }
}
