package dev.espalier.natives.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.natives.cuda.CudaKernel.Dim;
import dev.espalier.natives.cuda.generated.cudart.CudaRt;
import dev.espalier.natives.fake.FakeCuda;
import dev.espalier.natives.fake.FakeCuda.Kind;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// The whole way over a device that is none: upload, launch, download, graph, teardown. What it cannot show is that the real
/// runtime does the same.
@Tag("fake-cuda")
class FakeDeviceTest {
    /// `y[i] += a x[i]` for i < n, and every argument type.
    static final String TWINS = """
            #include <stddef.h>
            void axpy(const void *const *args, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz) {
                float *y = *(float **)args[0];
                const float *x = *(const float *const *)args[1];
                float a = *(const float *)args[2];
                int n = *(const int *)args[3];
                for (unsigned block = 0; block < gx; block++)
                    for (unsigned thread = 0; thread < bx; thread++) {
                        unsigned i = block * bx + thread;
                        if (i < (unsigned)n) y[i] += a * x[i];
                    }
            }
            void every_type(const void *const *args, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz) {
                double *y = *(double **)args[0];
                y[0] = *(const int *)args[1];
                y[1] = *(const long *)args[2];
                y[2] = *(const float *)args[3];
                y[3] = *(const double *)args[4];
                y[4] = *(void *const *)args[5] == NULL;
                y[5] = gx * 100000 + gy * 10000 + gz * 1000 + bx * 100 + by * 10 + bz;
            }
            void beyond(const void *const *args, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz) {
                (*(char **)args[0])[*(const int *)args[1]] = 1;
            }
            """;

    private static final byte[] IMAGE = ".version 9.0".getBytes(StandardCharsets.UTF_8);

    @BeforeAll
    static void aDeviceThatIsNone() {
        FakeCuda.install(TWINS);
        assertTrue(
                CudaLibrary.CUDART.library().found(),
                () -> CudaLibrary.CUDART.library().toString());
        assertTrue(CudaLibrary.CUDART.library().origin().orElseThrow().startsWith("-Despalier.cuda.path"));
        assertEquals("13.0", CudaLibrary.CUDART.version().orElseThrow());
    }

    @AfterEach
    void nothingIsLeftAndNoRuleBroken() {
        FakeCuda.budget(-1);
        FakeCuda.driver(13000, 1);
        FakeCuda.assertNothingLeft();
    }

    @Test
    void aKernelReadsWhatWasUploadedAndItsResultIsDownloaded() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create();
                CudaModule module = CudaModule.load("axpy", IMAGE);
                DeviceMemory x = DeviceMemory.allocate(5 * 4, "x");
                DeviceMemory y = DeviceMemory.allocate(5 * 4, "y")) {
            x.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4, 5));
            y.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 10, 20, 30, 40, 50), stream);
            module.kernel("axpy").launch(stream, new Dim(2), new Dim(4), 0, y, x, 2f, 5);
            MemorySegment result = arena.allocate(5 * 4);
            y.download(result, stream);
            stream.synchronize();
            assertTrue(stream.isDone());
            assertArrayEquals(new float[] {12, 24, 36, 48, 60}, result.toArray(ValueLayout.JAVA_FLOAT));
        }
    }

    @Test
    void argumentsOfEveryTypeArrive() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create();
                CudaModule module = CudaModule.load("types", IMAGE);
                DeviceMemory y = DeviceMemory.allocate(6 * 8, "y")) {
            CudaKernel kernel = module.kernel("every_type");
            kernel.launch(
                    stream, new Dim(1, 2, 3), new Dim(4, 5, 6), 0, y, Integer.MIN_VALUE, 1L << 52, 0.1f, Math.PI, null);
            MemorySegment result = arena.allocate(6 * 8);
            y.download(result);
            assertArrayEquals(
                    new double[] {Integer.MIN_VALUE, 1L << 52, 0.1f, Math.PI, 1, 123456},
                    result.toArray(ValueLayout.JAVA_DOUBLE));
            assertThrows(
                    IllegalArgumentException.class, () -> kernel.launch(stream, new Dim(1), new Dim(1), 0, y, "text"));
        }
    }

    @Test
    void aGraphReplaysWhatWasRecordedAndRecordingRunsNothing() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create();
                CudaModule module = CudaModule.load("axpy", IMAGE);
                DeviceMemory both = DeviceMemory.allocate(512, "x and y");
                PinnedMemory host = PinnedMemory.allocate(8, "result")) {
            DeviceMemory x = both.slice(0, 8);
            DeviceMemory y = both.slice(256, 8);
            x.upload(arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2));
            y.fill((byte) 0, stream);
            CudaKernel kernel = module.kernel("axpy");
            long before = FakeCuda.launches();
            try (CudaGraph graph = CudaGraph.capture(stream, () -> {
                for (int i = 0; i < 2; i++) {
                    kernel.launch(stream, new Dim(1), new Dim(32), 0, y, x, 0.5f, 2);
                }
                y.download(host.segment(), stream);
            })) {
                assertEquals(before, FakeCuda.launches());
                for (int i = 0; i < 3; i++) {
                    graph.launch(stream);
                }
                stream.synchronize();
                assertEquals(before + 6, FakeCuda.launches());
            }
            assertArrayEquals(new float[] {3, 6}, host.segment().toArray(ValueLayout.JAVA_FLOAT));
        }
    }

    @Test
    void aRecordingThatFailsLeavesTheStreamUsable() {
        try (CudaStream stream = CudaStream.create()) {
            IllegalStateException failure = assertThrows(
                    IllegalStateException.class,
                    () -> CudaGraph.capture(stream, () -> {
                        throw new IllegalStateException("half way");
                    }));
            assertEquals("half way", failure.getMessage());
            stream.synchronize();
        }
    }

    @Test
    void eventsMeasureTimeAndOrderStreams() {
        try (CudaStream first = CudaStream.create();
                CudaStream second = CudaStream.create();
                CudaEvent start = CudaEvent.create();
                CudaEvent end = CudaEvent.create()) {
            start.record(first);
            second.waitFor(start);
            end.record(second);
            end.synchronize();
            assertTrue(end.secondsSince(start) >= 0);
        }
    }

    @Test
    void memoryThatIsNotThereNamesTheTensorTheNeedAndWhatIsFree() {
        FakeCuda.budget(3L << 30);
        try (DeviceMemory first = DeviceMemory.allocate(1 << 20, "first")) {
            CudaException failure = assertThrows(
                    CudaException.class, () -> DeviceMemory.allocate(6L << 30, "model.layers.7.mlp.up_proj.weight"));
            assertEquals("cudaErrorMemoryAllocation", failure.codeName());
            assertEquals(2, failure.code());
            assertEquals("cudaMalloc", failure.function());
            assertEquals(
                    "cudaMalloc failed with cudaErrorMemoryAllocation (2): out of memory; 6.00 GiB for "
                            + "model.layers.7.mlp.up_proj.weight, 3.00 GiB of 3.00 GiB are free",
                    failure.getMessage());
            assertEquals(1 << 20, first.bytes());
        }
    }

    @Test
    void aCopyBeyondTheRangeIsRefusedBeforeItReachesTheLibrary() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create();
                DeviceMemory memory = DeviceMemory.allocate(16, "m")) {
            MemorySegment host = arena.allocate(17);
            assertThrows(IndexOutOfBoundsException.class, () -> memory.upload(host));
            assertThrows(IndexOutOfBoundsException.class, () -> memory.download(host, stream));
            assertThrows(
                    IndexOutOfBoundsException.class, () -> memory.slice(8, 8).download(host.asSlice(0, 9)));
            assertThrows(IndexOutOfBoundsException.class, () -> memory.slice(8, 9));
            assertThrows(IndexOutOfBoundsException.class, () -> memory.slice(-1, 2));
            assertThrows(IllegalArgumentException.class, () -> memory.upload(MemorySegment.ofArray(new byte[4])));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> memory.download(host.asSlice(0, 4).asReadOnly()));
        }
    }

    @Test
    void aReadThroughADeviceAddressThrowsInsteadOfEndingTheProcess() {
        try (DeviceMemory memory = DeviceMemory.allocate(16, "m")) {
            MemorySegment address = memory.address();
            assertEquals(0, address.byteSize());
            assertThrows(IndexOutOfBoundsException.class, () -> address.get(ValueLayout.JAVA_BYTE, 0));
        }
    }

    @Test
    void whatWasClosedIsNotUsedAgainAndClosingTwiceFreesOnce() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create()) {
            DeviceMemory memory = DeviceMemory.allocate(16, "m");
            DeviceMemory slice = memory.slice(4, 4);
            assertThrows(IllegalStateException.class, slice::close);
            memory.close();
            memory.close();
            MemorySegment host = arena.allocate(4);
            assertThrows(IllegalStateException.class, () -> memory.upload(host));
            assertThrows(IllegalStateException.class, () -> slice.download(host));
            CudaModule module = CudaModule.load("axpy", IMAGE);
            CudaKernel kernel = module.kernel("axpy");
            module.close();
            module.close();
            assertThrows(IllegalStateException.class, () -> kernel.launch(stream, new Dim(1), new Dim(1), 0));
            assertThrows(IllegalStateException.class, () -> module.kernel("axpy"));
            CudaStream closed = CudaStream.create();
            closed.close();
            closed.close();
            assertThrows(IllegalStateException.class, closed::synchronize);
            assertThrows(IllegalStateException.class, () -> memory.upload(host, closed));
            PinnedMemory pinned = PinnedMemory.allocate(8, "p");
            MemorySegment segment = pinned.segment();
            pinned.close();
            pinned.close();
            assertThrows(IllegalStateException.class, () -> segment.get(ValueLayout.JAVA_BYTE, 0));
        }
    }

    @Test
    void aClockThatIsForetoldRunsByWhatIsDone() {
        FakeCuda.clock(3_000_000, 0, 1_000_000);
        try (CudaStream stream = CudaStream.create();
                CudaEvent start = CudaEvent.create();
                CudaEvent end = CudaEvent.create();
                CudaModule module = CudaModule.load("beyond", IMAGE);
                DeviceMemory memory = DeviceMemory.allocate(2048, "m")) {
            start.record(stream);
            module.kernel("beyond").launch(stream, new Dim(1), new Dim(1), 0, memory, 0);
            memory.fill((byte) 0, stream);
            end.record(stream);
            assertEquals(0.005, end.secondsSince(start), 1e-9);
        } finally {
            FakeCuda.clock(0, 0, 0);
        }
    }

    @Test
    void anUnknownKernelIsNamedWithItsModule() {
        try (CudaModule module = CudaModule.load("gemv.cu", IMAGE)) {
            CudaException failure = assertThrows(CudaException.class, () -> module.kernel("no_such_kernel"));
            assertEquals(
                    "cudaLibraryGetKernel failed with cudaErrorSymbolNotFound (500): named symbol not found; "
                            + "no_such_kernel in gemv.cu",
                    failure.getMessage());
        }
    }

    @Test
    void manyThreadsAllocateAndFreeWithoutALoss() throws Exception {
        List<Thread> threads = new ArrayList<>();
        long before = FakeCuda.made(Kind.DEVICE_MEMORY);
        for (int t = 0; t < 4; t++) {
            threads.add(Thread.ofPlatform().start(() -> {
                for (int i = 0; i < 100; i++) {
                    DeviceMemory.allocate(64, "t").close();
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(before + 400, FakeCuda.made(Kind.DEVICE_MEMORY));
    }

    @Test
    void aUsableDeviceIsDescribed() {
        Cuda cuda = Cuda.look();
        assertTrue(cuda.usable(), () -> cuda.whyNot().orElseThrow());
        assertEquals(new Cuda.Device(0, "Fake GPU", 9, 0, 4, 4L << 30), cuda.device());
        assertEquals("sm_90", cuda.device().architecture());
        assertEquals("9.0", cuda.device().computeCapability());
        try (DeviceMemory memory = DeviceMemory.allocate(1 << 20, "m")) {
            assertEquals((4L << 30) - memory.bytes(), cuda.freeBytes());
        }
    }

    @Test
    void aDeviceThatIsTooOldIsDescribedAndNotUsed() {
        FakeCuda.architecture(75);
        try {
            Cuda cuda = Cuda.look();
            assertEquals(1, cuda.devices().size());
            assertEquals(
                    "GPU 0, Fake GPU, has compute capability 7.5; 8.0 or newer is needed (CUDA_VISIBLE_DEVICES chooses "
                            + "another GPU)",
                    cuda.whyNot().orElseThrow());
            assertThrows(IllegalStateException.class, cuda::driver);
        } finally {
            FakeCuda.architecture(90);
        }
    }

    @Test
    void theDriverIsToldByItsReleaseWhereTheSystemTellsItAndByItsCuda() {
        assertTrue(Cuda.look().driver().endsWith("CUDA 13.0"), Cuda.look()::driver);
        assertEquals(Optional.of("580.95.05"), Cuda.release("""
                        NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder)
                        GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
                        """));
        assertEquals(
                Optional.of("590.44"),
                Cuda.release("NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.44  Tue Sep 23 10:11:12 UTC 2025"));
        assertEquals(Optional.empty(), Cuda.release(""));
    }

    @Test
    void withoutADriverOrWithTooOldAOneTheReasonSaysWhichIsNeeded() {
        FakeCuda.driver(0, 1);
        assertEquals(
                "no NVIDIA driver is loaded (libcuda.so.1 was not found or does not work); CUDA 13 needs one of release "
                        + "580 or newer",
                Cuda.look().whyNot().orElseThrow());
        FakeCuda.driver(12040, 1);
        assertEquals(
                "the NVIDIA driver supports CUDA 12.4 at most; CUDA 13 needs a driver of release 580 or newer",
                Cuda.look().whyNot().orElseThrow());
        assertThrows(CudaException.class, CudaStream::create);
        assertThrows(CudaException.class, () -> DeviceMemory.allocate(8, "m"));
        FakeCuda.driver(13000, 0);
        Cuda none = Cuda.look();
        assertTrue(none.whyNot().orElseThrow().startsWith("the NVIDIA driver shows no GPU"));
        assertThrows(IllegalStateException.class, none::device);
    }

    /// The tests above say something only if the fake does notice: a double free, an end that was written beyond, a copy out
    /// of what was freed, a stream that is none.
    @Test
    void theFakeNoticesEachRuleThatIsBroken() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create();
                CudaModule module = CudaModule.load("beyond", IMAGE)) {
            MemorySegment host = arena.allocate(16);
            DeviceMemory freed = DeviceMemory.allocate(16, "freed");
            MemorySegment address = freed.address();
            freed.close();
            assertEquals(1, CudaRt.cudaFree(address), "a second free");
            assertEquals(1, CudaRt.cudaMemcpy(host, address, 16, CudaRt.cudaMemcpyDeviceToHost()), "use after free");
            assertEquals(400, CudaRt.cudaStreamSynchronize(address), "no stream");
            assertEquals(3, FakeCuda.breaches());
            try (DeviceMemory memory = DeviceMemory.allocate(16, "m")) {
                module.kernel("beyond").launch(stream, new Dim(1), new Dim(1), 0, memory, 16);
                assertEquals(1, FakeCuda.live(Kind.DEVICE_MEMORY));
            }
            assertEquals(4, FakeCuda.breaches(), "a write beyond the end");
            assertEquals(1, FakeCuda.live(Kind.STREAM), "a leak is seen");
        } finally {
            FakeCuda.forgive();
        }
    }

    /// cudaMemcpy may return before the device has the bytes, and our streams do not wait for its stream: an upload waits itself.
    @Test
    void anUploadIsThereForEveryStreamAndTheFakeShowsWhatHappensOtherwise() {
        try (Arena arena = Arena.ofConfined();
                CudaStream stream = CudaStream.create();
                DeviceMemory memory = DeviceMemory.allocate(4, "m")) {
            MemorySegment result = arena.allocate(4);
            memory.upload(arena.allocateFrom(ValueLayout.JAVA_INT, 1));
            memory.download(result, stream);
            assertEquals(1, result.get(ValueLayout.JAVA_INT, 0));
            MemorySegment two = arena.allocateFrom(ValueLayout.JAVA_INT, 2);
            assertEquals(0, CudaRt.cudaMemcpy(memory.address(), two, 4, CudaRt.cudaMemcpyHostToDevice()));
            memory.download(result, stream);
            assertEquals(1, result.get(ValueLayout.JAVA_INT, 0), "still on its way");
            assertEquals(0, CudaRt.cudaStreamSynchronize(MemorySegment.NULL));
            memory.download(result, stream);
            assertEquals(2, result.get(ValueLayout.JAVA_INT, 0));
        }
    }

    @Test
    void anEmptyRangeNeedsNoDeviceMemory() {
        long before = FakeCuda.made(Kind.DEVICE_MEMORY);
        try (CudaStream stream = CudaStream.create();
                DeviceMemory empty = DeviceMemory.allocate(0, "nothing")) {
            empty.fill((byte) 1, stream);
            empty.upload(MemorySegment.NULL);
            assertEquals(0, empty.bytes());
            assertFalse(FakeCuda.made(Kind.DEVICE_MEMORY) > before);
        }
    }
}
