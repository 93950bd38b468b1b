package dev.espalier.natives.cuda;

import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.NativeLibrary.Source;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;

/// One of CUDA's shared libraries, found and loaded when it is first asked for, or the reason why it is not there.
///
/// The constants stand in the order of loading. Several of these libraries open others by bare name, which the system's
/// loader finds only because the other one is loaded already; that is why asking for one loads those before it that it may want.
public enum CudaLibrary {
    /// The driver's own library, which comes with the driver and not with CUDA; the others find it through the loader.
    DRIVER("cuda", List.of("libcuda.so.1"), "", List.of("cuInit"), Version.NONE),
    /// The runtime: devices, memory, streams, graphs, launches.
    CUDART(
            "cudart",
            List.of("libcudart.so.13"),
            "",
            List.of("cudaMalloc", "cudaLibraryLoadData", "cudaLibraryGetKernel"),
            new Version("cudaRuntimeGetVersion", Version.Form.THOUSANDS, 13, 0, 0),
            DRIVER),
    /// The compiler of kernels, with the file of built-in functions that it opens by bare name.
    NVRTC(
            "nvrtc",
            List.of("libnvrtc.so.13"),
            "libnvrtc-builtins.so.13*",
            List.of("nvrtcCompileProgram", "nvrtcGetCUBIN"),
            new Version("nvrtcVersion", Version.Form.TWO_POINTERS, 13, 0, 0)),
    /// The linker of compiled kernels that cuSPARSE leans on.
    NVJITLINK("nvJitLink", List.of("libnvJitLink.so.13"), "", List.of(), Version.NONE),
    /// Matrix products with a choice among algorithms.
    CUBLASLT(
            "cublasLt",
            List.of("libcublasLt.so.13"),
            "",
            List.of("cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic"),
            new Version("cublasLtGetProperty", Version.Form.PROPERTY, 13, 0, 0),
            CUDART,
            NVRTC),
    /// Dense linear algebra.
    CUBLAS(
            "cublas",
            List.of("libcublas.so.13"),
            "",
            List.of("cublasCreate_v2", "cublasGemmEx"),
            new Version("cublasGetProperty", Version.Form.PROPERTY, 13, 0, 0),
            CUBLASLT),
    /// Sparse matrices. The file has the same name in CUDA 12, whose last one is 12.5.
    CUSPARSE(
            "cusparse",
            List.of("libcusparse.so.12"),
            "",
            List.of("cusparseCreate", "cusparseSpMM", "cusparseSpMV"),
            new Version("cusparseGetProperty", Version.Form.PROPERTY, 12, 6, 0),
            CUDART,
            NVJITLINK),
    /// Factorizations, inverses and eigenvalues.
    CUSOLVER(
            "cusolver",
            List.of("libcusolver.so.12"),
            "",
            List.of("cusolverDnCreate", "cusolverDnXpotrf"),
            new Version("cusolverGetProperty", Version.Form.PROPERTY, 12, 0, 0),
            CUBLAS,
            CUSPARSE),
    /// Products with matrices in 2:4 pattern. 0.8.0 computes the same, but slowly on an H100: [#warning] says so.
    CUSPARSELT(
            "cusparseLt",
            List.of("libcusparseLt.so.0"),
            "",
            List.of("cusparseLtInit", "cusparseLtMatmulAlgSelectionDestroy"),
            new Version("cusparseLtGetProperty", Version.Form.PROPERTY, 0, 8, 0),
            CUDART,
            NVRTC);

    private static final Map<CudaLibrary, NativeLibrary> LOADED = new EnumMap<>(CudaLibrary.class);

    private final String baseName;
    private final List<String> fileNames;
    private final String companion;
    private final List<String> requiredSymbols;
    private final Version oldest;
    private final List<CudaLibrary> before;

    CudaLibrary(
            String baseName,
            List<String> fileNames,
            String companion,
            List<String> requiredSymbols,
            Version oldest,
            CudaLibrary... before) {
        this.baseName = baseName;
        this.fileNames = fileNames;
        this.companion = companion;
        this.requiredSymbols = requiredSymbols;
        this.oldest = oldest;
        this.before = List.of(before);
    }

    /// File base of the library, as in `cusparseLt`.
    public String baseName() {
        return baseName;
    }

    /// The library: loaded at the first call, or the reason why it is not there. Never throws.
    ///
    /// Looks at `-Despalier.cuda.path`, `ESPALIER_CUDA_PATH`, `LD_LIBRARY_PATH`, `CUDA_PATH`, `CUDA_HOME`, `VIRTUAL_ENV`,
    /// `CONDA_PREFIX`, the toolkit's usual folders, Python's packages and the system's folders, in this order.
    public NativeLibrary library() {
        // What is loaded stays loaded in the whole process, so two must not search at once.
        synchronized (LOADED) {
            NativeLibrary library = LOADED.get(this);
            if (library == null) {
                library = load(System.getenv(), System.getProperties());
                LOADED.put(this, library);
            }
            return library;
        }
    }

    /// The version that the loaded library tells, as in `13.1.1`; empty if it is not there or tells none.
    public Optional<String> version() {
        return library().found() ? oldest.of(SymbolLookup.loaderLookup()).map(Version::text) : Optional.empty();
    }

    /// What is wrong with the loaded library although it can be used, as a clause with a remedy; empty if nothing is.
    public Optional<String> warning() {
        boolean slow = this == CUSPARSELT && version().equals(Optional.of("0.8.0"));
        return slow
                ? Optional.of(
                        "cuSPARSELt 0.8.0 is slow on an H100; 0.8.1 is not (pip install -U nvidia-cusparselt-cu13)")
                : Optional.empty();
    }

    /// The library, which is there.
    ///
    /// @throws CudaException if it is not, with the reason
    void require() {
        NativeLibrary library = library();
        if (!library.found()) {
            throw new CudaException(
                    "loading " + baseName,
                    -1,
                    "library not found",
                    library.whyNot().orElse("no reason is known"));
        }
    }

    private NativeLibrary load(Map<String, String> env, Properties properties) {
        String os = properties.getProperty("os.name", "");
        String arch = properties.getProperty("os.arch", "");
        if (!os.equals("Linux") || !arch.equals("amd64")) {
            return NativeLibrary.absent(
                    baseName, "the bindings to it, which are for Linux on x86-64 (this is " + os + " on " + arch + ")");
        }
        for (CudaLibrary other : before) {
            NativeLibrary tried = other.library(); // Absent, it may still not be needed.
            assert tried != null;
        }
        return NativeLibrary.load(baseName, requiredSymbols, oldest::problem, sources(env, properties));
    }

    List<Source> sources(Map<String, String> env, Properties properties) {
        List<Source> sources = new ArrayList<>(CudaSearch.sources(env, properties, fileNames, companion));
        if (this == DRIVER) {
            // The folders that somebody named, then the loader, which alone knows where a container put the driver.
            int named =
                    (int) sources.stream().filter(s -> s.place().contains("=")).count();
            sources.add(named, Source.loader(fileNames.getFirst()));
        }
        return sources;
    }

    /// A version, and how a library tells it.
    record Version(String function, Form form, int major, int minor, int patch) {
        static final Version NONE = new Version("", Form.UNTOLD, 0, 0, 0);

        /// The ways in which CUDA's libraries tell their versions.
        enum Form {
            UNTOLD,
            /// `f(int*)`: 13 thousands and 10 for each minor one.
            THOUSANDS,
            /// `f(int* major, int* minor)`.
            TWO_POINTERS,
            /// `f(0 or 1 or 2, int*)`: major, minor, patch.
            PROPERTY
        }

        /// What is wrong with a library's version; empty if nothing is.
        Optional<String> problem(SymbolLookup library) {
            if (form == Form.UNTOLD) {
                return Optional.empty();
            }
            Optional<Version> found = of(library);
            if (found.isEmpty()) {
                return Optional.of("does not tell its version through " + function);
            }
            Version version = found.get();
            boolean newEnough = version.major == major
                    && (version.minor > minor || (version.minor == minor && version.patch >= patch));
            return newEnough
                    ? Optional.empty()
                    : Optional.of("has version " + version.text() + ", needed is " + major + "." + minor
                            + (patch > 0 ? "." + patch : "") + " or newer within " + major + ".x");
        }

        String text() {
            return form == Form.PROPERTY ? major + "." + minor + "." + patch : major + "." + minor;
        }

        /// The version that a library tells; empty if it does not.
        Optional<Version> of(SymbolLookup library) {
            if (form == Form.UNTOLD) {
                return Optional.empty();
            }
            Optional<MemorySegment> address = library.find(function);
            if (address.isEmpty()) {
                return Optional.empty();
            }
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment numbers = arena.allocate(ValueLayout.JAVA_INT, 3);
                int status = switch (form) {
                    case UNTOLD -> -1;
                    case THOUSANDS -> call(address.get(), numbers);
                    case TWO_POINTERS -> call(address.get(), numbers, numbers.asSlice(Integer.BYTES));
                    case PROPERTY -> properties(address.get(), numbers);
                };
                if (status != 0) {
                    return Optional.empty();
                }
                int first = numbers.getAtIndex(ValueLayout.JAVA_INT, 0);
                if (form == Form.THOUSANDS) {
                    return Optional.of(new Version(function, form, first / 1000, first % 1000 / 10, first % 10));
                }
                return Optional.of(new Version(
                        function,
                        form,
                        first,
                        numbers.getAtIndex(ValueLayout.JAVA_INT, 1),
                        numbers.getAtIndex(ValueLayout.JAVA_INT, 2)));
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }

        private static int call(MemorySegment function, MemorySegment pointer) throws Throwable {
            return (int) Linker.nativeLinker()
                    .downcallHandle(function, FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS))
                    .invokeExact(pointer);
        }

        private static int call(MemorySegment function, MemorySegment first, MemorySegment second) throws Throwable {
            return (int) Linker.nativeLinker()
                    .downcallHandle(
                            function,
                            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS))
                    .invokeExact(first, second);
        }

        private static int properties(MemorySegment function, MemorySegment numbers) throws Throwable {
            var handle = Linker.nativeLinker()
                    .downcallHandle(
                            function,
                            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS));
            int status = 0;
            for (int i = 0; i < 3 && status == 0; i++) {
                status = (int) handle.invokeExact(i, numbers.asSlice((long) i * Integer.BYTES, Integer.BYTES));
            }
            return status;
        }
    }
}
