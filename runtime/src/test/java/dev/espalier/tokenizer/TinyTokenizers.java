package dev.espalier.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/// Small tokenizers for tests, written out by hand.
final class TinyTokenizers {
    private TinyTokenizers() {}

    /// A vocabulary of SentencePiece's kind: `<unk>` 0, `<s>` 1, `</s>` 2, the byte tokens from 3 on, then a few words.
    static Tokenizer sentencePiece() {
        return Tokenizer.of(sentencePieceJson().getBytes(StandardCharsets.UTF_8), """
                {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}""".getBytes(StandardCharsets.UTF_8));
    }

    static String sentencePieceJson() {
        List<String> tokens = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
        IntStream.range(0, 256).forEach(b -> tokens.add("<0x%02X>".formatted(b)));
        List<String> merges =
                List.of("▁ t", "h e", "▁t he", "▁ c", "a t", "▁c at", "▁ s", "▁s at", "▁ ▁", "o n", "▁ on", "i n");
        "▁thecasoniTmL.,".chars().forEach(c -> tokens.add(Character.toString(c)));
        merges.forEach(merge -> tokens.add(merge.replace(" ", "")));
        return """
                {"version": "1.0", "added_tokens": [
                  {"id": 0, "content": "<unk>", "special": true, "normalized": false},
                  {"id": 1, "content": "<s>", "special": true, "normalized": false},
                  {"id": 2, "content": "</s>", "special": true, "normalized": false}],
                 "normalizer": {"type": "Sequence", "normalizers": [
                  {"type": "Prepend", "prepend": "▁"},
                  {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
                 "pre_tokenizer": null,
                 "post_processor": {"type": "TemplateProcessing",
                  "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                  "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
                 "decoder": {"type": "Sequence", "decoders": [
                  {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                  {"type": "ByteFallback"}, {"type": "Fuse"},
                  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
                 "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                  "vocab": {%s}, "merges": [%s]}}""".formatted(
                        IntStream.range(0, tokens.size())
                                .mapToObj(i -> "\"" + tokens.get(i) + "\": " + i)
                                .collect(Collectors.joining(", ")),
                        merges.stream().map(m -> "\"" + m + "\"").collect(Collectors.joining(", ")));
    }
}
