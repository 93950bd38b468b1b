package dev.espalier.natives;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/// The C library's own loader, for a look at a file before the virtual machine loads it for good.
///
/// `System.load` cannot be undone, and its functions would shadow those of a better file found later; `SymbolLookup` hides
/// the loader's reason; and both print a warning of their own about a file that is no library.
final class DynamicLoader {
    private static final int RTLD_LAZY = 1;
    private static final MethodHandle DLOPEN =
            handle("dlopen", FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
    private static final MethodHandle DLSYM =
            handle("dlsym", FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS));
    private static final MethodHandle DLERROR = handle("dlerror", FunctionDescriptor.of(ValueLayout.ADDRESS));
    private static final MethodHandle DLCLOSE =
            handle("dlclose", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS));

    private DynamicLoader() {}

    /// What is wrong with a file: it cannot be opened, in the loader's words, it lacks a function, or `check`, which may call
    /// its functions, has something against it. A file with nothing wrong stays open, as it is about to be loaded for good.
    static Optional<String> problem(
            Path file, List<String> requiredSymbols, Function<SymbolLookup, Optional<String>> check) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment library = open(arena, file.toString());
            if (library.address() == 0) {
                MemorySegment message = (MemorySegment) DLERROR.invokeExact();
                return Optional.of(
                        message.address() == 0
                                ? "could not be opened"
                                : message.reinterpret(Long.MAX_VALUE).getString(0));
            }
            SymbolLookup symbols = name -> symbol(library, name);
            Optional<String> problem = requiredSymbols.stream()
                    .filter(name -> symbols.find(name).isEmpty())
                    .findFirst()
                    .map(name -> "has no function " + name);
            if (problem.isEmpty()) {
                problem = check.apply(symbols);
            }
            if (problem.isPresent()) {
                int ignored = (int) DLCLOSE.invokeExact(library);
            }
            return problem;
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /// The file that the C library's loader opens for a bare name such as `libcuda.so.1`, by its own search path and cache.
    /// The library stays open.
    static Optional<Path> locate(String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment library = open(arena, name);
            if (library.address() == 0) {
                return Optional.empty();
            }
            // The loader's own record of an open file: its address, then its name (link_map of link.h).
            MemorySegment record = library.reinterpret(2 * ValueLayout.ADDRESS.byteSize());
            String path = record.get(ValueLayout.ADDRESS, ValueLayout.ADDRESS.byteSize())
                    .reinterpret(Long.MAX_VALUE)
                    .getString(0);
            return Optional.of(Path.of(path)).filter(Path::isAbsolute);
        }
    }

    private static MemorySegment open(Arena arena, String name) {
        try {
            return (MemorySegment) DLOPEN.invokeExact(arena.allocateFrom(name), RTLD_LAZY);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static Optional<MemorySegment> symbol(MemorySegment library, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment address = (MemorySegment) DLSYM.invokeExact(library, arena.allocateFrom(name));
            return address.address() == 0 ? Optional.empty() : Optional.of(address);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
    }
}
