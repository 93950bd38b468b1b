package dev.espalier.kernels.simd;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/// The innermost loop of [Gemm]: a tile of 6 rows by 1 to 4 vectors stays in registers while it runs along k.
///
/// `C[i, lanes] += Σ_k A[i, k] · B[k, lanes]`, k ascending, one fused multiply-add (or multiply and add, where the machine
/// has no fused one) a step: so an element's value depends neither on the tile it is in nor on the width of the vectors.
///
/// ```
///   A: 6 rows, [#ROW_STRIDE] floats apart    B: k lines of V vectors, contiguous    C: 6 rows of V vectors, `stride` apart
/// ```
///
/// Accumulators: 24 of 32 registers for 4 vectors (AVX-512), 12 of 16 for 2 (AVX2, SSE). The methods take raw addresses of
/// the caller's scratch memory, unchecked: nobody but [Gemm] calls them. They are written out because helpers are no longer
/// inlined in methods of this size, and vectors would be boxed.
final class MicroKernel {
    static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
    static final int LANES = SPECIES.length();

    /// Rows of a tile.
    static final int ROWS = 6;

    /// Vectors of a full tile.
    static final int VECTORS = LANES >= 16 || System.getProperty("os.arch").equals("aarch64") ? 4 : 2;

    /// Floats between the rows of A: a block of 256, and a cache line so that rows fall into different sets.
    static final int ROW_STRIDE = 256 + 16;

    private static final long R = ROW_STRIDE * 4L;
    private static final long V = LANES * 4L;
    private static final boolean FMA = CompilerHints.fma();
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    static {
        CompilerHints.excludeFromC1(MicroKernel.class);
    }

    private MicroKernel() {}

    /// Adds a tile's products.
    ///
    /// @param vectors width of the tile in vectors, 1 to [#VECTORS]
    /// @param a address of A's first row
    /// @param b address of B's first line
    /// @param k length of the sums, at least 1
    /// @param c address of C's first row
    /// @param stride bytes between the rows of C
    static void run(int vectors, long a, long b, int k, long c, long stride) {
        switch (vectors) {
            case 4 -> fma4(a, b, k, c, stride);
            case 3 -> fma3(a, b, k, c, stride);
            case 2 -> {
                if (FMA) {
                    fma2(a, b, k, c, stride);
                } else {
                    mulAdd2(a, b, k, c, stride);
                }
            }
            default -> {
                if (FMA) {
                    fma1(a, b, k, c, stride);
                } else {
                    mulAdd1(a, b, k, c, stride);
                }
            }
        }
    }

    private static void fma4(long a, long b, int k, long c, long stride) {
        FloatVector c00 = FloatVector.fromMemorySegment(SPECIES, ALL, c, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(SPECIES, ALL, c + V, ORDER);
        FloatVector c02 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * V, ORDER);
        FloatVector c03 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * V, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + V, ORDER);
        FloatVector c12 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + 2 * V, ORDER);
        FloatVector c13 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + 3 * V, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + V, ORDER);
        FloatVector c22 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + 2 * V, ORDER);
        FloatVector c23 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + 3 * V, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + V, ORDER);
        FloatVector c32 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + 2 * V, ORDER);
        FloatVector c33 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + 3 * V, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride, ORDER);
        FloatVector c41 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + V, ORDER);
        FloatVector c42 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + 2 * V, ORDER);
        FloatVector c43 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + 3 * V, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride, ORDER);
        FloatVector c51 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + V, ORDER);
        FloatVector c52 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + 2 * V, ORDER);
        FloatVector c53 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + 3 * V, ORDER);
        long end = a + 4L * k;
        while (a != end) {
            FloatVector b0 = FloatVector.fromMemorySegment(SPECIES, ALL, b, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(SPECIES, ALL, b + V, ORDER);
            FloatVector b2 = FloatVector.fromMemorySegment(SPECIES, ALL, b + 2 * V, ORDER);
            FloatVector b3 = FloatVector.fromMemorySegment(SPECIES, ALL, b + 3 * V, ORDER);
            FloatVector w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a));
            c00 = w.fma(b0, c00);
            c01 = w.fma(b1, c01);
            c02 = w.fma(b2, c02);
            c03 = w.fma(b3, c03);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + R));
            c10 = w.fma(b0, c10);
            c11 = w.fma(b1, c11);
            c12 = w.fma(b2, c12);
            c13 = w.fma(b3, c13);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 2 * R));
            c20 = w.fma(b0, c20);
            c21 = w.fma(b1, c21);
            c22 = w.fma(b2, c22);
            c23 = w.fma(b3, c23);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 3 * R));
            c30 = w.fma(b0, c30);
            c31 = w.fma(b1, c31);
            c32 = w.fma(b2, c32);
            c33 = w.fma(b3, c33);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 4 * R));
            c40 = w.fma(b0, c40);
            c41 = w.fma(b1, c41);
            c42 = w.fma(b2, c42);
            c43 = w.fma(b3, c43);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 5 * R));
            c50 = w.fma(b0, c50);
            c51 = w.fma(b1, c51);
            c52 = w.fma(b2, c52);
            c53 = w.fma(b3, c53);
            a += 4;
            b += 4 * V;
        }
        c00.intoMemorySegment(ALL, c, ORDER);
        c01.intoMemorySegment(ALL, c + V, ORDER);
        c02.intoMemorySegment(ALL, c + 2 * V, ORDER);
        c03.intoMemorySegment(ALL, c + 3 * V, ORDER);
        c10.intoMemorySegment(ALL, c + stride, ORDER);
        c11.intoMemorySegment(ALL, c + stride + V, ORDER);
        c12.intoMemorySegment(ALL, c + stride + 2 * V, ORDER);
        c13.intoMemorySegment(ALL, c + stride + 3 * V, ORDER);
        c20.intoMemorySegment(ALL, c + 2 * stride, ORDER);
        c21.intoMemorySegment(ALL, c + 2 * stride + V, ORDER);
        c22.intoMemorySegment(ALL, c + 2 * stride + 2 * V, ORDER);
        c23.intoMemorySegment(ALL, c + 2 * stride + 3 * V, ORDER);
        c30.intoMemorySegment(ALL, c + 3 * stride, ORDER);
        c31.intoMemorySegment(ALL, c + 3 * stride + V, ORDER);
        c32.intoMemorySegment(ALL, c + 3 * stride + 2 * V, ORDER);
        c33.intoMemorySegment(ALL, c + 3 * stride + 3 * V, ORDER);
        c40.intoMemorySegment(ALL, c + 4 * stride, ORDER);
        c41.intoMemorySegment(ALL, c + 4 * stride + V, ORDER);
        c42.intoMemorySegment(ALL, c + 4 * stride + 2 * V, ORDER);
        c43.intoMemorySegment(ALL, c + 4 * stride + 3 * V, ORDER);
        c50.intoMemorySegment(ALL, c + 5 * stride, ORDER);
        c51.intoMemorySegment(ALL, c + 5 * stride + V, ORDER);
        c52.intoMemorySegment(ALL, c + 5 * stride + 2 * V, ORDER);
        c53.intoMemorySegment(ALL, c + 5 * stride + 3 * V, ORDER);
    }

    private static void fma3(long a, long b, int k, long c, long stride) {
        FloatVector c00 = FloatVector.fromMemorySegment(SPECIES, ALL, c, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(SPECIES, ALL, c + V, ORDER);
        FloatVector c02 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * V, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + V, ORDER);
        FloatVector c12 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + 2 * V, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + V, ORDER);
        FloatVector c22 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + 2 * V, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + V, ORDER);
        FloatVector c32 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + 2 * V, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride, ORDER);
        FloatVector c41 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + V, ORDER);
        FloatVector c42 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + 2 * V, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride, ORDER);
        FloatVector c51 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + V, ORDER);
        FloatVector c52 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + 2 * V, ORDER);
        long end = a + 4L * k;
        while (a != end) {
            FloatVector b0 = FloatVector.fromMemorySegment(SPECIES, ALL, b, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(SPECIES, ALL, b + V, ORDER);
            FloatVector b2 = FloatVector.fromMemorySegment(SPECIES, ALL, b + 2 * V, ORDER);
            FloatVector w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a));
            c00 = w.fma(b0, c00);
            c01 = w.fma(b1, c01);
            c02 = w.fma(b2, c02);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + R));
            c10 = w.fma(b0, c10);
            c11 = w.fma(b1, c11);
            c12 = w.fma(b2, c12);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 2 * R));
            c20 = w.fma(b0, c20);
            c21 = w.fma(b1, c21);
            c22 = w.fma(b2, c22);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 3 * R));
            c30 = w.fma(b0, c30);
            c31 = w.fma(b1, c31);
            c32 = w.fma(b2, c32);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 4 * R));
            c40 = w.fma(b0, c40);
            c41 = w.fma(b1, c41);
            c42 = w.fma(b2, c42);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 5 * R));
            c50 = w.fma(b0, c50);
            c51 = w.fma(b1, c51);
            c52 = w.fma(b2, c52);
            a += 4;
            b += 3 * V;
        }
        c00.intoMemorySegment(ALL, c, ORDER);
        c01.intoMemorySegment(ALL, c + V, ORDER);
        c02.intoMemorySegment(ALL, c + 2 * V, ORDER);
        c10.intoMemorySegment(ALL, c + stride, ORDER);
        c11.intoMemorySegment(ALL, c + stride + V, ORDER);
        c12.intoMemorySegment(ALL, c + stride + 2 * V, ORDER);
        c20.intoMemorySegment(ALL, c + 2 * stride, ORDER);
        c21.intoMemorySegment(ALL, c + 2 * stride + V, ORDER);
        c22.intoMemorySegment(ALL, c + 2 * stride + 2 * V, ORDER);
        c30.intoMemorySegment(ALL, c + 3 * stride, ORDER);
        c31.intoMemorySegment(ALL, c + 3 * stride + V, ORDER);
        c32.intoMemorySegment(ALL, c + 3 * stride + 2 * V, ORDER);
        c40.intoMemorySegment(ALL, c + 4 * stride, ORDER);
        c41.intoMemorySegment(ALL, c + 4 * stride + V, ORDER);
        c42.intoMemorySegment(ALL, c + 4 * stride + 2 * V, ORDER);
        c50.intoMemorySegment(ALL, c + 5 * stride, ORDER);
        c51.intoMemorySegment(ALL, c + 5 * stride + V, ORDER);
        c52.intoMemorySegment(ALL, c + 5 * stride + 2 * V, ORDER);
    }

    private static void fma2(long a, long b, int k, long c, long stride) {
        FloatVector c00 = FloatVector.fromMemorySegment(SPECIES, ALL, c, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(SPECIES, ALL, c + V, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + V, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + V, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + V, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride, ORDER);
        FloatVector c41 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + V, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride, ORDER);
        FloatVector c51 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + V, ORDER);
        long end = a + 4L * k;
        while (a != end) {
            FloatVector b0 = FloatVector.fromMemorySegment(SPECIES, ALL, b, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(SPECIES, ALL, b + V, ORDER);
            FloatVector w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a));
            c00 = w.fma(b0, c00);
            c01 = w.fma(b1, c01);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + R));
            c10 = w.fma(b0, c10);
            c11 = w.fma(b1, c11);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 2 * R));
            c20 = w.fma(b0, c20);
            c21 = w.fma(b1, c21);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 3 * R));
            c30 = w.fma(b0, c30);
            c31 = w.fma(b1, c31);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 4 * R));
            c40 = w.fma(b0, c40);
            c41 = w.fma(b1, c41);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 5 * R));
            c50 = w.fma(b0, c50);
            c51 = w.fma(b1, c51);
            a += 4;
            b += 2 * V;
        }
        c00.intoMemorySegment(ALL, c, ORDER);
        c01.intoMemorySegment(ALL, c + V, ORDER);
        c10.intoMemorySegment(ALL, c + stride, ORDER);
        c11.intoMemorySegment(ALL, c + stride + V, ORDER);
        c20.intoMemorySegment(ALL, c + 2 * stride, ORDER);
        c21.intoMemorySegment(ALL, c + 2 * stride + V, ORDER);
        c30.intoMemorySegment(ALL, c + 3 * stride, ORDER);
        c31.intoMemorySegment(ALL, c + 3 * stride + V, ORDER);
        c40.intoMemorySegment(ALL, c + 4 * stride, ORDER);
        c41.intoMemorySegment(ALL, c + 4 * stride + V, ORDER);
        c50.intoMemorySegment(ALL, c + 5 * stride, ORDER);
        c51.intoMemorySegment(ALL, c + 5 * stride + V, ORDER);
    }

    private static void fma1(long a, long b, int k, long c, long stride) {
        FloatVector c00 = FloatVector.fromMemorySegment(SPECIES, ALL, c, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride, ORDER);
        long end = a + 4L * k;
        while (a != end) {
            FloatVector b0 = FloatVector.fromMemorySegment(SPECIES, ALL, b, ORDER);
            FloatVector w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a));
            c00 = w.fma(b0, c00);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + R));
            c10 = w.fma(b0, c10);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 2 * R));
            c20 = w.fma(b0, c20);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 3 * R));
            c30 = w.fma(b0, c30);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 4 * R));
            c40 = w.fma(b0, c40);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 5 * R));
            c50 = w.fma(b0, c50);
            a += 4;
            b += 1 * V;
        }
        c00.intoMemorySegment(ALL, c, ORDER);
        c10.intoMemorySegment(ALL, c + stride, ORDER);
        c20.intoMemorySegment(ALL, c + 2 * stride, ORDER);
        c30.intoMemorySegment(ALL, c + 3 * stride, ORDER);
        c40.intoMemorySegment(ALL, c + 4 * stride, ORDER);
        c50.intoMemorySegment(ALL, c + 5 * stride, ORDER);
    }

    private static void mulAdd2(long a, long b, int k, long c, long stride) {
        FloatVector c00 = FloatVector.fromMemorySegment(SPECIES, ALL, c, ORDER);
        FloatVector c01 = FloatVector.fromMemorySegment(SPECIES, ALL, c + V, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride, ORDER);
        FloatVector c11 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride + V, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride, ORDER);
        FloatVector c21 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride + V, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride, ORDER);
        FloatVector c31 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride + V, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride, ORDER);
        FloatVector c41 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride + V, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride, ORDER);
        FloatVector c51 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride + V, ORDER);
        long end = a + 4L * k;
        while (a != end) {
            FloatVector b0 = FloatVector.fromMemorySegment(SPECIES, ALL, b, ORDER);
            FloatVector b1 = FloatVector.fromMemorySegment(SPECIES, ALL, b + V, ORDER);
            FloatVector w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a));
            c00 = w.mul(b0).add(c00);
            c01 = w.mul(b1).add(c01);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + R));
            c10 = w.mul(b0).add(c10);
            c11 = w.mul(b1).add(c11);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 2 * R));
            c20 = w.mul(b0).add(c20);
            c21 = w.mul(b1).add(c21);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 3 * R));
            c30 = w.mul(b0).add(c30);
            c31 = w.mul(b1).add(c31);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 4 * R));
            c40 = w.mul(b0).add(c40);
            c41 = w.mul(b1).add(c41);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 5 * R));
            c50 = w.mul(b0).add(c50);
            c51 = w.mul(b1).add(c51);
            a += 4;
            b += 2 * V;
        }
        c00.intoMemorySegment(ALL, c, ORDER);
        c01.intoMemorySegment(ALL, c + V, ORDER);
        c10.intoMemorySegment(ALL, c + stride, ORDER);
        c11.intoMemorySegment(ALL, c + stride + V, ORDER);
        c20.intoMemorySegment(ALL, c + 2 * stride, ORDER);
        c21.intoMemorySegment(ALL, c + 2 * stride + V, ORDER);
        c30.intoMemorySegment(ALL, c + 3 * stride, ORDER);
        c31.intoMemorySegment(ALL, c + 3 * stride + V, ORDER);
        c40.intoMemorySegment(ALL, c + 4 * stride, ORDER);
        c41.intoMemorySegment(ALL, c + 4 * stride + V, ORDER);
        c50.intoMemorySegment(ALL, c + 5 * stride, ORDER);
        c51.intoMemorySegment(ALL, c + 5 * stride + V, ORDER);
    }

    private static void mulAdd1(long a, long b, int k, long c, long stride) {
        FloatVector c00 = FloatVector.fromMemorySegment(SPECIES, ALL, c, ORDER);
        FloatVector c10 = FloatVector.fromMemorySegment(SPECIES, ALL, c + stride, ORDER);
        FloatVector c20 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 2 * stride, ORDER);
        FloatVector c30 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 3 * stride, ORDER);
        FloatVector c40 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 4 * stride, ORDER);
        FloatVector c50 = FloatVector.fromMemorySegment(SPECIES, ALL, c + 5 * stride, ORDER);
        long end = a + 4L * k;
        while (a != end) {
            FloatVector b0 = FloatVector.fromMemorySegment(SPECIES, ALL, b, ORDER);
            FloatVector w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a));
            c00 = w.mul(b0).add(c00);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + R));
            c10 = w.mul(b0).add(c10);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 2 * R));
            c20 = w.mul(b0).add(c20);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 3 * R));
            c30 = w.mul(b0).add(c30);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 4 * R));
            c40 = w.mul(b0).add(c40);
            w = FloatVector.broadcast(SPECIES, ALL.get(FLOAT, a + 5 * R));
            c50 = w.mul(b0).add(c50);
            a += 4;
            b += 1 * V;
        }
        c00.intoMemorySegment(ALL, c, ORDER);
        c10.intoMemorySegment(ALL, c + stride, ORDER);
        c20.intoMemorySegment(ALL, c + 2 * stride, ORDER);
        c30.intoMemorySegment(ALL, c + 3 * stride, ORDER);
        c40.intoMemorySegment(ALL, c + 4 * stride, ORDER);
        c50.intoMemorySegment(ALL, c + 5 * stride, ORDER);
    }
}
