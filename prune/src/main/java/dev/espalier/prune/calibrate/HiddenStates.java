package dev.espalier.prune.calibrate;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/// What the blocks have made of each window so far, in float32: in memory while small, in a mapped temporary file when
/// large.
final class HiddenStates implements AutoCloseable {
    private final int tokens;
    private final int features;
    private final Arena arena;
    private final MemorySegment segment;

    /// Room for `windows` windows of `tokens` tokens.
    HiddenStates(int windows, int tokens, int features, Scratch memory, long large) {
        this.tokens = tokens;
        this.features = features;
        long bytes = (long) windows * tokens * features * DType.F32.bytes();
        if (bytes <= large) {
            this.arena = null;
            this.segment = memory.bytes(bytes);
        } else {
            this.arena = Arena.ofShared();
            try {
                this.segment = map(bytes, arena);
            } catch (RuntimeException e) {
                arena.close();
                throw e;
            }
        }
    }

    /// The file has no name any more once it is mapped, so nothing of it can be left behind.
    private static MemorySegment map(long bytes, Arena arena) {
        Path file = null;
        try {
            file = Files.createTempFile("espalier-hidden", ".f32");
            long free = Files.getFileStore(file).getUsableSpace();
            if (free < bytes) {
                throw new IOException("%s has %d MiB left; the calibration's hidden states need %d MiB"
                        .formatted(file.getParent(), free >> 20, (bytes >> 20) + 1));
            }
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                return channel.map(MapMode.READ_WRITE, 0, bytes, arena);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e.getMessage(), e);
        } finally {
            if (file != null) {
                file.toFile().delete();
            }
        }
    }

    /// What the blocks made of one window, `[tokens, features]`, on the host.
    Tensor of(int window) {
        long bytes = (long) tokens * features * DType.F32.bytes();
        return Tensor.of(DType.F32, tokens, features, segment.asSlice(window * bytes, bytes));
    }

    @Override
    public void close() {
        if (arena != null) {
            arena.close();
        }
    }
}
