package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The page that `--report` writes.
class HtmlReportTest {
    private static final String LLAMA = Fixtures.family("llama-gqa-tied").toString();
    private static final Pattern DATA =
            Pattern.compile("<script type=\"application/json\" id=\"data\">(.*?)</script>", Pattern.DOTALL);

    @TempDir
    Path temp;

    @Test
    void onePageHoldsTheRunsDataTheLibraryAndTheCommand() throws IOException {
        Path report = temp.resolve("a report");
        String[] arguments = {
            "prune",
            LLAMA,
            "--method",
            "wanda",
            "--samples",
            "4",
            "--seq-len",
            "32",
            "--out",
            temp.resolve("out").toString(),
            "--report",
            report.toString(),
            "--json"
        };
        Cli cli = Cli.run(arguments);
        assertEquals(0, cli.code(), cli.err());
        assertEquals(List.of("index.html"), Fixtures.names(report));
        String page = Files.readString(report.resolve("index.html"));
        JsonNode data = data(page);
        assertEquals(new ObjectMapper().readTree(cli.out()), data.path("report"));
        assertEquals(21, data.at("/report/layers").size());
        assertEquals(
                HtmlReport.command(List.of(arguments)), data.path("command").asText());
        assertTrue(data.path("command").asText().contains("--report '" + report + "'"), data.path("command")::asText);
        assertFalse(data.path("machine").asText().isBlank());
        assertTrue(page.contains("Apache Software Foundation"), "the library with its licence");
        assertTrue(page.length() > 1_000_000, "the whole library");
    }

    /// Nothing is fetched: no element or rule that names another file.
    @Test
    void thePageNeedsNoOtherFile() throws IOException {
        Path report = temp.resolve("report");
        Cli.json(
                "prune",
                LLAMA,
                "--method",
                "magnitude",
                "--out",
                temp.resolve("out").toString(),
                "--report",
                report.toString());
        String page = Files.readString(report.resolve("index.html"));
        int library = page.indexOf("<script>") + 1;
        String own = page.substring(0, library) + page.substring(page.indexOf("</script>", library));
        for (String reference : List.of(" src=", "href=", "@import", "url(", "fetch(", "import ", "http:", "https:")) {
            assertFalse(own.contains(reference), reference);
        }
        assertEquals(3, own.split("</script>", -1).length - 1);
    }

    @Test
    void theComparisonIsInThePageOfPruneAndServe() throws IOException {
        Path report = temp.resolve("report");
        Cli.json(
                "prune-and-serve",
                LLAMA,
                "--no-serve",
                "--no-scale-up",
                "--method",
                "magnitude",
                "--api-key",
                "secret",
                "--report",
                report.toString());
        String page = Files.readString(report.resolve("index.html"));
        JsonNode data = data(page);
        assertTrue(data.at("/report/dense/perplexity").asDouble() > 0);
        assertTrue(data.at("/report/sparse/decode_tokens_per_s").asDouble() > 0);
        assertFalse(page.contains("secret"));
        assertTrue(data.path("command").asText().contains("--api-key KEY"), data.path("command")::asText);
    }

    @Test
    void namesThatLookLikeMarkupStayText() throws IOException {
        Path model = Fixtures.copy(Path.of(LLAMA), temp.resolve("a<b> & 'c'"));
        Path report = temp.resolve("report");
        Cli.json(
                "prune",
                model.toString(),
                "--method",
                "magnitude",
                "--out",
                temp.resolve("out").toString(),
                "--report",
                report.toString());
        String page = Files.readString(report.resolve("index.html"));
        assertFalse(page.contains("a<b>"));
        assertEquals(model.toString(), data(page).at("/report/model").asText());
    }

    @Test
    void aFolderThatIsTakenIsRefusedBeforeTheWork() throws IOException {
        Files.createDirectories(temp.resolve("report/precious"));
        Cli.refused(
                2,
                Cli.words(
                        "prune",
                        LLAMA,
                        "--method",
                        "magnitude",
                        "--out",
                        temp.resolve("out").toString(),
                        "--report",
                        temp.resolve("report").toString()),
                "not empty");
        assertEquals(List.of("report"), Fixtures.names(temp));
    }

    private static JsonNode data(String page) throws IOException {
        Matcher matcher = DATA.matcher(page);
        assertTrue(matcher.find());
        return new ObjectMapper().readTree(matcher.group(1));
    }
}
