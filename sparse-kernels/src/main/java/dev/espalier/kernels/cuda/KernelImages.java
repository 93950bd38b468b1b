package dev.espalier.kernels.cuda;

import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.Nvrtc;
import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Kernels compiled for one architecture: by NVRTC, and kept on disk; where NVRTC is missing, or does not know the
/// architecture yet, the PTX that comes with us.
public final class KernelImages {
    /// Options of the compiler.
    static final List<String> OPTIONS = List.of("--std=c++17");

    /// Where an image came from.
    public enum Origin {
        /// Compiled now.
        COMPILED,
        /// Compiled earlier and found on disk.
        CACHED,
        /// Made ahead of time; the driver compiles it.
        PTX
    }

    /// A compiled file.
    @SuppressWarnings("ArrayRecordComponent")
    public record Image(byte[] bytes, Origin origin) {}

    /// The compiler that stands behind this: NVRTC, except in tests.
    interface Compiler {
        /// Its version, empty where it is missing.
        Optional<String> version();

        /// The architectures it compiles for, as in `sm_90`.
        List<String> architectures();

        /// A cubin for one of these architectures.
        byte[] compile(String name, String source, String architecture);

        /// Why it is missing.
        String whyNot();
    }

    private final Path cache;
    private final Compiler compiler;

    /// Images kept in `cache`, which is made when it is needed; a folder that cannot be written costs time, nothing else.
    public KernelImages(Path cache) {
        this(cache, new RuntimeCompiler());
    }

    KernelImages(Path cache, Compiler compiler) {
        this.cache = cache;
        this.compiler = compiler;
    }

    /// `espalier/kernels` in the user's cache folder: `XDG_CACHE_HOME`, else `.cache` at home.
    public static Path defaultCache(Map<String, String> environment, String home) {
        String caches = environment.getOrDefault("XDG_CACHE_HOME", "");
        return (caches.isBlank() ? Path.of(home, ".cache") : Path.of(caches)).resolve("espalier/kernels");
    }

    /// The image of a file for an architecture such as `sm_90`.
    ///
    /// @throws InputException if NVRTC is missing or does not know the architecture, and there is no PTX
    /// @throws dev.espalier.natives.cuda.CudaException if the file does not compile, with the compiler's log
    public Image image(KernelFile file, String architecture) {
        Optional<String> version = compiler.version();
        if (version.isEmpty()) {
            return ptx(file, "NVRTC, which compiles the GPU kernels, is missing (" + compiler.whyNot() + ")");
        }
        if (!compiler.architectures().contains(architecture)) {
            return ptx(file, "NVRTC " + version.get() + " does not compile for " + architecture);
        }
        String source = file.source();
        Path kept = cache.resolve(key(source, architecture, version.get()) + ".cubin");
        Optional<byte[]> found = read(kept);
        if (found.isPresent()) {
            return new Image(found.get(), Origin.CACHED);
        }
        byte[] cubin = compiler.compile(file.baseName() + ".cu", source, architecture);
        write(kept, cubin);
        return new Image(cubin, Origin.COMPILED);
    }

    private static Image ptx(KernelFile file, String why) {
        byte[] ptx = file.ptx()
                .orElseThrow(() -> new InputException(why + ", and this build has no PTX of " + file.baseName()
                        + "; install a newer nvidia-cuda-nvrtc or CUDA 13 toolkit."));
        return new Image(ptx, Origin.PTX);
    }

    static String key(String source, String architecture, String version) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (String part : List.of(source, String.join(" ", OPTIONS), architecture, version)) {
                digest.update(part.getBytes(StandardCharsets.UTF_8));
                digest.update((byte) 0);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // Every Java has SHA-256.
        }
    }

    /// What was kept, if it is an ELF image: a file that something else damaged is compiled anew.
    private static Optional<byte[]> read(Path kept) {
        try {
            byte[] bytes = Files.readAllBytes(kept);
            boolean elf =
                    bytes.length > 64 && bytes[0] == 0x7f && bytes[1] == 'E' && bytes[2] == 'L' && bytes[3] == 'F';
            return elf ? Optional.of(bytes) : Optional.empty();
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /// Written beside its place and moved there, so that no other process ever reads half of it.
    private void write(Path kept, byte[] cubin) {
        Path half = null;
        try {
            Files.createDirectories(cache);
            half = Files.createTempFile(cache, "half", ".cubin");
            Files.write(half, cubin);
            Files.move(half, kept, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            discard(half);
        }
    }

    private static void discard(Path half) {
        try {
            if (half != null) {
                Files.deleteIfExists(half);
            }
        } catch (IOException e) {
            half.toFile().deleteOnExit();
        }
    }

    private static final class RuntimeCompiler implements Compiler {
        @Override
        public Optional<String> version() {
            return CudaLibrary.NVRTC.version();
        }

        @Override
        public List<String> architectures() {
            return Nvrtc.architectures();
        }

        @Override
        public byte[] compile(String name, String source, String architecture) {
            return Nvrtc.compile(name, source, architecture, OPTIONS).image();
        }

        @Override
        public String whyNot() {
            return CudaLibrary.NVRTC.library().whyNot().orElse("no reason is known");
        }
    }
}
