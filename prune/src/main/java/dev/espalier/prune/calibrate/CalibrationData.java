package dev.espalier.prune.calibrate;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/// The token windows that a model reads while its layers' inputs are recorded, and others, held out, on which the result
/// is measured.
///
/// @param source where the text is from, for reports
/// @param seqLen tokens of every window
/// @param seed of the random choice
/// @param windows for the statistics, as many as there really were
/// @param heldOut a tenth as many, after and in addition; empty where the text has no more
public record CalibrationData(String source, int seqLen, long seed, List<int[]> windows, List<int[]> heldOut) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /// How windows are taken from a text.
    public enum Order {
        /// At random places, which may overlap.
        RANDOM,
        /// The first ones, one after another.
        CONSECUTIVE
    }

    /// What is wanted.
    ///
    /// @param samples windows for the statistics
    /// @param seqLen tokens of a window
    /// @param seed of the random choice
    /// @param order how windows are taken from a plain text; JSON lines are always drawn at random
    public record Request(int samples, int seqLen, long seed, Order order) {
        /// @throws InputException if there is no window or no token in it
        public Request {
            if (samples < 1) {
                throw new InputException("samples " + samples + ": it must be 1 or more");
            }
            if (seqLen < 1) {
                throw new InputException("seq-len " + seqLen + ": it must be 1 or more");
            }
        }

        /// Windows to hold out: a tenth of the samples, rounded up.
        int heldOut() {
            return (samples + 9) / 10;
        }
    }

    public CalibrationData {
        windows = List.copyOf(windows);
        heldOut = List.copyOf(heldOut);
    }

    /// Tokens of all windows for the statistics.
    public long tokens() {
        return (long) windows.size() * seqLen;
    }

    /// The windows of `file`: JSON lines if its name ends in `.jsonl` or `.json`, plain text otherwise.
    ///
    /// @throws InputException if it cannot be read or gives no window
    public static CalibrationData ofFile(Path file, Tokenizer tokenizer, Request request) {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (IOException e) {
            throw new InputException("calibration text " + file + " cannot be read: " + reason(e), e);
        }
        if (bytes.length > 1 && bytes[0] == 0x1f && (bytes[1] & 0xff) == 0x8b) {
            throw new InputException("calibration text " + file + " is compressed with gzip; unpack it first");
        }
        String name = file.getFileName().toString();
        String source = file.toString();
        boolean lines = name.endsWith(".jsonl") || name.endsWith(".json");
        return lines
                ? ofJsonLines(source, bytes, tokenizer, request)
                : ofText(source, text(source, bytes), tokenizer, request);
    }

    private static String reason(IOException e) {
        return e instanceof NoSuchFileException ? "there is no such file" : e.toString();
    }

    private static String text(String source, byte[] bytes) {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new InputException("calibration text " + source + " is not UTF-8", e);
        }
    }

    /// Windows of a plain text, which is tokenized once, special tokens at its start only.
    ///
    /// @throws InputException if the text is shorter than one window
    public static CalibrationData ofText(String source, String text, Tokenizer tokenizer, Request request) {
        if (text.isBlank()) {
            throw new InputException("calibration text " + source + " is empty");
        }
        return ofTokens(source, tokenizer.encode(text), request);
    }

    /// Windows of a text that is tokenized already.
    ///
    /// In random order the held-out windows are the text's last ones, and the others are drawn from what comes before
    /// them; they take at most a fifth of the text.
    ///
    /// @throws InputException if the text is shorter than one window
    public static CalibrationData ofTokens(String source, int[] tokens, Request request) {
        int seqLen = request.seqLen();
        if (tokens.length < seqLen) {
            throw new InputException(
                    "calibration text %s has %d tokens, fewer than one window of %d; give more text or a smaller --seq-len"
                            .formatted(source, tokens.length, seqLen));
        }
        List<int[]> windows = new ArrayList<>();
        List<int[]> heldOut = new ArrayList<>();
        if (request.order() == Order.CONSECUTIVE) {
            for (int at = 0; at + seqLen <= tokens.length; at += seqLen) {
                if (windows.size() < request.samples()) {
                    windows.add(Arrays.copyOfRange(tokens, at, at + seqLen));
                } else if (heldOut.size() < request.heldOut()) {
                    heldOut.add(Arrays.copyOfRange(tokens, at, at + seqLen));
                }
            }
        } else {
            int spare = Math.min(request.heldOut(), tokens.length / 5 / seqLen);
            int rest = tokens.length - spare * seqLen;
            PythonRandom random = new PythonRandom(request.seed());
            for (int i = 0; i < request.samples(); i++) {
                int at = random.between(0, Math.max(0, rest - seqLen - 1));
                windows.add(Arrays.copyOfRange(tokens, at, at + seqLen));
            }
            for (int at = rest; at + seqLen <= tokens.length; at += seqLen) {
                heldOut.add(Arrays.copyOfRange(tokens, at, at + seqLen));
            }
        }
        return new CalibrationData(source, seqLen, request.seed(), windows, heldOut);
    }

    /// Hears how far sampling is.
    @FunctionalInterface
    public interface SamplingListener {
        /// `fraction` of the windows is there, 0 to 1; `secondsLeft` is estimated from the speed so far.
        void sampled(double fraction, double secondsLeft);
    }

    /// The seconds that sampling may take where nobody asked for a number of samples.
    public static final double SAMPLING_SECONDS = 300;

    /// Windows that `model` makes up itself, at temperature 1 from its start token on, several at a time: for those who
    /// have no text. Statistics of such text are close to those of the text that the model was trained on.
    ///
    /// @param limitSeconds stops after so many seconds with the windows that are there, which may be shorter than asked
    ///     for if not even the first ones are complete by then; infinite: as many as asked for
    /// @throws ArithmeticException if the model's logits are not numbers
    public static CalibrationData selfSampled(
            Model model, Request request, double limitSeconds, SamplingListener listener) {
        if (request.seqLen() > model.spec().context()) {
            throw new InputException("seq-len %d is more than the model's context of %d"
                    .formatted(request.seqLen(), model.spec().context()));
        }
        return new SelfSampler(model, request, limitSeconds, listener).sample();
    }

    /// Windows of JSON lines, each an object with a `text`, the papers' way: a random document, tokenized with the
    /// tokenizer's own special tokens, is taken if it has more tokens than a window, and a window begins at a random place
    /// in it. Same generator, same order of draws: the released codes' windows for the same seed. Shorter documents are
    /// never used. Held-out windows are drawn after that, from documents that gave none yet.
    ///
    /// @throws InputException if a line is not such an object, or no document is long enough
    public static CalibrationData ofJsonLines(String source, byte[] lines, Tokenizer tokenizer, Request request) {
        Documents documents = new Documents(source, lines, tokenizer, request.seqLen());
        PythonRandom random = new PythonRandom(request.seed());
        List<int[]> windows = new ArrayList<>();
        while (windows.size() < request.samples()) {
            windows.add(documents.window(random, false));
        }
        List<int[]> heldOut = new ArrayList<>();
        for (int[] window; heldOut.size() < request.heldOut(); ) {
            window = documents.window(random, true);
            if (window == null) {
                break;
            }
            heldOut.add(window);
        }
        return new CalibrationData(source, request.seqLen(), request.seed(), windows, heldOut);
    }

    /// The documents of JSON lines, tokenized when they are first drawn.
    private static final class Documents {
        private final String source;
        private final byte[] bytes;
        private final int[] starts;
        private final Tokenizer tokenizer;
        private final int seqLen;
        private final BitSet tooShort = new BitSet();
        private final BitSet used = new BitSet();

        Documents(String source, byte[] bytes, Tokenizer tokenizer, int seqLen) {
            this.source = source;
            this.bytes = bytes;
            this.tokenizer = tokenizer;
            this.seqLen = seqLen;
            this.starts = starts(bytes);
            if (starts.length == 0) {
                throw new InputException("calibration text " + source + " is empty");
            }
        }

        private static int[] starts(byte[] bytes) {
            int[] starts = new int[1024];
            int count = 0;
            boolean blank = true;
            for (int i = 0; i < bytes.length; i++) {
                if (bytes[i] == '\n') {
                    blank = true;
                } else if (blank && bytes[i] > ' ' || blank && bytes[i] < 0) {
                    blank = false;
                    starts = count == starts.length ? Arrays.copyOf(starts, 2 * count) : starts;
                    starts[count++] = i;
                }
            }
            return Arrays.copyOf(starts, count);
        }

        /// A window of a random document; of one that was not used yet if `fresh`, and then null if there is none.
        int[] window(PythonRandom random, boolean fresh) {
            while (true) {
                int out = tooShort.cardinality() + (fresh ? used.cardinality() : 0);
                if (out == starts.length) {
                    if (fresh) {
                        return null;
                    }
                    throw new InputException(
                            "no document of %s has more than %d tokens; give longer documents or a smaller --seq-len"
                                    .formatted(source, seqLen));
                }
                int drawn = random.between(0, starts.length - 1);
                if (tooShort.get(drawn) || fresh && used.get(drawn)) {
                    continue;
                }
                int[] tokens = tokenizer.encode(text(drawn));
                if (tokens.length <= seqLen) {
                    tooShort.set(drawn);
                    continue;
                }
                used.set(drawn);
                int at = random.between(0, tokens.length - seqLen - 1);
                return Arrays.copyOfRange(tokens, at, at + seqLen);
            }
        }

        private String text(int document) {
            int from = starts[document];
            int to = from;
            while (to < bytes.length && bytes[to] != '\n') {
                to++;
            }
            JsonNode text;
            try {
                text = JSON.readTree(bytes, from, to - from).path("text");
            } catch (JsonProcessingException e) {
                throw new InputException(where(from) + " is not JSON: " + e.getOriginalMessage(), e);
            } catch (IOException e) {
                throw new InputException(where(from) + " cannot be read", e);
            }
            if (!text.isTextual()) {
                throw new InputException(where(from) + " has no string \"text\"");
            }
            return text.textValue();
        }

        private String where(int at) {
            int line = 1;
            for (int i = 0; i < at; i++) {
                line += bytes[i] == '\n' ? 1 : 0;
            }
            return "line " + line + " of calibration text " + source;
        }
    }
}
