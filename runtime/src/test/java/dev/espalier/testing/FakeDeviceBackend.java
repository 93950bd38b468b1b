package dev.espalier.testing;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/// A backend that computes on the host but behaves like a GPU: its tensors refuse host access, and it refuses tensors
/// that are not its own. A runtime that passes with it touches elements only through the backend.
public final class FakeDeviceBackend implements Backend {
    private final Backend host;

    /// Computes with `host`, which is closed with this.
    public FakeDeviceBackend(Backend host) {
        this.host = host;
    }

    private static Tensor device(Tensor tensor) {
        return Tensor.onDevice(tensor.dtype(), tensor.rows(), tensor.columns(), tensor.handle());
    }

    /// What a tensor of this device looks like from inside; null stays null.
    private static Tensor in(Tensor tensor) {
        if (tensor == null) {
            return null;
        }
        if (tensor.onHost()) {
            throw new IllegalStateException("a host tensor was handed to a device operation: " + tensor);
        }
        return Tensor.of(tensor.dtype(), tensor.rows(), tensor.columns(), tensor.handle());
    }

    private static void sameShape(Tensor a, Tensor b) {
        if (a.dtype() != b.dtype() || a.rows() != b.rows() || a.columns() != b.columns()) {
            throw new IllegalArgumentException(a + " and " + b + " differ in shape or type");
        }
    }

    @Override
    public String name() {
        return "fake-device";
    }

    @Override
    public Tensor zeros(DType dtype, int rows, int columns) {
        return device(host.zeros(dtype, rows, columns));
    }

    @Override
    public void free(Tensor tensor) {
        host.free(in(tensor));
    }

    @Override
    public Tensor upload(Tensor tensor) {
        Tensor copy = host.zeros(tensor.dtype(), tensor.rows(), tensor.columns());
        MemorySegment.copy(tensor.segment(), 0, copy.segment(), 0, tensor.bytes());
        return device(copy);
    }

    @Override
    public void download(Tensor device, Tensor target) {
        sameShape(device, target);
        MemorySegment.copy(in(device).segment(), 0, target.segment(), 0, target.bytes());
    }

    @Override
    public void store(Tensor source, Tensor device) {
        sameShape(device, source);
        MemorySegment.copy(source.segment(), 0, in(device).segment(), 0, source.bytes());
    }

    @Override
    public Linear linear(Tensor weight, WeightFormat format) {
        return host.linear(weight, format);
    }

    @Override
    public void linear(Linear weight, Tensor bias, Tensor x, Tensor y) {
        host.linear(weight, in(bias), in(x), in(y));
    }

    @Override
    public void gather(Tensor table, int[] rows, float scale, Tensor y) {
        host.gather(in(table), rows, scale, in(y));
    }

    @Override
    public void gatherAdd(Tensor table, int[] rows, Tensor y) {
        host.gatherAdd(in(table), rows, in(y));
    }

    @Override
    public void norm(Norm norm, Tensor x, Tensor weight, Tensor bias, Tensor y) {
        host.norm(norm, in(x), in(weight), in(bias), in(y));
    }

    @Override
    public void angles(float[] inverseFrequencies, int[] positions, Tensor cosSin) {
        host.angles(inverseFrequencies, positions, in(cosSin));
    }

    @Override
    public void rotate(Tensor x, Tensor cosSin) {
        host.rotate(in(x), in(cosSin));
    }

    @Override
    public void copyRows(Tensor source, Tensor target, int at) {
        host.copyRows(in(source), in(target), at);
    }

    @Override
    public void attention(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out) {
        host.attention(shape, in(q), in(keys), in(values), past, in(out));
    }

    @Override
    public void activate(Activation f, Tensor x) {
        host.activate(f, in(x));
    }

    @Override
    public void gate(Activation f, Tensor gate, Tensor up) {
        host.gate(f, in(gate), in(up));
    }

    @Override
    public void add(Tensor x, Tensor y) {
        host.add(in(x), in(y));
    }

    @Override
    public void softcap(float cap, Tensor x) {
        host.softcap(cap, in(x));
    }

    @Override
    public LinearAlgebra algebra() {
        return host.algebra();
    }

    @Override
    public void close() {
        host.close();
    }
}
