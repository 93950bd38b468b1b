package dev.espalier.natives;

import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// The C library's own loader, for a look at a file before the virtual machine loads it for good.
///
/// `System.load` cannot be undone, and its functions would shadow those of a better file found later; `SymbolLookup` hides
/// the loader's reason; and both print a warning of their own about a file that is no library.
final class DynamicLoader {
    private static final int RTLD_LAZY = 1;

    private DynamicLoader() {}

    /// What is wrong with a file: it cannot be opened, in the loader's words, or it lacks a function.
    static Optional<String> problem(Path file, List<String> requiredSymbols) {
        Linker linker = Linker.nativeLinker();
        AddressLayout pointer = ValueLayout.ADDRESS;
        try (Arena arena = Arena.ofConfined()) {
            MethodHandle dlopen =
                    handle(linker, "dlopen", FunctionDescriptor.of(pointer, pointer, ValueLayout.JAVA_INT));
            MethodHandle dlsym = handle(linker, "dlsym", FunctionDescriptor.of(pointer, pointer, pointer));
            MethodHandle dlerror = handle(linker, "dlerror", FunctionDescriptor.of(pointer));
            MethodHandle dlclose = handle(linker, "dlclose", FunctionDescriptor.of(ValueLayout.JAVA_INT, pointer));
            MemorySegment library = (MemorySegment) dlopen.invokeExact(arena.allocateFrom(file.toString()), RTLD_LAZY);
            if (library.address() == 0) {
                MemorySegment message = (MemorySegment) dlerror.invokeExact();
                return Optional.of(
                        message.address() == 0
                                ? "could not be opened"
                                : message.reinterpret(Long.MAX_VALUE).getString(0));
            }
            try {
                for (String symbol : requiredSymbols) {
                    MemorySegment address = (MemorySegment) dlsym.invokeExact(library, arena.allocateFrom(symbol));
                    if (address.address() == 0) {
                        return Optional.of("has no function " + symbol);
                    }
                }
                return Optional.empty();
            } finally {
                int ignored = (int) dlclose.invokeExact(library);
            }
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static MethodHandle handle(Linker linker, String name, FunctionDescriptor descriptor) {
        return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
    }
}
