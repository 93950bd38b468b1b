package dev.espalier.kernels.simd;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.lang.ref.Reference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// What a kernel has to tell HotSpot, and ask it, so that its vector code is compiled as meant.
///
/// The virtual machine offers these as operations of two platform beans. On another virtual machine, or where they are
/// switched off, nothing is said and the kernels run as they are.
public final class CompilerHints {
    private static final boolean FMA = !"false".equals(option("UseFMA"));

    private CompilerHints() {}

    /// Bits of the vectors that the kernels compute with.
    public static int vectorBits() {
        return FloatVector.SPECIES_PREFERRED.vectorBitSize();
    }

    /// Keeps the methods of `classes` away from the client compiler C1: it cannot compile large unrolled vector loops ("out
    /// of virtual registers"), and a method on which it has failed may stay interpreted for good, a hundred times slower.
    /// Interpreted code then waits for C2, which is asked once: what stays interpreted meanwhile would be a hundred times slower,
    /// and would have the vectors' own methods compiled before the kernel, for nothing. To be called before the methods
    /// run, as from their class' initialiser.
    public static void excludeFromC1(Class<?>... classes) {
        loadHierarchies();
        String patterns = Arrays.stream(classes)
                .map(c -> '"' + c.getName().replace('.', '/') + ".*\"")
                .collect(Collectors.joining(", "));
        Path file = null;
        try {
            file = Files.createTempFile("espalier-compiler", ".json");
            Files.writeString(
                    file, "[{ match: [" + patterns + "], BackgroundCompilation: false, c1: { Exclude: true } }]\n");
            server().invoke(
                            new ObjectName("com.sun.management:type=DiagnosticCommand"),
                            "compilerDirectivesAdd",
                            new Object[] {new String[] {file.toString()}},
                            new String[] {String[].class.getName()});
        } catch (JMException | IOException e) {
            // Only the first second is slower without it.
        } finally {
            delete(file);
        }
    }

    /// Loads every kind of memory segment and of vector, so that no kernel is compiled before.
    ///
    /// HotSpot assumes that a class without a loaded subclass has none. When the first heap segment was made, seconds after
    /// the first product, all compiled kernels were thrown away for it; what C2 then made of [MicroKernel] kept its
    /// accumulators in objects, and the whole process ran at a fifth of its speed, in about every third start.
    public static void loadHierarchies() {
        Hierarchies.load();
    }

    /// Does in a thread of its own what takes a while before the first kernel can be compiled: the beans take a quarter of a
    /// second to start, and there are two hundred classes of vectors.
    public static void prepare() {
        if (VectorCheck.moduleMissing()) {
            return;
        }
        Thread.ofPlatform().daemon().name("espalier-compiler-hints").start(() -> {
            server();
            loadHierarchies();
        });
    }

    /// Whether a fused multiply-add is one instruction here. Where it is not, Java computes it exactly in software, some
    /// thousand times slower, so kernels multiply and add instead.
    public static boolean fma() {
        return FMA;
    }

    /// The value of the virtual machine's option `name`, null where it does not tell.
    static String option(String name) {
        try {
            HotSpotDiagnosticMXBean bean = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
            return bean == null ? null : bean.getVMOption(name).getValue();
        } catch (RuntimeException e) {
            return null; // another virtual machine, or an option that it has not
        }
    }

    private static MBeanServer server() {
        return ManagementFactory.getPlatformMBeanServer();
    }

    private static void delete(Path file) {
        try {
            if (file != null) {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            file.toFile().deleteOnExit();
        }
    }

    /// Loaded once, by its initialiser.
    private static final class Hierarchies {
        static {
            List<Object> made = new ArrayList<>();
            made.add(MemorySegment.ofArray(new byte[1]));
            made.add(MemorySegment.ofArray(new short[1]));
            made.add(MemorySegment.ofArray(new char[1]));
            made.add(MemorySegment.ofArray(new int[1]));
            made.add(MemorySegment.ofArray(new long[1]));
            made.add(MemorySegment.ofArray(new float[1]));
            made.add(MemorySegment.ofArray(new double[1]));
            try {
                made.add(Class.forName("jdk.internal.foreign.MappedMemorySegmentImpl"));
            } catch (ClassNotFoundException e) {
                // It is called otherwise in this version of Java, and will be loaded with the first mapped file.
            }
            for (Class<?> element :
                    List.of(byte.class, short.class, int.class, long.class, float.class, double.class)) {
                for (VectorShape shape : VectorShape.values()) {
                    VectorSpecies<?> species = VectorSpecies.of(element, shape);
                    made.add(species.zero());
                    made.add(species.maskAll(true));
                    made.add(VectorShuffle.iota(species, 0, 1, true));
                }
            }
            Reference.reachabilityFence(made);
        }

        private Hierarchies() {}

        static void load() {}
    }
}
