package dev.espalier.checkpoint;

/// How a saved checkpoint stores its sparse weight matrices.
public enum SaveAs {
    /// Plain `model.safetensors`, zeros in place: any program loads it, and it is as large as the dense model.
    DENSE,
    /// Espalier's own packed layout (see [Packed]): smaller by what the zeros free.
    PACKED
}
