package dev.espalier.tokenizer;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.tag.ForTag;
import com.hubspot.jinjava.tree.Node;
import com.hubspot.jinjava.tree.TagNode;
import com.hubspot.jinjava.util.ForLoop;
import com.hubspot.jinjava.util.LengthLimitingStringBuilder;
import dev.espalier.tensor.InputException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Jinja's loop: each round has variables of its own, `if` filters the items, `else` is for none, and `loop` knows its
/// neighbours. Jinjava's own keeps assignments from one round to the next and passes over `if` and `else`.
final class JinjaFor extends ForTag {
    private static final long serialVersionUID = 1L;

    private static final Pattern CLAUSE =
            Pattern.compile("\\s*(?<names>[\\w\\s,()]+?)\\s+in\\s+(?<items>.+)", Pattern.DOTALL);

    /// What a template sees as `loop`.
    static final class Loop extends ForLoop {
        private final List<Object> items;

        Loop(List<Object> items) {
            super(items.iterator(), items.size());
            this.items = items;
        }

        Object neighbour(int distance) {
            int at = getIndex0() + distance;
            return at < 0 || at >= items.size() ? null : items.get(at);
        }

        int remaining() {
            return items.size() - getIndex0();
        }

        int length() {
            return items.size();
        }
    }

    @Override
    public String interpretUnchecked(TagNode node, JinjavaInterpreter interpreter) {
        Matcher clause = CLAUSE.matcher(node.getHelpers());
        if (!clause.matches()) {
            throw new InputException("the chat template cannot be read: 'for' without 'in'");
        }
        String[] names = clause.group("names").replaceAll("[()\\s]", "").split(",");
        int filter = condition(clause.group("items"));
        String items =
                filter < 0 ? clause.group("items") : clause.group("items").substring(0, filter);
        List<Object> values = new ArrayList<>();
        Object given = interpreter.resolveELExpression(items, node.getLineNumber());
        for (Object item : items(given)) {
            if (filter < 0 || accepts(clause.group("items").substring(filter + 2), names, item, node, interpreter)) {
                values.add(item);
            }
        }
        return values.isEmpty() ? otherwise(node, interpreter) : body(values, names, node, interpreter);
    }

    private static List<?> items(Object given) {
        return switch (given) {
            case null -> List.of();
            case Map<?, ?> map -> List.copyOf(map.keySet());
            case Collection<?> collection -> new ArrayList<>(collection);
            case Object[] array -> Arrays.asList(array);
            case String text -> text.codePoints().mapToObj(Character::toString).toList();
            case Iterable<?> iterable -> {
                List<Object> list = new ArrayList<>();
                iterable.forEach(list::add);
                yield list;
            }
            default -> throw new IllegalStateException("'for' needs a list");
        };
    }

    private static boolean accepts(
            String condition, String[] names, Object item, TagNode node, JinjavaInterpreter interpreter) {
        try (var _ = interpreter.enterScope()) {
            assign(names, item, interpreter);
            return PythonObjects.truth(interpreter.resolveELExpression(condition, node.getLineNumber()));
        }
    }

    private static String body(List<Object> values, String[] names, TagNode node, JinjavaInterpreter interpreter) {
        Loop loop = new Loop(values);
        LengthLimitingStringBuilder text =
                new LengthLimitingStringBuilder(interpreter.getConfig().getMaxOutputSize());
        while (loop.hasNext()) {
            Object item = loop.next();
            try (var _ = interpreter.enterScope()) {
                interpreter.getContext().put(LOOP, loop);
                assign(names, item, interpreter);
                for (Node child : node.getChildren()) {
                    if (isElse(child) || loop.isContinued()) {
                        break;
                    }
                    text.append(child.render(interpreter).getValue());
                }
            }
        }
        return text.toString();
    }

    private static String otherwise(TagNode node, JinjavaInterpreter interpreter) {
        StringBuilder text = new StringBuilder();
        boolean reached = false;
        for (Node child : node.getChildren()) {
            if (reached) {
                text.append(child.render(interpreter).getValue());
            }
            reached |= isElse(child);
        }
        return text.toString();
    }

    private static boolean isElse(Node node) {
        return node instanceof TagNode tag && tag.getName().equals("else");
    }

    private static void assign(String[] names, Object item, JinjavaInterpreter interpreter) {
        if (names.length == 1) {
            interpreter.getContext().put(names[0], interpreter.wrap(item));
            return;
        }
        List<?> parts =
                item instanceof Map.Entry<?, ?> entry ? Arrays.asList(entry.getKey(), entry.getValue()) : items(item);
        if (parts.size() != names.length) {
            throw new IllegalStateException("'for' has " + names.length + " names for " + parts.size() + " values");
        }
        for (int i = 0; i < names.length; i++) {
            interpreter.getContext().put(names[i], interpreter.wrap(parts.get(i)));
        }
    }

    /// Where the clause's own `if` stands: outside of strings and brackets.
    private static int condition(String clause) {
        int depth = 0;
        for (int i = 0; i < clause.length(); i++) {
            char c = clause.charAt(i);
            if (c == '\'') {
                for (i++; i < clause.length() && clause.charAt(i) != '\''; i++) {
                    i += clause.charAt(i) == '\\' ? 1 : 0;
                }
            } else if ("([{".indexOf(c) >= 0) {
                depth++;
            } else if (")]}".indexOf(c) >= 0) {
                depth--;
            } else if (depth == 0
                    && clause.startsWith("if", i)
                    && i > 0
                    && !Character.isLetterOrDigit(clause.charAt(i - 1))
                    && clause.charAt(i - 1) != '_'
                    && i + 2 < clause.length()
                    && !Character.isLetterOrDigit(clause.charAt(i + 2))
                    && clause.charAt(i + 2) != '_') {
                return i;
            }
        }
        return -1;
    }
}
