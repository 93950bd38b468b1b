package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.espalier.kernels.cuda.KernelImages.Origin;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Where images come from, with a compiler that counts.
class KernelImagesTest {
    @TempDir
    Path cache;

    private int compiled;

    private KernelImages images(Path folder, Optional<String> version) {
        return new KernelImages(folder, new KernelImages.Compiler() {
            @Override
            public Optional<String> version() {
                return version;
            }

            @Override
            public List<String> architectures() {
                return List.of("sm_80", "sm_90");
            }

            @Override
            public byte[] compile(String name, String source, String architecture) {
                compiled++;
                byte[] elf = Arrays.copyOf(new byte[] {0x7f, 'E', 'L', 'F'}, 100);
                elf[99] = (byte) compiled;
                return elf;
            }

            @Override
            public String whyNot() {
                return "it was not found";
            }
        });
    }

    @Test
    void aSecondProcessFindsWhatTheFirstCompiled() throws IOException {
        KernelImages.Image first = images(cache, Optional.of("13.0")).image(KernelFile.NORM, "sm_90");
        KernelImages.Image second = images(cache, Optional.of("13.0")).image(KernelFile.NORM, "sm_90");
        assertEquals(List.of(Origin.COMPILED, Origin.CACHED), List.of(first.origin(), second.origin()));
        assertArrayEquals(first.bytes(), second.bytes());
        assertEquals(1, compiled);
        try (Stream<Path> files = Files.list(cache)) {
            assertEquals(1, files.count(), "nothing half-written is left");
        }
    }

    @Test
    void anotherArchitectureVersionOrSourceIsCompiledAnew() {
        images(cache, Optional.of("13.0")).image(KernelFile.NORM, "sm_90");
        images(cache, Optional.of("13.0")).image(KernelFile.NORM, "sm_80");
        images(cache, Optional.of("13.1")).image(KernelFile.NORM, "sm_90");
        images(cache, Optional.of("13.0")).image(KernelFile.ROTARY, "sm_90");
        assertEquals(4, compiled);
        assertNotEquals(KernelImages.key("ab", "c", "d"), KernelImages.key("a", "bc", "d"));
    }

    @Test
    void aDamagedFileIsCompiledAnewAndMended() throws IOException {
        images(cache, Optional.of("13.0")).image(KernelFile.NORM, "sm_90");
        try (Stream<Path> files = Files.list(cache)) {
            Files.writeString(files.findFirst().orElseThrow(), "not an image");
        }
        assertEquals(
                Origin.COMPILED,
                images(cache, Optional.of("13.0"))
                        .image(KernelFile.NORM, "sm_90")
                        .origin());
        assertEquals(
                Origin.CACHED,
                images(cache, Optional.of("13.0"))
                        .image(KernelFile.NORM, "sm_90")
                        .origin());
    }

    @Test
    void aFolderThatCannotBeWrittenOnlyCostsTime() throws IOException {
        Path file = Files.writeString(cache.resolve("file"), "");
        KernelImages images = images(file.resolve("below"), Optional.of("13.0"));
        assertEquals(Origin.COMPILED, images.image(KernelFile.NORM, "sm_90").origin());
        assertEquals(Origin.COMPILED, images.image(KernelFile.NORM, "sm_90").origin());
    }

    @Test
    void withoutTheCompilerThePtxThatComesWithUsIsTaken() {
        KernelImages.Image image = images(cache, Optional.empty()).image(KernelFile.NORM, "sm_90");
        assertEquals(Origin.PTX, image.origin());
        assertArrayEquals(KernelFile.NORM.ptx().orElseThrow(), image.bytes());
        assertEquals(0, compiled);
    }

    @Test
    void anArchitectureThatTheCompilerDoesNotKnowYetTakesThePtxToo() {
        KernelImages.Image image = images(cache, Optional.of("13.0")).image(KernelFile.NORM, "sm_130");
        assertEquals(Origin.PTX, image.origin());
        assertArrayEquals(KernelFile.NORM.ptx().orElseThrow(), image.bytes());
        assertEquals(0, compiled);
    }

    @Test
    void theCacheLiesInTheUsersCacheFolder() {
        assertEquals(Path.of("/home/me/.cache/espalier/kernels"), KernelImages.defaultCache(Map.of(), "/home/me"));
        assertEquals(
                Path.of("/caches/espalier/kernels"),
                KernelImages.defaultCache(Map.of("XDG_CACHE_HOME", "/caches"), "/home/me"));
    }
}
