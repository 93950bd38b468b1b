import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

/// Ends the build with a table of the tests that were skipped, by group, and why. The reason of a JUnit assumption
/// begins with its group and a colon ("GPU: no CUDA driver"); one without a group is listed under "other".
///
/// `java SkippedGroups.java ROOT START`, by any Java from 17 on: reads Surefire's reports in the modules of ROOT that are
/// not older than START.
final class SkippedGroups {
    private SkippedGroups() {}

    public static void main(String[] args) throws Exception {
        Instant start = Instant.parse(args[1]);
        int tests = 0;
        Map<String, Map<String, Integer>> groups = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (Path report : reports(Path.of(args[0]))) {
            if (Files.getLastModifiedTime(report).toInstant().isBefore(start)) {
                continue;
            }
            Document document =
                    DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(report.toFile());
            tests += document.getElementsByTagName("testcase").getLength();
            var skipped = document.getElementsByTagName("skipped");
            for (int i = 0; i < skipped.getLength(); i++) {
                String reason = reason((Element) skipped.item(i));
                int colon = reason.indexOf(": ");
                boolean grouped = colon > 0 && colon <= 20;
                String group = grouped ? reason.substring(0, colon) : "other";
                String why = grouped ? reason.substring(colon + 2) : reason.isEmpty() ? "no reason given" : reason;
                groups.computeIfAbsent(group, key -> new TreeMap<>()).merge(why, 1, Integer::sum);
            }
        }
        if (tests > 0) {
            System.out.print(table(tests, groups));
        }
    }

    /// What the test says: a condition's own text, or the message of the assumption that did not hold.
    private static String reason(Element skipped) {
        String text = skipped.getAttribute("message");
        text = text.isBlank() ? skipped.getTextContent() : text;
        for (String prefix : List.of("TestAbortedException: ", "Assumption failed: ", " ==> ")) {
            text = text.substring(text.indexOf(prefix) < 0 ? 0 : text.indexOf(prefix) + prefix.length());
        }
        return text.lines().findFirst().orElse("").strip();
    }

    private static List<Path> reports(Path root) throws IOException {
        try (Stream<Path> modules = Files.list(root)) {
            return modules.map(module -> module.resolve("target/surefire-reports"))
                    .filter(Files::isDirectory)
                    .flatMap(SkippedGroups::xmlFiles)
                    .sorted()
                    .toList();
        }
    }

    private static Stream<Path> xmlFiles(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(f -> f.getFileName().toString().matches("TEST-.*\\.xml")).toList().stream();
        } catch (IOException e) {
            throw new UncheckedIOException(folder + " cannot be listed", e);
        }
    }

    private static String table(int tests, Map<String, Map<String, Integer>> groups) {
        if (groups.isEmpty()) {
            return "Skipped groups: none, all %d tests ran.%n".formatted(tests);
        }
        StringBuilder table = new StringBuilder("%nSkipped groups, of %d tests:%n%n".formatted(tests));
        int width = groups.keySet().stream().mapToInt(String::length).max().orElse(0);
        String row = "  %-" + Math.max(5, width) + "s  %5s  %s%n";
        table.append(row.formatted("group", "tests", "why"));
        groups.forEach((group, reasons) ->
                reasons.forEach((why, count) -> table.append(row.formatted(group, count, why))));
        return table.append("%n".formatted()).toString();
    }
}
