package dev.espalier.natives;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;

/// One shared library: where it was found and loaded, or why it was not.
///
/// Loading never throws and never happens at class initialisation: a missing library is a value with a reason that a user
/// can act on. A file that is there but cannot be used (not a library, a dependency of its own missing, functions missing)
/// does not end the search; what was wrong with it is kept, in the loader's own words.
public final class NativeLibrary {
    /// A file that may be the library.
    ///
    /// @param origin who named it, as a user would say it: `LD_LIBRARY_PATH`
    /// @param file the library's file
    /// @param dependencies libraries to load first, in this order
    public record Candidate(String origin, Path file, List<Path> dependencies) {
        public Candidate {
            dependencies = List.copyOf(dependencies);
        }

        public Candidate(String origin, Path file) {
            this(origin, file, List.of());
        }
    }

    /// A file that was there and could not be used.
    public record Rejected(Candidate candidate, String reason) {
        @Override
        public String toString() {
            return candidate.file() + " (" + candidate.origin() + "): " + reason;
        }
    }

    private final String name;
    private final Candidate loaded;
    private final List<Rejected> rejected;
    private final List<String> searched;

    private NativeLibrary(String name, Candidate loaded, List<Rejected> rejected, List<String> searched) {
        this.name = name;
        this.loaded = loaded;
        this.rejected = List.copyOf(rejected);
        this.searched = List.copyOf(searched);
    }

    /// A library that cannot exist here, for the given reason.
    public static NativeLibrary absent(String name, String reason) {
        return new NativeLibrary(name, null, List.of(), List.of(reason));
    }

    /// Tries the sources in their order and loads the first file that can be used, for this class loader and for good.
    ///
    /// @param name file base, as in `openblas`
    /// @param requiredSymbols functions without which a file does not count; checked before it is loaded
    /// @param sources asked one after the other, only as long as nothing was found
    public static NativeLibrary load(String name, List<String> requiredSymbols, List<Source> sources) {
        return load(name, requiredSymbols, library -> Optional.empty(), sources);
    }

    /// As [#load(String,List,List)], with a say about each file before it is loaded: a version that is too old, for example.
    ///
    /// @param check what is wrong with a library whose functions it may call; empty if nothing is
    public static NativeLibrary load(
            String name,
            List<String> requiredSymbols,
            Function<SymbolLookup, Optional<String>> check,
            List<Source> sources) {
        List<Rejected> rejected = new ArrayList<>();
        List<String> searched = new ArrayList<>();
        for (Source source : sources) {
            List<Candidate> candidates;
            try {
                candidates = source.candidates().get();
            } catch (RuntimeException e) {
                searched.add(source.place() + " (" + e.getMessage() + ")");
                continue;
            }
            boolean any = false;
            for (Candidate candidate : candidates) {
                if (Files.exists(candidate.file())) {
                    any = true;
                    Optional<String> problem = tryLoad(candidate, requiredSymbols, check);
                    if (problem.isEmpty()) {
                        return new NativeLibrary(name, candidate, rejected, searched);
                    }
                    rejected.add(new Rejected(candidate, problem.get()));
                }
            }
            if (!any) {
                searched.add(source.place());
            }
        }
        return new NativeLibrary(name, null, rejected, searched);
    }

    /// Loads one file, or says what is wrong with it.
    private static Optional<String> tryLoad(
            Candidate candidate, List<String> requiredSymbols, Function<SymbolLookup, Optional<String>> check) {
        try {
            for (Path dependency : candidate.dependencies()) {
                System.load(dependency.toAbsolutePath().toString());
            }
            Path file = candidate.file().toRealPath();
            Optional<String> problem = DynamicLoader.problem(file, requiredSymbols, check);
            if (problem.isPresent()) {
                return Optional.of(oneLine(problem.get(), file));
            }
            System.load(file.toString());
            return Optional.empty();
        } catch (UnsatisfiedLinkError | IOException | RuntimeException e) {
            return Optional.of(oneLine(e.getMessage(), candidate.file()));
        }
    }

    private static String oneLine(String message, Path file) {
        if (message == null) {
            return "could not be loaded";
        }
        String text = message.lines().findFirst().orElse("could not be loaded").strip();
        // The loader says "PATH: PATH: reason".
        for (String prefix : List.of(file + ": ", file.toAbsolutePath() + ": ")) {
            while (text.startsWith(prefix)) {
                text = text.substring(prefix.length());
            }
        }
        return text;
    }

    /// File base of the library, as in `openblas`.
    public String name() {
        return name;
    }

    /// Whether the library is loaded.
    public boolean found() {
        return loaded != null;
    }

    /// The loaded file; empty if there is none.
    public Optional<Path> where() {
        return Optional.ofNullable(loaded).map(Candidate::file);
    }

    /// Who named the loaded file: an environment variable, a folder of the system, the jar that comes with Espalier.
    public Optional<String> origin() {
        return Optional.ofNullable(loaded).map(Candidate::origin);
    }

    /// Files that were there, came first and could not be used.
    public List<Rejected> rejected() {
        return rejected;
    }

    /// Why the library is not there, or what had to be skipped before a usable file; empty if nothing went wrong.
    public Optional<String> whyNot() {
        String broken =
                String.join("; ", rejected.stream().map(Rejected::toString).toList());
        if (found()) {
            return rejected.isEmpty() ? Optional.empty() : Optional.of("skipped " + broken);
        }
        String places = searchedPlaces();
        return Optional.of(broken.isEmpty() ? places : places.isEmpty() ? broken : broken + "; " + places);
    }

    /// Where no file of the library was, as in `not in LD_LIBRARY_PATH, the system's folders`; empty if it was looked for nowhere.
    public String searchedPlaces() {
        return searched.isEmpty() ? "" : "not in " + String.join(", ", searched);
    }

    @Override
    public String toString() {
        return name + ": " + where().map(p -> p + " (" + loaded.origin() + ")").orElseGet(() -> whyNot().orElseThrow());
    }

    /// A place to look in, asked for its files only when its turn comes.
    ///
    /// @param place the place as a user would say it, for the sentence about where nothing was
    /// @param candidates the files that may be there; a failure's message goes into that sentence
    public record Source(String place, Supplier<List<Candidate>> candidates) {
        /// A path from a variable or property, which names the library's file or its folder.
        public static Source explicit(String origin, String value, List<String> fileNames) {
            return new Source(origin + "=" + value, () -> {
                Path path = Path.of(value);
                if (Files.isDirectory(path)) {
                    return in(origin, path, fileNames);
                }
                if (!Files.exists(path)) {
                    throw new IllegalStateException("no such file");
                }
                return List.of(new Candidate(origin, path));
            });
        }

        /// The folders of a search path, in their order.
        public static Source searchPath(String origin, String value, List<String> fileNames) {
            return folders(
                    origin,
                    Arrays.stream(value.split(File.pathSeparator))
                            .filter(s -> !s.isBlank())
                            .map(Path::of)
                            .toList(),
                    fileNames);
        }

        /// Folders, in their order.
        public static Source folders(String origin, List<Path> folders, List<String> fileNames) {
            return new Source(
                    origin,
                    () -> folders.stream()
                            .flatMap(folder -> in(origin, folder, fileNames).stream())
                            .toList());
        }

        /// The file that the system's loader opens for a bare name.
        public static Source loader(String fileName) {
            String origin = "the system's loader";
            return new Source(
                    origin,
                    () -> DynamicLoader.locate(fileName)
                            .map(file -> List.of(new Candidate(origin, file)))
                            .orElse(List.of()));
        }

        private static List<Candidate> in(String origin, Path folder, List<String> fileNames) {
            return fileNames.stream()
                    .map(file -> new Candidate(origin, folder.resolve(file)))
                    .toList();
        }
    }
}
