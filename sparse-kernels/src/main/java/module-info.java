/// Tensors, weight formats and the backends that compute with them. Knows nothing of models.
module dev.espalier.kernels {
    requires transitive dev.espalier.natives;
    requires jdk.incubator.vector;
    requires java.management;
    requires jdk.management;

    exports dev.espalier.tensor;
    exports dev.espalier.kernels;
    exports dev.espalier.kernels.cpu;
    exports dev.espalier.kernels.cuda;
    exports dev.espalier.kernels.format;
    exports dev.espalier.kernels.simd;
}
