package dev.espalier.tokenizer;

import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.LegacyOverrides;
import com.hubspot.jinjava.el.JinjavaProcessors;
import com.hubspot.jinjava.interpret.Context;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.interpret.JinjavaInterpreterFactory;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.interpret.TemplateError;
import com.hubspot.jinjava.lib.exptest.ExpTest;
import com.hubspot.jinjava.lib.filter.Filter;
import com.hubspot.jinjava.lib.fn.MacroFunction;
import com.hubspot.jinjava.lib.tag.Tag;
import com.hubspot.jinjava.tree.TagNode;
import com.hubspot.jinjava.tree.output.RenderedOutputNode;
import dev.espalier.tensor.InputException;
import java.time.LocalDateTime;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;

/// Jinjava, set up to render as transformers' Jinja does and to give a stranger's template nothing to hold on to.
final class JinjaSandbox {
    private static final int MAX_CHARACTERS = 1 << 22;
    private static final int MAX_ITEMS = 1 << 16;
    private static final int MAX_STEPS = 1 << 19;
    private static final long MAX_NANOSECONDS = 20_000_000_000L;

    private static final Set<String> FILTERS;
    private static final Set<String> TESTS;

    static {
        Context library = jinjava(config(new Steps())).getGlobalContext();
        FILTERS = library.getAllFilters().stream().map(Filter::getName).collect(Collectors.toUnmodifiableSet());
        TESTS = library.getAllExpTests().stream().map(ExpTest::getName).collect(Collectors.toUnmodifiableSet());
    }

    private final String template;

    /// @throws InputException if the template is malformed or uses what is not supported
    JinjaSandbox(String template) {
        this.template = JinjaSource.rewrite(template, FILTERS::contains, TESTS::contains);
    }

    String render(Map<String, ?> variables) {
        RenderResult result;
        try {
            // Its own for each rendering: Jinjava's global context is not safe for several threads.
            result = jinjava(config(new Steps())).renderForResult(template, variables);
        } catch (StackOverflowError e) {
            throw new InputException("the chat template is nested too deeply", e);
        }
        if (result.hasErrors()) {
            throw refusal(result.getErrors());
        }
        return result.getOutput();
    }

    private static Jinjava jinjava(JinjavaConfig config) {
        Jinjava jinjava = new Jinjava(config);
        Context context = jinjava.getGlobalContext();
        context.registerFilter(new JsonFilter());
        context.registerFilter(filter("trim", (value, arguments) -> PythonObjects.call(value, "strip", arguments)));
        context.registerFilter(filter("first", (value, _) -> PythonObjects.item(value, 0)));
        context.registerFilter(filter("last", (value, _) -> PythonObjects.item(value, -1)));
        context.registerFilter(filter("items", (value, arguments) -> PythonObjects.call(value, "items", arguments)));
        context.registerTag(new JinjaFor());
        context.registerTag(new GenerationTag());
        context.addGlobalMacro(function("raise_exception", arguments -> {
            throw new Refusal(PythonObjects.text(arguments.getFirst()));
        }));
        context.addGlobalMacro(function(
                "strftime_now",
                arguments -> Strftime.format(PythonObjects.text(arguments.getFirst()), LocalDateTime.now())));
        return jinjava;
    }

    private static JinjavaConfig config(Steps steps) {
        return JinjavaConfig.newBuilder()
                .withNestedInterpretationEnabled(false)
                .withEnableRecursiveMacroCalls(true)
                .withMaxMacroRecursionDepth(64)
                .withMaxRenderDepth(64)
                .withMaxOutputSize(MAX_CHARACTERS)
                .withMaxStringLength(MAX_CHARACTERS)
                .withMaxListSize(MAX_ITEMS)
                .withMaxMapSize(MAX_ITEMS)
                .withRangeLimit(MAX_ITEMS)
                .withElResolver(new PythonObjects())
                .withInterperterFactory(new PythonOutput())
                .withProcessors(JinjavaProcessors.newBuilder()
                        .withNodePreProcessor((_, _) -> steps.count())
                        .build())
                .withLegacyOverrides(LegacyOverrides.newBuilder()
                        .withEvaluateMapKeys(true)
                        .withIterateOverMapKeys(true)
                        .withUseNaturalOperatorPrecedence(true)
                        .withParseWhitespaceControlStrictly(true)
                        .withKeepNullableLoopValues(true)
                        .withUsePyishObjectMapper(true)
                        .withAllowAdjacentTextNodes(true)
                        .withUseTrimmingForNotesAndExpressions(true)
                        .build())
                .withDisabled(Map.of(
                        Context.Library.TAG,
                        Set.of("include", "import", "from", "extends", "block"),
                        Context.Library.FILTER,
                        Set.of("render", "log", "fromyaml", "toyaml")))
                .build();
    }

    /// Writes values as Python does: `True`, not `true`.
    private static final class PythonOutput extends JinjavaInterpreterFactory {
        @Override
        public JinjavaInterpreter newInstance(Jinjava jinjava, Context context, JinjavaConfig config) {
            context.setExpressionStrategy((token, interpreter) -> new RenderedOutputNode(
                    PythonObjects.text(interpreter.resolveELExpression(token.getExpr(), token.getLineNumber()))));
            return super.newInstance(jinjava, context, config);
        }
    }

    /// Ends a template that runs on.
    private static final class Steps {
        private final long start = System.nanoTime();
        private int steps;

        void count() {
            if (++steps > MAX_STEPS || System.nanoTime() - start > MAX_NANOSECONDS) {
                throw new Endless();
            }
        }
    }

    private static final class Endless extends InputException {
        private static final long serialVersionUID = 1L;

        Endless() {
            super("the chat template does not come to an end");
        }
    }

    /// `{% generation %}` marks the assistant's words for training; it renders what it holds.
    private static final class GenerationTag implements Tag {
        private static final long serialVersionUID = 1L;

        @Override
        public String getName() {
            return "generation";
        }

        @Override
        public String interpret(TagNode node, JinjavaInterpreter interpreter) {
            StringBuilder text = new StringBuilder();
            node.getChildren()
                    .forEach(child -> text.append(child.render(interpreter).getValue()));
            return text.toString();
        }
    }

    private static InputException refusal(List<TemplateError> errors) {
        for (TemplateError error : errors) {
            for (Throwable cause = error.getException(); cause != null; cause = cause.getCause()) {
                if (cause instanceof InputException input) {
                    return input;
                }
                if (cause instanceof Refusal) {
                    return new InputException("the chat template refuses the conversation: " + cause.getMessage());
                }
            }
        }
        return new InputException(
                "the chat template cannot be rendered: " + errors.getFirst().getMessage());
    }

    private static Filter filter(String name, BiFunction<Object, Object[], Object> body) {
        return new Filter() {
            @Override
            public String getName() {
                return name;
            }

            @Override
            public Object filter(Object value, JinjavaInterpreter interpreter, String... arguments) {
                return body.apply(value, arguments);
            }

            @Override
            public Object filter(
                    Object value, JinjavaInterpreter interpreter, Object[] arguments, Map<String, Object> named) {
                return body.apply(value, arguments);
            }
        };
    }

    private static MacroFunction function(String name, Function<List<Object>, Object> body) {
        return new MacroFunction(List.of(), name, new LinkedHashMap<>(), false, new Context(), 0, 0) {
            @Override
            public Object doEvaluate(Map<String, Object> named, Map<String, Object> more, List<Object> arguments) {
                return body.apply(arguments);
            }
        };
    }

    private static final class Refusal extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Refusal(String message) {
            super(message);
        }
    }
}
