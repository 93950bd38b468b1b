"""Makes runtime/src/test/resources/dev/espalier/tokenizer/tokenizers.json.gz.

Small byte-pair vocabularies, trained here on text of our own, in every pipeline that Tokenizer supports, with the ids and
the decoded text that the tokenizers library gives for strings that are hard to split. PipelinesTest holds Tokenizer to
it. Needs the tokenizers library (made with 0.23.2); no network, the same output each time:

    python tools/scripts/tokenizer_goldens.py
"""

import copy
import gzip
import json
import pathlib
import random

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SENTENCES = """The gardener counted the apples and gave two of them to the child who had lost her basket.
Yesterday it rained in the harbour; the boats stayed, and nobody sold any fish before 1947.
She said: "It's late, we'll go, they've gone, I'm tired, don't you'd?" But he didn't.
A small lamp stood on the table, the other lamp stood under it. 12 plus 345 is 357, not 3570!
Zoë's naïve café owner wrote “Ångström” — and Москва, Ελλάδα, 東京, 서울 in the same line… 🙂👩‍👩‍👧
    def counted(apples):\n        return apples + 1  # one more\n\n\tindented\twith\ttabs\r\n
""".splitlines(keepends=True)

TEXTS = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "a ",
    "  a  b   c ",
    "\n",
    "\n\n \n",
    "\t\ta\r\n b",
    "The lamp stood on the table.",
    "the gardener's apples, don't they'll I'M 'S 'ſ we'VE",
    "1234567890 12 3.14 １２３ ٣٤ ½ Ⅷ ² x²",
    "Zoë naïve café e\u0301 n\u0303 ﬁ ﬀ Å Å",
    "İstanbul ΟΔΟΣ ΣΣ ß ẞ ǅ K ſ",
    "東京は日本の首都です。서울 각 ก็ हिन्दी العربية עברית",
    "🙂👩‍👩‍👧🇩🇪👍🏽 x🙂y",
    "a\u00a0b\u2003c\u3000d\u200be\u200cf\u200dg\u2028h\u0085i\ufeffj",
    "\u0000\u0001\u001c\u001f\u007f\u0080",
    "\ue000\U000f0000\U0010ffff\u0378\ufffd",
    "<s>",
    "</s> the <unk>lamp",
    "the</s> lamp",
    "the</s>lamp <s> <s>x",
    "  <s>  the  </s>  ",
    "<0x41> <0xE2>",
    "▁the ▁▁lamp▁",
    "Ġthe Ċ ĠĠ",
    "foo_bar-baz/qux.py --help == != {x: [1, 2]} #c @d ~/e",
    "....!!!???  ,;: '\"'\"",
    "https://example.invalid/a?b=c&d=%20#e",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ababababababababababab thethethethe",
    "          deep\n        indent\n\n\n    def f():\n",
    "ADDED added addedx xADDED ADDED added <mask>  <mask>x  <mask>",
    "ADD ADDE ADDEDADDED É é ADDÉ",
    "x  \n  y \r\n\r\n z \n",
]

ALPHABET = list("aeth 'sT.,!1\n\t <>") + [
    "  ", "é", "e\u0301", "\u0301", "ß", "İ", "東", "가", "\u1100", "\u1161", "क", "\u094d", "ا", "🙂", "\u200d", "\u00a0",
    "\u2009", "٣", "½", "Ⅷ", "²", "ſ", "K", "_", "\u203f", "\u0378", "\U0001d400", "▁", "Ġ", "</s>", "the", "ADDED",
]


def texts():
    generator = random.Random(20261126)
    return TEXTS + ["".join(generator.choices(ALPHABET, k=generator.randint(3, 30))) for _ in range(24)]


def trained(normalizer, pre_tokenizer, size, alphabet=()):
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(
        SENTENCES * 3, trainers.BpeTrainer(vocab_size=size, initial_alphabet=list(alphabet), show_progress=False)
    )
    model = json.loads(tokenizer.to_str())["model"]
    return list(model["vocab"]), model["merges"]


def bases():
    special = ["<unk>", "<s>", "</s>"]
    tokens, merges = trained(None, pre_tokenizers.ByteLevel(add_prefix_space=False), 400, pre_tokenizers.ByteLevel.alphabet())
    level = {"vocab": {t: i for i, t in enumerate(special + tokens)}, "merges": merges}
    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokens, merges = trained(spaces, pre_tokenizers.Metaspace(split=True), 260)
    data = [f"<0x{b:02X}>" for b in range(256)]
    pieces = {"vocab": {t: i for i, t in enumerate(special + data + [t for t in tokens if t not in data])}, "merges": merges}
    tokens, merges = trained(normalizers.Lowercase(), None, 240)
    plain = {"vocab": {t: i for i, t in enumerate(special + tokens)}, "merges": merges}
    part = [t for t in data if t != "<0xE2>"]
    holes = {"vocab": {t: i for i, t in enumerate(special + part + tokens)}, "merges": merges}
    words = ["a", "##b", "##a", "b", "a</w>", "##b</w>", "##a</w>", "b</w>", "ab", "ab</w>", "##ab", "##ab</w>", " ", "## "]
    affixes = {
        "vocab": {t: i for i, t in enumerate(special + words)},
        "merges": [["a", "##b"], ["a", "##b</w>"], ["##a", "##b"], ["##a", "##b</w>"]],
    }
    return {"level": level, "pieces": pieces, "plain": plain, "holes": holes, "affixes": affixes}


def added(id, content, special=True, normalized=False, **flags):
    base = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return base | {"normalized": normalized, "special": special} | flags


SPECIAL = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
}
ENDED = TEMPLATE | {
    "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ],
    "special_tokens": TEMPLATE["special_tokens"] | {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}},
}
GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SIGNS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def kind(type, **fields):
    return {"type": type} | fields


def split(regex, behavior="Isolated", invert=False, string=False):
    return kind("Split", pattern={"String" if string else "Regex": regex}, behavior=behavior, invert=invert)


def sequence(name, *steps):
    return kind("Sequence", **{name: list(steps)})


BYTES = kind("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
MAPPED = BYTES | {"use_regex": False}
SPACES = kind("Replace", pattern={"String": " "}, content="▁")
LLAMA = sequence("normalizers", kind("Prepend", prepend="▁"), SPACES)
UNSPACES = kind("Replace", pattern={"String": "▁"}, content=" ")
PIECES = sequence("decoders", UNSPACES, kind("ByteFallback"), kind("Fuse"), kind("Strip", content=" ", start=1, stop=0))
FUSE = kind("Fuse")


def metaspace(scheme, cut):
    return kind("Metaspace", replacement="▁", prepend_scheme=scheme, split=cut)


def variants():
    level = dict(base="level", decoder=BYTES)
    pieces = dict(base="pieces", decoder=PIECES, model=dict(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    plain = dict(base="plain", decoder=FUSE, model=dict(unk_token="<unk>"))
    yield "gpt2", level | dict(pre_tokenizer=BYTES)
    yield "gpt2-prefix", level | dict(pre_tokenizer=BYTES | {"add_prefix_space": True}, post_processor=BYTES)
    yield "opt", level | dict(pre_tokenizer=BYTES, post_processor=TEMPLATE)
    yield "llama3", level | dict(
        pre_tokenizer=sequence("pretokenizers", split(GPT4), MAPPED),
        post_processor=sequence("processors", BYTES, TEMPLATE),
        model=dict(ignore_merges=True),
        drop_merges=40,
    )
    yield "qwen2", level | dict(normalizer=kind("NFC"), pre_tokenizer=sequence("pretokenizers", split(GPT4.replace("{1,3}", "")), MAPPED))
    yield "cased", level | dict(pre_tokenizer=sequence("pretokenizers", split(CASED), MAPPED))
    yield "signs", level | dict(
        pre_tokenizer=sequence("pretokenizers", split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(SIGNS), MAPPED)
    )
    yield "digits", level | dict(pre_tokenizer=sequence("pretokenizers", kind("Digits", individual_digits=True), BYTES))
    yield "digit-runs", level | dict(pre_tokenizer=sequence("pretokenizers", kind("Digits", individual_digits=False), BYTES))
    yield "no-pre-tokenizer", level | dict(normalizer=kind("ByteLevel"))
    yield "words", level | dict(pre_tokenizer=sequence("pretokenizers", split(r"\w+|[^\w\s]+|\s+"), MAPPED))
    yield "classes", level | dict(pre_tokenizer=sequence("pretokenizers", split(r"\d+|\h+|[^\W\d]+|\S"), MAPPED))
    yield "engine", level | dict(
        pre_tokenizer=sequence("pretokenizers", split(r"(?<=t)h|(?>a+)|\p{Han}++|\p{^L}?+\p{Lu}|^\s|e$|.\p{M}"), MAPPED)
    )
    yield "llama2", pieces | dict(normalizer=LLAMA, post_processor=TEMPLATE)
    yield "gemma", pieces | dict(
        normalizer=SPACES,
        pre_tokenizer=split(" ", "MergedWithPrevious", string=True),
        decoder=sequence("decoders", UNSPACES, kind("ByteFallback"), FUSE),
    )
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            yield f"metaspace-{scheme}-{'split' if cut else 'whole'}", pieces | dict(
                pre_tokenizer=metaspace(scheme, cut), decoder=metaspace(scheme, cut), model=dict(unk_token="<unk>")
            )
    yield "unknown-fused", plain | dict(model=dict(unk_token="<unk>", fuse_unk=True))
    yield "unknown-each", plain
    yield "unknown-dropped", plain | dict(model={})
    yield "byte-missing", plain | dict(base="holes", model=dict(unk_token="<unk>", fuse_unk=True, byte_fallback=True), decoder=sequence("decoders", kind("ByteFallback"), FUSE))
    yield "affixes", dict(base="affixes", pre_tokenizer=kind("WhitespaceSplit"), decoder=None, model=dict(continuing_subword_prefix="##", end_of_word_suffix="</w>", unk_token="<unk>"))
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"split-{behavior}{'-inverted' if invert else ''}", plain | dict(pre_tokenizer=split(r"[ ae]", behavior, invert))
        yield f"punctuation-{behavior}", plain | dict(pre_tokenizer=kind("Punctuation", behavior=behavior))
    yield "whitespace", plain | dict(pre_tokenizer=kind("Whitespace"))
    yield "whitespace-split", plain | dict(pre_tokenizer=kind("WhitespaceSplit"), decoder=None)
    yield "bert", plain | dict(pre_tokenizer=kind("BertPreTokenizer"))
    yield "delimiter", plain | dict(pre_tokenizer=kind("CharDelimiterSplit", delimiter="a"))
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield form, level | dict(normalizer=kind(form), pre_tokenizer=BYTES)
    yield "strip", level | dict(normalizer=kind("Strip", strip_left=True, strip_right=True), pre_tokenizer=BYTES)
    yield "strip-right", level | dict(normalizer=kind("Strip", strip_left=False, strip_right=True), pre_tokenizer=BYTES)
    yield "chain", level | dict(
        normalizer=sequence(
            "normalizers", kind("NFD"), kind("StripAccents"), kind("Lowercase"),
            kind("Replace", pattern={"Regex": r"\s{2,}"}, content=" $1 "), kind("Replace", pattern={"String": "."}, content="\\"),
        ),
        pre_tokenizer=BYTES,
    )
    tokens = lambda **flags: SPECIAL + [added(900, "ADDED", False, **flags), added(901, "<mask>", True, **flags), added(902, "ADD", False, **flags), added(903, " added", False, **flags), added(904, "É", False, **flags)]
    for name, flags in {
        "plain": {}, "lstrip": dict(lstrip=True), "rstrip": dict(rstrip=True), "both": dict(lstrip=True, rstrip=True),
        "word": dict(single_word=True), "normalized": dict(normalized=True),
    }.items():
        yield f"added-{name}", level | dict(normalizer=sequence("normalizers", kind("Lowercase"), kind("NFD")), pre_tokenizer=BYTES, added_tokens=tokens(**flags))
    yield "roberta", level | dict(pre_tokenizer=BYTES, post_processor=kind("RobertaProcessing", sep=["</s>", 2], cls=["<s>", 1], trim_offsets=True, add_prefix_space=False))
    yield "bert-ends", level | dict(pre_tokenizer=BYTES, post_processor=kind("BertProcessing", sep=["</s>", 2], cls=["<s>", 1]))
    yield "ended", level | dict(pre_tokenizer=BYTES, post_processor=ENDED)
    yield "decoder-strips", plain | dict(decoder=sequence("decoders", FUSE, kind("Strip", content="a", start=2, stop=0)))
    yield "decoder-strips-each", plain | dict(decoder=sequence("decoders", kind("Strip", content="a", start=1, stop=0), kind("Replace", pattern={"Regex": "[et]+"}, content="-")))


def main():
    all_bases = bases()
    strings = texts()
    goldens = []
    for name, variant in variants():
        base = all_bases[variant["base"]]
        model = {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        } | variant.get("model", {})
        merges = base["merges"][: len(base["merges"]) - variant.get("drop_merges", 0)]
        spec = {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": variant.get("added_tokens", SPECIAL),
            "normalizer": variant.get("normalizer"), "pre_tokenizer": variant.get("pre_tokenizer"),
            "post_processor": variant.get("post_processor"), "decoder": variant["decoder"],
        }
        # The library numbers added tokens from the vocabulary's end on.
        spec["added_tokens"] = copy.deepcopy(spec["added_tokens"])
        next_id = len(base["vocab"])
        for token in spec["added_tokens"]:
            if token["content"] not in base["vocab"]:
                token["id"] = next_id
                next_id += 1
            else:
                token["id"] = base["vocab"][token["content"]]
        tokenizer = Tokenizer.from_str(json.dumps(spec | {"model": model | {"vocab": base["vocab"], "merges": merges}}))
        for token in spec["added_tokens"]:
            assert tokenizer.token_to_id(token["content"]) == token["id"] or token["normalized"], token
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in strings]
        generator = random.Random(name)
        random_ids = [[generator.randrange(next_id) for _ in range(12)] for _ in range(6)]
        golden = {
            "name": name, "base": variant["base"], "model": model, "drop_merges": variant.get("drop_merges", 0), "spec": spec,
            "ids": [" ".join(map(str, i)) for i in ids],
            "with_special": " ".join(map(str, tokenizer.encode("the lamp").ids)),
            "decoded": [tokenizer.decode(i) for i in ids],
            "random_ids": random_ids,
            "random_decoded": [tokenizer.decode(i) for i in random_ids],
        }
        # What equals the text itself need not be written down.
        golden["decoded"] = [None if d == t else d for d, t in zip(golden["decoded"], strings)]
        # Version 0.23 decodes such tokens to their normalized form (and so no longer skips special ones): not followed.
        if any(token["normalized"] for token in spec["added_tokens"]):
            del golden["decoded"], golden["random_decoded"]
        goldens.append(golden)
    out = pathlib.Path(__file__).parents[2] / "runtime/src/test/resources/dev/espalier/tokenizer/tokenizers.json.gz"
    document = {"made_with": f"tokenizers {tokenizers.__version__}", "texts": strings, "bases": all_bases, "goldens": goldens}
    lines = json.dumps(document, ensure_ascii=True, separators=(",", ":")).replace('{"name":', '\n{"name":')
    out.write_bytes(gzip.compress(lines.encode(), mtime=0))
    print(out, len(goldens), "pipelines", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
