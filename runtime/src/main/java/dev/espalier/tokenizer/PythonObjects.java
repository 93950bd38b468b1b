package dev.espalier.tokenizer;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.exptest.ExpTest;
import com.hubspot.jinjava.lib.filter.Filter;
import java.beans.FeatureDescriptor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import jinjava.javax.el.ELContext;
import jinjava.javax.el.ELResolver;
import jinjava.javax.el.PropertyNotFoundException;

/// What a template may do with a value: the items of maps, lists and strings, and Python's methods on them. There is no
/// way to a Java property or method.
final class PythonObjects extends ELResolver {
    private static final Pattern INDEX = Pattern.compile("-?[0-9]{1,9}");

    @Override
    public Object getValue(ELContext context, Object base, Object property) {
        context.setPropertyResolved(true);
        return switch (base) {
            case null -> null;
            case Map<?, ?> map -> map.get(String.valueOf(property));
            case JinjaFor.Loop loop -> loop(loop, String.valueOf(property));
            case Collection<?> _, String _
            when INDEX.matcher(String.valueOf(property)).matches() ->
                item(base, Integer.parseInt(String.valueOf(property)));
            default -> throw new PropertyNotFoundException("'" + property + "' of a value that has no such thing");
        };
    }

    /// The item of a list or the character of a string; from the end where `index` is negative, null beyond it.
    static Object item(Object base, int index) {
        return switch (base) {
            case List<?> list -> {
                int at = index < 0 ? index + list.size() : index;
                yield at < 0 || at >= list.size() ? null : list.get(at);
            }
            case String text -> {
                int length = text.codePointCount(0, text.length());
                int at = index < 0 ? index + length : index;
                yield at < 0 || at >= length
                        ? null
                        : Character.toString(text.codePointAt(text.offsetByCodePoints(0, at)));
            }
            case Collection<?> collection -> item(new ArrayList<Object>(collection), index);
            case null, default -> null;
        };
    }

    private static Object loop(JinjaFor.Loop loop, String property) {
        return switch (property) {
            case "index" -> (long) loop.getIndex();
            case "index0" -> (long) loop.getIndex0();
            case "revindex" -> (long) loop.remaining();
            case "revindex0" -> loop.remaining() - 1L;
            case "first" -> loop.getIndex0() == 0;
            case "last" -> loop.remaining() == 1;
            case "length" -> (long) loop.length();
            case "previtem" -> loop.neighbour(-1);
            case "nextitem" -> loop.neighbour(1);
            default -> throw new PropertyNotFoundException("loop." + property + " is not supported");
        };
    }

    @Override
    public Object invoke(ELContext context, Object base, Object method, Class<?>[] types, Object[] arguments) {
        context.setPropertyResolved(true);
        String name = String.valueOf(method);
        return switch (base) {
            case Filter filter when name.equals("filter") -> filter(filter, arguments);
            case ExpTest test
            when name.equals("evaluate") ->
                test.evaluate(arguments[0], (JinjavaInterpreter) arguments[1], rest(arguments));
            case ExpTest test
            when name.equals("evaluateNegated") ->
                test.evaluateNegated(arguments[0], (JinjavaInterpreter) arguments[1], rest(arguments));
            case String text -> text(text, name, arguments);
            case Map<?, ?> map -> map(map, name, arguments);
            case null, default -> throw unknown(name);
        };
    }

    /// The method of a value as a filter has it: nothing counts as the empty string.
    static Object call(Object value, String method, Object[] arguments) {
        return switch (value) {
            case null -> "";
            case Map<?, ?> map -> map(map, method, arguments);
            default -> text(text(value), method, arguments);
        };
    }

    @SuppressWarnings("unchecked")
    private static Object filter(Filter filter, Object[] arguments) {
        return filter.filter(
                arguments[0], (JinjavaInterpreter) arguments[1], (Object[]) arguments[2], (Map<String, Object>)
                        arguments[3]);
    }

    private static Object[] rest(Object[] arguments) {
        if (arguments.length == 3 && arguments[2] instanceof Object[] list) {
            return list;
        }
        return Arrays.copyOfRange(arguments, 2, arguments.length);
    }

    private static Object text(String text, String method, Object[] arguments) {
        return switch (method) {
            case "strip" -> Strings.strip(text, characters(arguments), true, true);
            case "lstrip" -> Strings.strip(text, characters(arguments), true, false);
            case "rstrip" -> Strings.strip(text, characters(arguments), false, true);
            case "upper" -> text.toUpperCase(Locale.ROOT);
            case "lower" -> text.toLowerCase(Locale.ROOT);
            case "title" -> Strings.title(text);
            case "capitalize" -> Strings.capitalize(text);
            case "startswith" -> text.startsWith(string(arguments, 0));
            case "endswith" -> text.endsWith(string(arguments, 0));
            case "find" -> {
                int at = text.indexOf(string(arguments, 0));
                yield (long) (at < 0 ? at : text.codePointCount(0, at));
            }
            case "replace" -> text.replace(string(arguments, 0), string(arguments, 1));
            case "split" -> Strings.split(text, arguments.length == 0 ? null : string(arguments, 0), count(arguments));
            case "splitlines" -> new ArrayList<>(text.lines().toList());
            case "join" -> join(text, arguments);
            default -> throw unknown(method);
        };
    }

    private static String join(String separator, Object[] arguments) {
        if (arguments.length == 1 && arguments[0] instanceof List<?> list) {
            return String.join(separator, list.stream().map(String::valueOf).toList());
        }
        throw new IllegalStateException("join needs a list");
    }

    private static Object map(Map<?, ?> map, String method, Object[] arguments) {
        return switch (method) {
            case "get" -> {
                Object value = map.get(string(arguments, 0));
                yield value != null || arguments.length < 2 ? value : arguments[1];
            }
            case "keys" -> new ArrayList<Object>(map.keySet());
            case "values" -> new ArrayList<Object>(map.values());
            case "items" -> {
                List<Object> items = new ArrayList<>();
                map.forEach((key, value) -> items.add(Arrays.asList(key, value)));
                yield items;
            }
            default -> throw unknown(method);
        };
    }

    /// Python's truth of a value.
    static boolean truth(Object value) {
        return switch (value) {
            case null -> false;
            case Boolean flag -> flag;
            case Number number -> number.doubleValue() != 0;
            case CharSequence text -> !text.isEmpty();
            case Collection<?> collection -> !collection.isEmpty();
            case Map<?, ?> map -> !map.isEmpty();
            default -> true;
        };
    }

    /// Python's `str` of a value.
    static String text(Object value) {
        return switch (value) {
            case null -> "";
            case Boolean flag -> flag ? "True" : "False";
            case Map<?, ?> map ->
                map.entrySet().stream()
                        .map(e -> quoted(e.getKey()) + ": " + quoted(e.getValue()))
                        .collect(Collectors.joining(", ", "{", "}"));
            case Collection<?> list ->
                list.stream().map(PythonObjects::quoted).collect(Collectors.joining(", ", "[", "]"));
            default -> value.toString();
        };
    }

    private static String quoted(Object value) {
        if (value instanceof CharSequence text) {
            String escaped =
                    text.toString().replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t");
            return escaped.contains("'") && !escaped.contains("\"")
                    ? "\"" + escaped + "\""
                    : "'" + escaped.replace("'", "\\'") + "'";
        }
        return value == null ? "None" : text(value);
    }

    private static String characters(Object[] arguments) {
        return arguments.length == 0 || arguments[0] == null ? null : string(arguments, 0);
    }

    private static int count(Object[] arguments) {
        return arguments.length > 1 && arguments[1] instanceof Number number ? number.intValue() : -1;
    }

    private static String string(Object[] arguments, int at) {
        if (at < arguments.length && arguments[at] instanceof String text) {
            return text;
        }
        throw new IllegalStateException("a method's argument must be a string");
    }

    private static RuntimeException unknown(String method) {
        return new IllegalStateException("the method '" + method + "' is not supported");
    }

    @Override
    public void setValue(ELContext context, Object base, Object property, Object value) {
        throw new PropertyNotFoundException("values cannot be changed");
    }

    @Override
    public boolean isReadOnly(ELContext context, Object base, Object property) {
        return true;
    }

    @Override
    public Class<?> getType(ELContext context, Object base, Object property) {
        return null;
    }

    @Override
    public Class<?> getCommonPropertyType(ELContext context, Object base) {
        return Object.class;
    }

    @Override
    public Iterator<FeatureDescriptor> getFeatureDescriptors(ELContext context, Object base) {
        return null;
    }

    /// Python's string methods where Java's differ.
    static final class Strings {
        private Strings() {}

        static String strip(String text, String characters, boolean left, boolean right) {
            int start = 0;
            int end = text.length();
            while (left && start < end && strips(characters, text.charAt(start))) {
                start++;
            }
            while (right && end > start && strips(characters, text.charAt(end - 1))) {
                end--;
            }
            return text.substring(start, end);
        }

        private static boolean strips(String characters, char c) {
            return characters == null
                    ? Normalizer.whitespace(c) || (c >= 0x1C && c <= 0x1F)
                    : characters.indexOf(c) >= 0;
        }

        static List<String> split(String text, String separator, int most) {
            List<String> parts = new ArrayList<>();
            if (separator == null) {
                for (String part : text.strip().split("\\s+")) {
                    parts.add(part);
                }
                return parts;
            }
            int start = 0;
            for (int at = text.indexOf(separator);
                    at >= 0 && parts.size() != most && !separator.isEmpty();
                    at = text.indexOf(separator, start)) {
                parts.add(text.substring(start, at));
                start = at + separator.length();
            }
            parts.add(text.substring(start));
            return parts;
        }

        static String title(String text) {
            StringBuilder title = new StringBuilder();
            boolean inWord = false;
            for (int c : text.codePoints().toArray()) {
                title.appendCodePoint(inWord ? Character.toLowerCase(c) : Character.toTitleCase(c));
                inWord = Character.isLetter(c);
            }
            return title.toString();
        }

        static String capitalize(String text) {
            if (text.isEmpty()) {
                return text;
            }
            int first = text.codePointAt(0);
            return Character.toString(Character.toTitleCase(first))
                    + text.substring(Character.charCount(first)).toLowerCase(Locale.ROOT);
        }
    }
}
