package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;

/// What a command printed and how it ended.
record Cli(int code, String out, String err) {
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    /// Runs a command in this process.
    static Cli run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int code = Espalier.run(new PrintWriter(out), new PrintWriter(err), arguments);
        return new Cli(code, out.toString(), err.toString());
    }

    /// The one JSON document of a command that went well.
    static JsonNode json(String... arguments) {
        String[] all = java.util.Arrays.copyOf(arguments, arguments.length + 1);
        all[arguments.length] = "--json";
        Cli cli = run(all);
        assertEquals(0, cli.code, cli.err);
        try {
            JsonNode document = JSON.readTree(cli.out);
            assertTrue(document.isObject(), cli.out);
            return document;
        } catch (JsonProcessingException e) {
            throw new AssertionError(cli.out, e);
        }
    }

    /// Asserts that a command was refused with exit code `code`, nothing on stdout, and at most two lines that have
    /// `parts` in them.
    static void refused(int code, String[] arguments, String... parts) {
        Cli cli = run(arguments);
        assertEquals(code, cli.code, cli.err);
        assertEquals("", cli.out);
        assertTrue(cli.err.startsWith("espalier: "), cli.err);
        assertTrue(cli.err.lines().count() <= 2, cli.err);
        assertFalse(cli.err.contains("Exception"), cli.err);
        for (String part : parts) {
            assertTrue(cli.err.contains(part), part + " is not in: " + cli.err);
        }
    }

    static String[] words(String... words) {
        return words;
    }
}
