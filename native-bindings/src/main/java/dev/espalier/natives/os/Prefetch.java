package dev.espalier.natives.os;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Locale;

/// Asks the processor to bring memory into its cache before it is read: the one instruction of a streaming kernel that
/// Java has no word for.
///
/// A load that misses the cache holds up all instructions after it once the processor's window of a few hundred is full. A
/// kernel that does much with every byte therefore has only a kilobyte or so under way, and reads at half of the
/// bandwidth. A prefetch waits for nothing. Some loops of machine code do it, a few dozen bytes that are placed in a page
/// of their own and called through the linker, without a thread transition. Where that cannot be (other systems and
/// processors, a system that forbids it, `-Despalier.prefetch=false`) nothing is asked for, and kernels are only slower.
///
/// The processor asks for lines by itself where it sees a stream, but only up to the end of a page of 4 KiB, whatever the
/// system's pages are: at the start of each it has to see the stream anew. So one line of a page ahead is worth more
/// than all the others.
public final class Prefetch {
    /// Bytes that come together.
    public static final int LINE = 64;

    /// Bytes at whose end the processor's own prefetching stops.
    public static final int PAGE = 4096;

    /// System V's calling convention: the arguments are in rdi, rsi, rdx, rcx, r8, r9, all free to be changed.
    private static final int[] LINES_CODE = {
        0x41, 0x0f, 0x18, 0x08, //  prefetcht0 [r8]
        0x41, 0x0f, 0x18, 0x09, //  prefetcht0 [r9]
        0x0f, 0x18, 0x0f, //        prefetcht0 [rdi]
        0x48, 0x83, 0xc7, 0x40, //  add rdi, 64
        0x48, 0xff, 0xce, //        dec rsi
        0x75, 0xf4, //              jnz the third instruction
        0x0f, 0x18, 0x0a, //        prefetcht0 [rdx]
        0x48, 0x83, 0xc2, 0x40, //  add rdx, 64
        0x48, 0xff, 0xc9, //        dec rcx
        0x75, 0xf4, //              jnz the seventh instruction
        0xc3, //                    ret
    };

    private static final int[] PAGES_CODE = {
        0x0f, 0x18, 0x0f, //        prefetcht0 [rdi]
        0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, // add rdi, 4096
        0x48, 0xff, 0xce, //        dec rsi
        0x75, 0xf1, //              jnz the first instruction
        0xc3, //                    ret
    };

    /// `(long a, long linesOfA, long b, long linesOfB, long pageOfA, long pageOfB)`, both counts 1 or more; null where there
    /// is no such thing.
    private static final MethodHandle LINES = code(LINES_CODE, 6);

    /// `(long first, long pages)`, 1 or more; null where there is no such thing.
    private static final MethodHandle PAGES = code(PAGES_CODE, 2);

    private Prefetch() {}

    /// Whether asking has any effect here.
    public static boolean available() {
        return LINES != null && PAGES != null;
    }

    /// Asks for the lines from `a` to `end`, as [#ask(long, long, long, long)] does.
    public static void ask(long a, long end) {
        ask(a, end, a, a + 1);
    }

    /// Asks for the lines from `a` to `aEnd` and from `b` to `bEnd`, addresses that may lie anywhere, at least the first line
    /// of each, and for the first line of the page after each. Nothing is read and nothing can fail; lines beyond the end of
    /// a block of memory do no harm.
    public static void ask(long a, long aEnd, long b, long bEnd) {
        if (LINES == null) {
            return;
        }
        try {
            LINES.invokeExact(a, lines(a, aEnd), b, lines(b, bEnd), nextPage(aEnd), nextPage(bEnd));
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /// Asks for the first line of each page that begins from `from` on and before `end`, and at least of one. Nothing is
    /// read and nothing can fail.
    public static void pages(long from, long end) {
        if (PAGES == null) {
            return;
        }
        long first = nextPage(from);
        try {
            PAGES.invokeExact(first, Math.max(1, (nextPage(end) - first) / PAGE));
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static long nextPage(long address) {
        return address + PAGE - 1 & -PAGE;
    }

    private static long lines(long from, long to) {
        return Math.max(1, to - from + LINE - 1 >> 6);
    }

    private static MethodHandle code(int[] instructions, int arguments) {
        boolean wanted = !"false".equals(System.getProperty("espalier.prefetch"));
        boolean linux = System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("linux");
        if (!wanted || !linux || !System.getProperty("os.arch").equals("amd64")) {
            return null;
        }
        byte[] code = new byte[instructions.length];
        for (int i = 0; i < code.length; i++) {
            code[i] = (byte) instructions[i];
        }
        try {
            return link(Memory.executable(code).orElse(MemorySegment.NULL), arguments);
        } catch (Throwable e) {
            // Native access is denied.
            return null;
        }
    }

    private static MethodHandle link(MemorySegment code, int arguments) {
        MemoryLayout[] longs = new MemoryLayout[arguments];
        Arrays.fill(longs, ValueLayout.JAVA_LONG);
        return code.address() == 0
                ? null
                : Linker.nativeLinker()
                        .downcallHandle(code, FunctionDescriptor.ofVoid(longs), Linker.Option.critical(false));
    }
}
