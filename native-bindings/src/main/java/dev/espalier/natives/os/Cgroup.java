package dev.espalier.natives.os;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/// The limits of the control groups that this process is in, version 2 or 1, over all ancestors: the tightest one rules.
///
/// Reads files only, below a root that tests replace. A container's own view often starts at its group, so a path out of
/// `/proc/self/cgroup` that does not exist below the mount point means the mount point itself.
final class Cgroup {
    private final Path root;

    /// Below which the system's files are read: `/`, or the folder that the system property `espalier.os.root` names, by
    /// which tests show whole commands another machine.
    static Path systemRoot() {
        return Path.of(System.getProperty("espalier.os.root", "/"));
    }

    Cgroup(Path root) {
        this.root = root;
    }

    /// Bytes that the groups allow, and those that are in use and cannot be dropped.
    record MemoryLimit(long limit, long used) {
        long free() {
            return Math.max(0, limit - used);
        }
    }

    /// The group that leaves the least memory; empty without a limit.
    Optional<MemoryLimit> memory() {
        MemoryLimit tightest = null;
        for (Path group : groups("memory")) {
            boolean unified = Files.exists(group.resolve("memory.max"));
            OptionalLong limit = number(group.resolve(unified ? "memory.max" : "memory.limit_in_bytes"));
            // Version 1 writes "no limit" as the largest multiple of a page.
            if (limit.isEmpty() || limit.getAsLong() >= Long.MAX_VALUE / 2) {
                continue;
            }
            long usage = number(group.resolve(unified ? "memory.current" : "memory.usage_in_bytes"))
                    .orElse(0);
            // Cached file pages count as usage, and go when memory gets short.
            long cached = stat(group.resolve("memory.stat"), unified ? "inactive_file" : "total_inactive_file");
            MemoryLimit here = new MemoryLimit(limit.getAsLong(), Math.max(0, usage - cached));
            if (tightest == null || here.free() < tightest.free()) {
                tightest = here;
            }
        }
        return Optional.ofNullable(tightest);
    }

    /// The smallest CPU quota, in CPUs, as in 1.5; empty without one.
    OptionalDouble cpus() {
        double tightest = Double.POSITIVE_INFINITY;
        for (Path group : groups("cpu")) {
            Optional<String> unified = line(group.resolve("cpu.max"));
            if (unified.isPresent()) {
                String[] parts = unified.get().split("\\s+");
                if (parts.length == 2 && !parts[0].equals("max")) {
                    tightest = Math.min(tightest, ratio(parts[0], parts[1]));
                }
            } else {
                OptionalLong quota = number(group.resolve("cpu.cfs_quota_us"));
                OptionalLong period = number(group.resolve("cpu.cfs_period_us"));
                if (quota.isPresent() && quota.getAsLong() > 0 && period.isPresent() && period.getAsLong() > 0) {
                    tightest = Math.min(tightest, (double) quota.getAsLong() / period.getAsLong());
                }
            }
        }
        return Double.isInfinite(tightest) ? OptionalDouble.empty() : OptionalDouble.of(tightest);
    }

    /// The process's group for a controller and all groups above it, as folders.
    private List<Path> groups(String controller) {
        List<Path> groups = new ArrayList<>();
        try {
            for (String line : Files.readAllLines(root.resolve("proc/self/cgroup"))) {
                String[] parts = line.split(":", 3);
                if (parts.length < 3) {
                    continue;
                }
                Path sys = root.resolve("sys/fs/cgroup");
                if (parts[0].equals("0") && parts[1].isEmpty()) {
                    addUpwards(groups, sys, parts[2]);
                    addUpwards(groups, sys.resolve("unified"), parts[2]);
                } else if (List.of(parts[1].split(",")).contains(controller)) {
                    addUpwards(groups, sys.resolve(controller), parts[2]);
                    addUpwards(groups, sys.resolve(parts[1]), parts[2]);
                }
            }
        } catch (IOException e) {
            return List.of();
        }
        return groups;
    }

    private static void addUpwards(List<Path> groups, Path mount, String path) {
        if (!Files.isDirectory(mount)) {
            return;
        }
        Path group = mount.resolve(path.replaceFirst("^/+", "")).normalize();
        if (!group.startsWith(mount)) {
            group = mount;
        }
        for (; group.startsWith(mount); group = group.getParent()) {
            if (Files.isDirectory(group)) {
                groups.add(group);
            }
        }
    }

    private static double ratio(String quota, String period) {
        try {
            double cpus = Double.parseDouble(quota) / Double.parseDouble(period);
            return cpus > 0 ? cpus : Double.POSITIVE_INFINITY;
        } catch (NumberFormatException e) {
            return Double.POSITIVE_INFINITY;
        }
    }

    private static long stat(Path file, String key) {
        try {
            for (String line : Files.readAllLines(file)) {
                if (line.startsWith(key + " ")) {
                    return Long.parseLong(line.substring(key.length() + 1).strip());
                }
            }
        } catch (IOException | NumberFormatException e) {
            return 0;
        }
        return 0;
    }

    private static OptionalLong number(Path file) {
        try {
            return line(file).map(Long::parseLong).map(OptionalLong::of).orElseGet(OptionalLong::empty);
        } catch (NumberFormatException e) {
            return OptionalLong.empty();
        }
    }

    private static Optional<String> line(Path file) {
        try {
            return Files.readAllLines(file).stream().findFirst().map(String::strip);
        } catch (IOException e) {
            return Optional.empty();
        }
    }
}
