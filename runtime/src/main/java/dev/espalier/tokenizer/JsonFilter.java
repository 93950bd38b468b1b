package dev.espalier.tokenizer;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.filter.Filter;
import java.math.BigDecimal;
import java.util.List;
import java.util.Map;

/// `tojson` as transformers has it: Python's `json.dumps(x, ensure_ascii=False)`, with `indent` if asked.
final class JsonFilter implements Filter {
    @Override
    public String getName() {
        return "tojson";
    }

    @Override
    public Object filter(Object value, JinjavaInterpreter interpreter, String... arguments) {
        return filter(value, interpreter, new Object[0], Map.of());
    }

    @Override
    public Object filter(Object value, JinjavaInterpreter interpreter, Object[] arguments, Map<String, Object> named) {
        StringBuilder json = new StringBuilder();
        Object indent = named.getOrDefault("indent", arguments.length > 1 ? arguments[1] : null);
        write(value, indent instanceof Number width ? width.intValue() : -1, 0, json);
        return json.toString();
    }

    private static void write(Object value, int indent, int depth, StringBuilder json) {
        switch (value) {
            case null -> json.append("null");
            case Boolean flag -> json.append(flag);
            case Map<?, ?> map -> {
                json.append('{');
                boolean first = true;
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    separate(first, indent, depth + 1, json);
                    string(String.valueOf(entry.getKey()), json);
                    json.append(": ");
                    write(entry.getValue(), indent, depth + 1, json);
                    first = false;
                }
                close(first, indent, depth, json);
                json.append('}');
            }
            case List<?> list -> {
                json.append('[');
                boolean first = true;
                for (Object item : list) {
                    separate(first, indent, depth + 1, json);
                    write(item, indent, depth + 1, json);
                    first = false;
                }
                close(first, indent, depth, json);
                json.append(']');
            }
            case BigDecimal number -> json.append(number.toPlainString());
            case Number number -> json.append(number);
            default -> string(String.valueOf(value), json);
        }
    }

    private static void separate(boolean first, int indent, int depth, StringBuilder json) {
        if (!first) {
            json.append(indent < 0 ? ", " : ",");
        }
        newline(indent, depth, json);
    }

    private static void close(boolean empty, int indent, int depth, StringBuilder json) {
        if (!empty) {
            newline(indent, depth, json);
        }
    }

    private static void newline(int indent, int depth, StringBuilder json) {
        if (indent >= 0) {
            json.append('\n').repeat(' ', indent * depth);
        }
    }

    private static void string(String text, StringBuilder json) {
        json.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> json.append("\\\"");
                case '\\' -> json.append("\\\\");
                case '\n' -> json.append("\\n");
                case '\r' -> json.append("\\r");
                case '\t' -> json.append("\\t");
                case '\b' -> json.append("\\b");
                case '\f' -> json.append("\\f");
                default -> {
                    if (c < 0x20) {
                        json.append("\\u%04x".formatted((int) c));
                    } else {
                        json.append(c);
                    }
                }
            }
        }
        json.append('"');
    }
}
