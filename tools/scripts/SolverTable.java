import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Stream;

/// Prunes a model by every solver and pattern, measures each result, and prints the tables of `docs/benchmarks/solvers.md`.
///
/// ```
/// java -Xmx4g --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED \
///     -cp 'tools/target/lib/*:tools/target/natives/*:'$(echo tools/target/tools-*.jar) \
///     tools/scripts/SolverTable.java RESULTS.jsonl NAME MODEL EVAL_TEXT SEQ_LEN WINDOWS [prune's options ...]
/// java … tools/scripts/SolverTable.java RESULTS.jsonl
/// ```
///
/// One virtual machine for all runs, so that only the first one pays for compiling. A run whose line is in RESULTS.jsonl
/// is not repeated: a table can be made in parts. Without a model it prints the tables of what is there. Environment:
/// METHODS, PATTERNS and REFINED (patterns that are pruned once more with `--refine pcg`) narrow the choice.
public class SolverTable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private record Case(String method, String pattern, boolean refined) {}

    public static void main(String[] arguments) throws Exception {
        Path results = Path.of(arguments[0]);
        if (arguments.length > 1) {
            measure(results, arguments);
        }
        print(read(results));
    }

    private static List<String> list(String variable, String usual) {
        String value = System.getenv().getOrDefault(variable, usual);
        return value.isEmpty() ? List.of() : List.of(value.split(","));
    }

    private static List<Case> cases() {
        List<Case> cases = new ArrayList<>();
        List<String> methods = list("METHODS", "magnitude,wanda,dsnot,sparsegpt,admm-grad,alps");
        for (String pattern : list("PATTERNS", "0.5,0.7,2:4,0.6,0.8,0.9,4:8")) {
            methods.forEach(method -> cases.add(new Case(method, pattern, false)));
        }
        for (String pattern : list("REFINED", "0.5,0.7,2:4")) {
            methods.stream()
                    .filter(method -> !method.equals("alps")) // refines itself
                    .forEach(method -> cases.add(new Case(method, pattern, true)));
        }
        return cases;
    }

    private static void measure(Path results, String[] arguments) throws Exception {
        String name = arguments[1];
        String model = arguments[2];
        String[] evaluate = {"--text", arguments[3], "--seq-len", arguments[4], "--windows", arguments[5]};
        String[] options = Arrays.copyOfRange(arguments, 6, arguments.length);
        Set<Case> there = new LinkedHashSet<>();
        boolean dense = false;
        for (JsonNode row : read(results)) {
            if (row.path("model").asText().equals(name)) {
                dense |= row.path("method").asText().equals("dense");
                there.add(new Case(
                        row.path("method").asText(),
                        row.path("pattern").asText(),
                        row.path("refined").asBoolean()));
            }
        }
        if (!dense) {
            ObjectNode row = JSON.createObjectNode().put("model", name).put("method", "dense");
            append(results, row.put("perplexity", perplexity(model, evaluate)));
        }
        Path out = Files.createTempDirectory("espalier-solvers");
        for (Case one : cases()) {
            if (there.contains(one)) {
                continue;
            }
            ObjectNode row = JSON.createObjectNode()
                    .put("model", name)
                    .put("method", one.method)
                    .put("pattern", one.pattern)
                    .put("refined", one.refined);
            String folder = out.resolve("pruned").toString();
            String[] pruned = join(
                    new String[] {"prune", model, "--out", folder, "--method", one.method},
                    one.pattern.contains(":") ? "--pattern" : "--sparsity",
                    one.pattern);
            pruned = one.refined ? join(pruned, "--refine", "pcg") : pruned;
            try {
                JsonNode report = espalier(join(pruned, options));
                row.put("error", mean(report, "relative_error"))
                        .put("heldout", mean(report, "heldout_error"))
                        .put("seconds", report.at("/total/seconds").asDouble())
                        .put("sparsity", report.at("/total/sparsity").asDouble())
                        .put("perplexity", perplexity(folder, evaluate));
            } catch (IllegalStateException e) {
                row.put("refused", e.getMessage());
            }
            delete(Path.of(folder));
            append(results, row);
            System.err.println(row);
        }
        delete(out);
    }

    private static double mean(JsonNode report, String field) {
        double sum = 0;
        for (JsonNode layer : report.path("layers")) {
            sum += layer.path(field).asDouble();
        }
        return sum / report.path("layers").size();
    }

    private static double perplexity(String model, String... evaluate) throws Exception {
        return espalier(join(new String[] {"eval", "perplexity", model}, evaluate))
                .path("perplexity")
                .asDouble();
    }

    /// The document that a command prints; its sentence as an exception if it refuses.
    private static JsonNode espalier(String... words) throws Exception {
        Method run = Class.forName("dev.espalier.tools.Espalier")
                .getDeclaredMethod("run", PrintWriter.class, PrintWriter.class, String[].class);
        run.setAccessible(true);
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        Object code = run.invoke(null, new PrintWriter(out), new PrintWriter(err), join(words, "--json", "--quiet"));
        if (!code.equals(0)) {
            throw new IllegalStateException(err.toString().strip());
        }
        return JSON.readTree(out.toString());
    }

    private static String[] join(String[] some, String... more) {
        return Stream.concat(Arrays.stream(some), Arrays.stream(more)).toArray(String[]::new);
    }

    private static List<JsonNode> read(Path results) throws IOException {
        List<JsonNode> rows = new ArrayList<>();
        if (Files.exists(results)) {
            for (String line : Files.readAllLines(results)) {
                rows.add(JSON.readTree(line));
            }
        }
        return rows;
    }

    private static void append(Path results, JsonNode row) throws IOException {
        Files.writeString(results, row + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static void delete(Path folder) throws IOException {
        if (Files.exists(folder)) {
            try (Stream<Path> all = Files.walk(folder)) {
                for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }

    private static void print(List<JsonNode> rows) {
        Set<String> models = new LinkedHashSet<>();
        rows.forEach(row -> models.add(row.path("model").asText()));
        for (String model : models) {
            List<JsonNode> own = rows.stream()
                    .filter(row -> row.path("model").asText().equals(model))
                    .toList();
            double dense = own.getFirst().path("perplexity").asDouble();
            System.out.printf(Locale.ROOT, "### %s (dense: %.2f)%n", model, dense);
            table("Perplexity", own, row -> number(row.path("perplexity").asDouble()));
            table("Relative error on held-out tokens, mean over the layers", own, row -> "%.3f"
                    .formatted(row.path("heldout").asDouble()));
            table("Seconds", own, row -> "%.1f".formatted(row.path("seconds").asDouble()));
        }
    }

    private static String number(double perplexity) {
        String format = perplexity < 100 ? "%.2f" : perplexity < 1000 ? "%.1f" : perplexity < 1e5 ? "%.0f" : "%.0e";
        return format.formatted(perplexity);
    }

    /// One row for each solver, one column for each pattern.
    private static void table(String title, List<JsonNode> rows, Function<JsonNode, String> cell) {
        List<String> patterns = Stream.of("0.5", "0.6", "0.7", "0.8", "0.9", "2:4", "4:8")
                .filter(pattern -> rows.stream()
                        .anyMatch(row -> row.path("pattern").asText().equals(pattern)))
                .toList();
        System.out.printf("%n%s:%n%n| |", title);
        for (String pattern : patterns) {
            System.out.print(" " + (pattern.contains(":") ? pattern : pattern.substring(2) + "0 %") + " |");
        }
        System.out.print("\n| --- |" + " --- |".repeat(patterns.size()) + "\n");
        for (boolean refined : new boolean[] {false, true}) {
            for (String method : List.of("magnitude", "wanda", "dsnot", "sparsegpt", "admm-grad", "alps")) {
                List<JsonNode> own = rows.stream()
                        .filter(row -> row.path("method").asText().equals(method)
                                && row.path("refined").asBoolean() == refined)
                        .toList();
                if (own.isEmpty()) {
                    continue;
                }
                System.out.print("| " + method + (refined ? " + pcg" : "") + " |");
                for (String pattern : patterns) {
                    System.out.print(own.stream()
                                    .filter(row -> row.path("pattern").asText().equals(pattern))
                                    .map(row -> row.has("refused") ? " - |" : " " + cell.apply(row) + " |")
                                    .findFirst()
                                    .orElse(" |"));
                }
                System.out.println();
            }
        }
        System.out.println();
    }
}
