package dev.espalier.checkpoint;

import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Stream;

/// A folder that appears under its name only when it is complete.
///
/// Until then its files lie in `NAME.partial` beside it, locked against a second writer. [#publish] forces them to the
/// disk and renames the folder; whatever else ends the work, Ctrl-C included, removes it, all but the subfolder [#KEPT] if
/// there is something in it: what a later run can go on from.
final class OutputFolder implements AutoCloseable {
    /// The subfolder that outlives work that failed, and is gone when it is complete.
    static final String KEPT = "journal";

    private static final String LOCK = ".espalier-lock";

    private final Path target;
    private final Path partial;
    private final FileChannel lock;
    private final Thread hook = new Thread(this::abandon, "espalier-output-cleanup");
    private boolean done;

    private OutputFolder(Path target, Path partial, FileChannel lock) {
        this.target = target;
        this.partial = partial;
        this.lock = lock;
    }

    /// Prepares `NAME.partial` for the folder `out`.
    ///
    /// @param resume whether what an earlier run kept stays
    /// @throws InputException if `out` is taken, or somebody else is writing it
    static OutputFolder open(Path out, boolean resume) throws IOException {
        requireFree(out);
        Path target = target(out);
        Path partial = partial(out);
        FileChannel lock = null;
        try {
            Files.createDirectories(partial);
            requireOurs(partial);
            lock = FileChannel.open(partial.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            if (!locked(lock)) {
                throw new InputException("Somebody else is writing " + out + " (" + partial
                        + " is locked); wait for it, or give another folder.");
            }
            OutputFolder folder = new OutputFolder(target, partial, lock);
            folder.clear(false, resume);
            Runtime.getRuntime().addShutdownHook(folder.hook);
            return folder;
        } catch (AccessDeniedException | FileAlreadyExistsException e) {
            close(lock);
            throw new InputException(out + " cannot be written (" + reason(e) + "); give another folder.", e);
        } catch (IOException | RuntimeException e) {
            close(lock);
            throw e;
        }
    }

    /// Checks that `out` can become an output folder: it is not there, or an empty folder.
    ///
    /// @throws InputException if it is not
    static void requireFree(Path out) throws IOException {
        if (!Files.exists(out)) {
            return;
        }
        if (!Files.isDirectory(out)) {
            throw new InputException(out + " is a file, not a folder; give another name.");
        }
        try (Stream<Path> files = Files.list(out)) {
            if (files.findAny().isPresent()) {
                throw new InputException("The folder " + out + " is not empty; give another one, or empty it.");
            }
        }
    }

    /// Removes what is left in the published folder `out` of a process that was killed right after publishing it.
    static void tidy(Path out) throws IOException {
        remove(out.resolve(KEPT), file -> false);
        Files.deleteIfExists(out.resolve(LOCK));
    }

    private static Path target(Path out) throws IOException {
        Path target =
                Files.exists(out) ? out.toRealPath() : out.toAbsolutePath().normalize();
        if (target.getFileName() == null) {
            throw new InputException(out + " cannot be an output folder.");
        }
        return target;
    }

    /// The folder in which `out` is prepared.
    static Path partial(Path out) throws IOException {
        Path target = target(out);
        return target.resolveSibling(target.getFileName() + ".partial");
    }

    /// Whether something outlives this work if it fails now.
    boolean keeps() {
        String[] kept = partial.resolve(KEPT).toFile().list();
        return kept != null && kept.length > 0;
    }

    /// Where the files are written.
    Path path() {
        return partial;
    }

    /// Forces everything to the disk and gives the folder its name.
    synchronized void publish() throws IOException {
        if (done) {
            throw new IOException("writing " + target + " was interrupted");
        }
        try (Stream<Path> files = Files.list(partial)) {
            for (Path file : (Iterable<Path>) files.filter(Files::isRegularFile)::iterator) {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.force(true);
                }
            }
        }
        lock.close();
        // The lock's file goes with the folder: without it, what a kill between two steps leaves would be nobody's.
        Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
        done = true;
        tidy(target);
        // The new name itself must survive a crash; not every system lets a folder be opened for that.
        try (FileChannel parent = FileChannel.open(target.getParent(), StandardOpenOption.READ)) {
            parent.force(true);
        } catch (IOException e) {
            return;
        } finally {
            unhook();
        }
    }

    /// Removes the partial folder unless it was published.
    @Override
    public synchronized void close() {
        abandon();
        unhook();
    }

    private synchronized void abandon() {
        if (done) {
            return;
        }
        done = true;
        close(lock);
        try {
            clear(true, keeps());
        } catch (IOException e) {
            // Leftovers under the partial name harm nobody: the next writer clears them.
            return;
        }
    }

    private void clear(boolean folderToo, boolean keep) throws IOException {
        Path kept = partial.resolve(KEPT);
        remove(
                partial,
                file -> keep && file.startsWith(kept)
                        || (!folderToo || keep) && (file.equals(partial) || file.endsWith(LOCK)));
    }

    /// Removes `folder` and all in it but what is `spared`.
    private static void remove(Path folder, Predicate<Path> spared) throws IOException {
        if (!Files.exists(folder)) {
            return;
        }
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                if (!spared.test(file)) {
                    Files.deleteIfExists(file);
                }
            }
        }
    }

    private void unhook() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The machine is going down and runs the hook, which finds nothing left to do.
            return;
        }
    }

    /// A folder that happens to have the partial name is not cleared: only one with our lock file or an empty one is.
    private static void requireOurs(Path partial) throws IOException {
        List<Path> files;
        try (Stream<Path> listed = Files.list(partial)) {
            files = listed.toList();
        }
        if (!files.isEmpty() && !Files.exists(partial.resolve(LOCK))) {
            throw new InputException(partial + ", where the output is prepared, holds files of somebody else;"
                    + " remove them or give another folder.");
        }
    }

    private static boolean locked(FileChannel channel) throws IOException {
        try {
            FileLock taken = channel.tryLock();
            return taken != null;
        } catch (OverlappingFileLockException e) {
            return false;
        }
    }

    private static void close(FileChannel channel) {
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (IOException e) {
            // A lock file that cannot be closed is released when the process ends.
            return;
        }
    }

    private static String reason(FileSystemException e) {
        return e.getReason() == null
                ? e instanceof AccessDeniedException ? "access denied" : "a file is in the way"
                : e.getReason();
    }
}
