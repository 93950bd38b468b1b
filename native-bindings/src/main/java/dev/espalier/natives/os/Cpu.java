package dev.espalier.natives.os;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalDouble;

/// What the host lets this process compute with.
public final class Cpu {
    private Cpu() {}

    /// CPUs this process may use at once: its affinity and its container's quota (rounded up) count, not the host's cores.
    /// This is the default number of threads.
    public static int allowed() {
        return allowed(Runtime.getRuntime().availableProcessors(), new Cgroup(Cgroup.systemRoot()).cpus());
    }

    static int allowed(int processors, OptionalDouble quota) {
        int byQuota =
                quota.isPresent() ? (int) Math.ceil(Math.min(quota.getAsDouble(), Integer.MAX_VALUE)) : processors;
        return Math.max(1, Math.min(processors, byQuota));
    }

    /// The processor's name as the system tells it; its architecture where the system does not.
    public static String name() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
                if (line.startsWith("model name")) {
                    return line.substring(line.indexOf(':') + 1).strip();
                }
            }
        } catch (IOException e) {
            return System.getProperty("os.arch");
        }
        return System.getProperty("os.arch");
    }
}
