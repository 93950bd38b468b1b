package dev.espalier.natives.os;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Locale;

/// Asks the processor to bring memory into its cache before it is read: the one instruction of a streaming kernel that
/// Java has no word for.
///
/// A load that misses the cache holds up all instructions after it once the processor's window of a few hundred is full. A
/// kernel that does much with every byte therefore has only a kilobyte or so under way, and reads at half of the
/// bandwidth. A prefetch waits for nothing. Two loops of machine code do it, 25 bytes that are placed in a page of their
/// own and called through the linker, without a thread transition. Where that cannot be (other systems and processors, a
/// system that forbids it, `-Despalier.prefetch=false`) nothing is asked for, and kernels are only slower.
public final class Prefetch {
    /// Bytes that come together.
    public static final int LINE = 64;

    /// `(long a, long linesOfA, long b, long linesOfB)`, both counts 1 or more; null where there is no such thing.
    private static final MethodHandle CODE = code();

    private Prefetch() {}

    /// Whether asking has any effect here.
    public static boolean available() {
        return CODE != null;
    }

    /// Asks for the lines from `a` to `end`, as [#ask(long, long, long, long)] does.
    public static void ask(long a, long end) {
        ask(a, end, a, a + 1);
    }

    /// Asks for the lines from `a` to `aEnd` and from `b` to `bEnd`, addresses that may lie anywhere, at least the first line
    /// of each. Nothing is read and nothing can fail; lines beyond the end of a block of memory do no harm.
    public static void ask(long a, long aEnd, long b, long bEnd) {
        if (CODE == null) {
            return;
        }
        try {
            CODE.invokeExact(a, lines(a, aEnd), b, lines(b, bEnd));
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static long lines(long from, long to) {
        return Math.max(1, to - from + LINE - 1 >> 6);
    }

    /// System V's calling convention: the arguments are in rdi, rsi, rdx, rcx, all free to be changed.
    private static byte[] machineCode() {
        int[] bytes = {
            0x0f, 0x18, 0x0f, //        prefetcht0 [rdi]
            0x48, 0x83, 0xc7, 0x40, //  add rdi, 64
            0x48, 0xff, 0xce, //        dec rsi
            0x75, 0xf4, //              jnz the first instruction
            0x0f, 0x18, 0x0a, //        prefetcht0 [rdx]
            0x48, 0x83, 0xc2, 0x40, //  add rdx, 64
            0x48, 0xff, 0xc9, //        dec rcx
            0x75, 0xf4, //              jnz the fifth instruction
            0xc3, //                    ret
        };
        byte[] code = new byte[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            code[i] = (byte) bytes[i];
        }
        return code;
    }

    private static MethodHandle code() {
        boolean wanted = !"false".equals(System.getProperty("espalier.prefetch"));
        boolean linux = System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("linux");
        if (!wanted || !linux || !System.getProperty("os.arch").equals("amd64")) {
            return null;
        }
        try {
            return link(Memory.executable(machineCode()).orElse(MemorySegment.NULL));
        } catch (Throwable e) {
            // Native access is denied.
            return null;
        }
    }

    private static MethodHandle link(MemorySegment code) {
        FunctionDescriptor four = FunctionDescriptor.ofVoid(
                ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG);
        return code.address() == 0
                ? null
                : Linker.nativeLinker().downcallHandle(code, four, Linker.Option.critical(false));
    }
}
