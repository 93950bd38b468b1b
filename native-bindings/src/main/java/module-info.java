/// C libraries, made safe to call from Java. Knows nothing of tensors.
module dev.espalier.natives {
}
