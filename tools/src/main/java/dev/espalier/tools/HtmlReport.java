package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.natives.os.Cpu;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;

/// One HTML page about a pruning run, which needs nothing but itself: figures, tables, the data, and the library that
/// draws them (Apache ECharts).
final class HtmlReport {
    /// The page's file name.
    static final String FILE = "index.html";

    private static final String TEMPLATE = "prune-report.html";
    private static final String ECHARTS = "META-INF/resources/webjars/echarts/5.5.0/echarts.min.js";

    private HtmlReport() {}

    /// Writes the page into `folder`, which is made if it is not there.
    ///
    /// @param report the document that `--json` prints
    /// @param arguments of the command that made it; the key of `--api-key` is left out
    /// @throws IOException if it cannot be written; nothing is left then
    static void write(Path folder, ObjectNode report, List<String> arguments) throws IOException {
        ObjectNode data = JsonNodeFactory.instance
                .objectNode()
                .put("command", command(arguments))
                .put("machine", Cpu.name())
                .put("made", LocalDate.now().toString());
        data.set("report", report);
        String page = resource(HtmlReport.class.getResourceAsStream(TEMPLATE), TEMPLATE)
                // Nothing in a script may look like its end.
                .replace("/*DATA*/", data.toString().replace("<", "\\u003c"))
                .replace("/*ECHARTS*/", resource(ClassLoader.getSystemResourceAsStream(ECHARTS), ECHARTS));
        Files.createDirectories(folder);
        Path beside = folder.resolve(FILE + ".writing");
        try {
            Files.writeString(beside, page);
            Files.move(beside, folder.resolve(FILE), StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            Files.deleteIfExists(beside);
            throw e;
        }
    }

    /// The command line as a shell takes it.
    static String command(List<String> arguments) {
        List<String> words = new ArrayList<>(List.of("espalier"));
        boolean secret = false;
        for (String argument : arguments) {
            if (secret || argument.startsWith("--api-key=")) {
                words.add(secret ? "KEY" : "--api-key=KEY");
            } else {
                words.add(argument.matches("[\\w@%+=:,./-]+") ? argument : "'" + argument.replace("'", "'\\''") + "'");
            }
            secret = argument.equals("--api-key");
        }
        return String.join(" ", words);
    }

    private static String resource(InputStream stream, String name) throws IOException {
        if (stream == null) {
            throw new FileNotFoundException("the program is incomplete: it has no " + name);
        }
        try (stream) {
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}
