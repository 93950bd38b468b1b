/// C libraries, made safe to call from Java. Knows nothing of tensors.
module dev.espalier.natives {
    exports dev.espalier.natives;
    exports dev.espalier.natives.blas;
    exports dev.espalier.natives.cuda;
    exports dev.espalier.natives.os;
}
