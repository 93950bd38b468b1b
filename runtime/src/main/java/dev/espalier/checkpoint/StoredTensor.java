package dev.espalier.checkpoint;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/// One named tensor of a checkpoint, however it is stored: where it is, its type and shape, and how to read it.
interface StoredTensor {
    /// Its name in the checkpoint.
    String name();

    /// The file that holds it, for errors.
    String file();

    /// The type name as safetensors spells it.
    String type();

    List<Long> shape();

    /// Bytes it takes where it is stored.
    long bytes();

    /// The name of the packed format it is stored in, empty for plain ones.
    default Optional<String> packedFormat() {
        return Optional.empty();
    }

    /// Whether [#read] returns a slice of the stored bytes, allocating nothing.
    boolean plain();

    /// The tensor, dense. A packed or computed one is allocated in `arena`.
    Tensor read(Arena arena);

    /// How many elements are not zero; -0.0 is a zero.
    default long nonZeros() {
        try (Arena scratch = Arena.ofShared()) {
            return Packed.kept(read(scratch));
        }
    }

    /// The element type, for the types that the backends know.
    default DType dtype() {
        return switch (type()) {
            case "F32" -> DType.F32;
            case "BF16" -> DType.BF16;
            case "F16" -> DType.F16;
            case "I8" -> DType.I8;
            default ->
                throw new InputException(
                        "%s holds the tensor %s as %s; F32, BF16 and F16 can be read. Convert the checkpoint to one of these."
                                .formatted(file(), Safetensors.quoted(name()), type()));
        };
    }

    /// The rows of the matrix that the tensor is read as: `[n]` is `[1, n]`, a scalar `[1, 1]`.
    default int rows() {
        return shape().size() < 2 ? 1 : dimension(0);
    }

    /// The columns of the matrix that the tensor is read as.
    default int columns() {
        return shape().isEmpty() ? 1 : dimension(shape().size() - 1);
    }

    private int dimension(int index) {
        long size = shape().get(index);
        if (shape().size() > 2 || size > Integer.MAX_VALUE) {
            throw new InputException("%s holds the tensor %s with the shape %s; only matrices and vectors can be used."
                    .formatted(file(), Safetensors.quoted(name()), shape()));
        }
        return (int) size;
    }

    /// A tensor whose elements lie in a file as they are.
    record Plain(Safetensors in, Safetensors.Entry entry) implements StoredTensor {
        @Override
        public String name() {
            return entry.name();
        }

        @Override
        public String file() {
            return in.file();
        }

        @Override
        public String type() {
            return entry.type();
        }

        @Override
        public List<Long> shape() {
            return entry.shape();
        }

        @Override
        public long bytes() {
            return entry.to() - entry.from();
        }

        @Override
        public boolean plain() {
            return true;
        }

        /// The bytes, whatever the type.
        MemorySegment segment() {
            return in.bytes(entry);
        }

        @Override
        public Tensor read(Arena arena) {
            return Tensor.of(dtype(), rows(), columns(), segment());
        }
    }

    /// Another tensor, its elements rounded to `target`.
    record Converted(StoredTensor source, DType target) implements StoredTensor {
        @Override
        public String name() {
            return source.name();
        }

        @Override
        public String file() {
            return source.file();
        }

        @Override
        public String type() {
            return target.name();
        }

        @Override
        public List<Long> shape() {
            return source.shape();
        }

        @Override
        public long bytes() {
            long elements = 1;
            for (long size : shape()) {
                elements *= size;
            }
            return elements * target.bytes();
        }

        @Override
        public boolean plain() {
            return false;
        }

        @Override
        public Tensor read(Arena arena) {
            Tensor converted = Tensor.allocate(arena, target, rows(), columns());
            MemorySegment to = converted.segment();
            // A packed source is unpacked first, into memory that goes at once.
            try (Arena scratch = Arena.ofShared()) {
                Tensor dense = source.read(scratch);
                DType from = dense.dtype();
                long size = dense.size();
                for (long i = 0; i < size; i++) {
                    float value = from.get(dense.segment(), i);
                    target.set(to, i, value);
                    if (target == DType.F16 && Float.isInfinite(target.get(to, i)) && !Float.isInfinite(value)) {
                        throw new InputException(
                                "%s holds %s in the tensor %s, more than --dtype f16 can hold; use bf16 or f32."
                                        .formatted(file(), value, Safetensors.quoted(name())));
                    }
                }
            }
            return converted;
        }
    }

    /// A copy of another tensor that `edit` has changed in place.
    record Edited(StoredTensor source, Consumer<Tensor> edit) implements StoredTensor {
        @Override
        public String name() {
            return source.name();
        }

        @Override
        public String file() {
            return source.file();
        }

        @Override
        public String type() {
            return source.type();
        }

        @Override
        public List<Long> shape() {
            return source.shape();
        }

        @Override
        public long bytes() {
            return (long) rows() * columns() * dtype().bytes();
        }

        @Override
        public boolean plain() {
            return false;
        }

        @Override
        public Tensor read(Arena arena) {
            Tensor copy = source.read(arena);
            if (source.plain()) {
                Tensor own = Tensor.allocate(arena, copy.dtype(), copy.rows(), copy.columns());
                MemorySegment.copy(copy.segment(), 0, own.segment(), 0, copy.bytes());
                copy = own;
            }
            edit.accept(copy);
            return copy;
        }
    }
}
