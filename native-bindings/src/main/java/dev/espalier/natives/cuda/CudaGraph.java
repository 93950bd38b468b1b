package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import dev.espalier.natives.cuda.generated.cudart.CudaRt;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Work of a stream, recorded once and replayed with one call.
///
/// Arguments of kernels, addresses among them, are those of the recording: what changes from one replay to the next lies in
/// device memory, and the memory lives as long as the graph.
public final class CudaGraph implements AutoCloseable {
    private final CudaHandle handle;

    private CudaGraph(MemorySegment handle) {
        this.handle = new CudaHandle(handle, "cudaGraphExecDestroy", CudaRt::cudaGraphExecDestroy, Runtime::check);
    }

    /// Records what `work` puts into the stream, without running it. In `work`, this thread must not wait for the device, nor
    /// allocate or free its memory.
    public static CudaGraph capture(CudaStream stream, Runnable work) {
        Runtime.check(
                "cudaStreamBeginCapture", cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal()));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            try {
                work.run();
            } catch (RuntimeException | Error failure) {
                // The stream must leave the capture; the graph, if there is one, is of no use.
                if (cudaStreamEndCapture(stream.handle(), slot) == cudaSuccess()) {
                    destroy(Runtime.handle(slot));
                }
                throw failure;
            }
            Runtime.check("cudaStreamEndCapture", cudaStreamEndCapture(stream.handle(), slot));
            MemorySegment graph = Runtime.handle(slot);
            try {
                Runtime.check("cudaGraphInstantiate", cudaGraphInstantiate(slot, graph, 0));
                return new CudaGraph(Runtime.handle(slot));
            } finally {
                destroy(graph);
            }
        }
    }

    private static void destroy(MemorySegment graph) {
        if (graph.address() != 0) {
            Runtime.check("cudaGraphDestroy", cudaGraphDestroy(graph));
        }
    }

    /// Runs the recorded work once, in the stream's order.
    public void launch(CudaStream stream) {
        Runtime.check("cudaGraphLaunch", cudaGraphLaunch(handle.get(), stream.handle()));
    }

    @Override
    public void close() {
        handle.close();
    }
}
