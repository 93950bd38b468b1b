#!/usr/bin/env python3
"""Trains the embedded models demo-llama and demo-opt on the story grammar's text, and measures them.

Needs torch, transformers, tokenizers, safetensors and numpy; nothing else of the project does. Build the project first
(the text comes from its class dev.espalier.tools.demo.StoryText), then, from the repository's root:

    python tools/scripts/train_demo.py train demo-llama --out /tmp/demo-llama
    python tools/scripts/train_demo.py check /tmp/demo-llama

`train` writes a Hugging Face folder and train_log.json in it. `check` prints the three conditions that an embedded
model has to meet: perplexity against a bigram model's, sampled sentences that the grammar's parser accepts, and the
order of the pruning methods at 70 %.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TRAINING_SEED, CALIBRATION_SEED, HELD_OUT_SEED, TALK_SEED = 1, 2, 3, 101
CONTEXT = 512
VOCABULARY = 1024

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ 'Teller: ' + message['content'] | trim + eos_token }}{% else %}"
    "{{ 'Reader: ' + message['content'] | trim + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Teller:' }}{% endif %}"
)


# ---------------------------------------------------------------------------------------------------------- text


def story_text(args, *options, stdin=None):
    command = [args.java, "-cp", args.classes, "dev.espalier.tools.demo.StoryText", *map(str, options)]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout


def stories(args, seed, count):
    return story_text(args, "--seed", seed, "--stories", count).rstrip("\n")


def documents(args, bos, eos, story_count, talk_count):
    """Training documents: some stories in a row, or a talk; each ends with EOS.

    A fifth of the first kind begin in the middle of a story, as people's prompts do. Only a quarter of the talks begin
    with BOS: without a prompt the models should tell a story."""
    random = np.random.default_rng(0)
    texts = stories(args, TRAINING_SEED, story_count).split("\n\n")
    docs, at = [], 0
    while at < len(texts):
        n = int(random.integers(1, 7))
        doc = "\n\n".join(texts[at : at + n])
        if random.random() < 0.2:
            for _ in range(int(random.integers(1, 8))):
                doc = doc.partition(". ")[2] or doc
        docs.append(bos + doc + eos)
        at += n
    if talk_count:
        for talk in story_text(args, "--seed", TALK_SEED, "--talks", talk_count).rstrip("\n").split("\n\n"):
            turns = [line.split("\t") for line in talk.split("\n")]
            doc = "".join(f"Reader: {request}\nTeller: {reply}{eos}" for request, reply in turns)
            docs.append(bos + doc if random.random() < 0.25 else doc)
    random.shuffle(docs)
    # The same token begins and ends OPT's documents.
    return [d.removeprefix(bos) for d in docs] if bos == eos else docs


# ----------------------------------------------------------------------------------------------------- tokenizers


def learned_merges(text, pre_tokenizer, alphabet, merges):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + merges, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(text.split("\n"), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pairs = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    return [p for p in pairs if all(c in alphabet for c in p[0] + p[1])][:merges]


def llama_tokenizer(text):
    """As LLaMA 2's: spaces become a mark, one is put in front, unknown characters (newlines too) fall back to bytes."""
    specials = ["<unk>", "<s>", "</s>"]
    byte_pieces = [f"<0x{b:02X}>" for b in range(256)]
    alphabet = ["\u2581"] + [chr(c) for c in range(33, 127)]
    room = VOCABULARY - len(specials) - len(byte_pieces) - len(alphabet)
    spaces = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    words = pre_tokenizers.Sequence([spaces, pre_tokenizers.Split(Regex("[.,?\"]"), "isolated")])
    merges = learned_merges("\n".join(" " + line for line in text.split("\n")), words, alphabet, room)
    pieces = specials + byte_pieces + [a + b for a, b in merges] + alphabet
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert len(vocabulary) == len(pieces)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT, "chat_template": CHAT_TEMPLATE,
    }  # fmt: skip
    return tokenizer, config


def opt_tokenizer(text):
    """As OPT's: byte-level BPE, the same token begins and ends a document."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    room = VOCABULARY - len(specials) - len(alphabet)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    merges = learned_merges("\n".join(" " + line for line in text.split("\n")), byte_level, alphabet, room)
    pieces = specials + alphabet + [a + b for a, b in merges]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert len(vocabulary) == len(pieces)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)]
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>",
        "pad_token": "<pad>", "add_bos_token": True, "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT
    }  # fmt: skip
    return tokenizer, config


# --------------------------------------------------------------------------------------------------------- models


def new_model(name):
    if name == "demo-llama":
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
                rope_theta=10000.0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True, initializer_range=0.03,
            )
        )  # fmt: skip
    from transformers import OPTConfig, OPTForCausalLM

    return OPTForCausalLM(
        OPTConfig(
            vocab_size=VOCABULARY, hidden_size=128, word_embed_proj_dim=128, ffn_dim=512, num_hidden_layers=4,
            num_attention_heads=4, max_position_embeddings=CONTEXT, do_layer_norm_before=True,
            activation_function="relu", dropout=0.0, attention_dropout=0.0, layerdrop=0.0, bos_token_id=2,
            eos_token_id=2, pad_token_id=1, tie_word_embeddings=True, init_std=0.03,
        )
    )  # fmt: skip


INTO_RESIDUAL = ("o_proj", "out_proj", "down_proj", "fc2")


@torch.no_grad()
def initialize(model, gains, unit):
    """Fan-in initialization, which learns to copy from the context much sooner than a small constant one; and norm
    gains that differ by feature, as large models' do after long training: features of different scale are what makes
    activation-aware pruning differ from pruning by magnitude. With `unit`, each norm's gains have a mean square of one."""
    generator = torch.Generator().manual_seed(1)
    depth = 2 * model.config.num_hidden_layers
    for name, p in model.named_parameters():
        if p.ndim == 2:
            scale = 1.0 / math.sqrt(depth) if any(n in name for n in INTO_RESIDUAL) else 1.0
            fan = model.config.hidden_size if "embed" in name else p.shape[1]
            p.normal_(0.0, scale / math.sqrt(fan), generator=generator)
        elif name.endswith("norm.weight"):
            spread = torch.exp(gains * torch.randn(p.shape, generator=generator))
            p.copy_(spread / spread.square().mean().sqrt() if unit else spread)


@torch.no_grad()
def equalize_rows(matrices):
    """Draws the rows of each matrix toward their mean norm, a twentieth of the way (in logarithms) a step. In large models
    the rows of a matrix are about alike; here, left alone, some outputs grow much larger than others, and a method that
    prunes each row alike then loses what one that ranks the whole matrix does not."""
    for w in matrices:
        norms = w.norm(dim=1, keepdim=True).clamp_min(1e-6)
        w.mul_((norms.mean() / norms) ** 0.05)


def encode(tokenizer, texts):
    out = []
    for i in range(0, len(texts), 20000):
        for e in tokenizer.encode_batch_fast(texts[i : i + 20000], add_special_tokens=False):
            out.extend(e.ids)
    return np.array(out, dtype=np.int32)


def float_attention(q, k, v, *args, attention=torch.nn.functional.scaled_dot_product_attention, **options):
    """Attention in float32 under autocast: on the CPU its backward in BF16 takes half as long again."""
    with torch.autocast("cpu", enabled=False):
        return attention(q.float(), k.float(), v.float(), *args, **options)


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.nn.functional.scaled_dot_product_attention = float_attention
    began = time.time()
    os.makedirs(args.out, exist_ok=True)
    sample = stories(args, TRAINING_SEED, 5000)
    llama = args.name == "demo-llama"
    tokenizer, tokenizer_config = llama_tokenizer(sample) if llama else opt_tokenizer(sample)
    tokenizer.save(f"{args.out}/tokenizer.json")
    with open(f"{args.out}/tokenizer_config.json", "w") as f:
        json.dump(tokenizer_config, f, indent=2)
    bos, eos = tokenizer_config["bos_token"], tokenizer_config["eos_token"]
    if args.stream and os.path.exists(args.stream):
        stream = np.load(args.stream)
    else:
        stream = encode(tokenizer, documents(args, bos, eos, args.stories, args.stories // 10 if llama else 0))
        if args.stream:
            np.save(args.stream, stream)
    print(f"{len(stream)} tokens after {time.time() - began:.0f} s", flush=True)

    model = new_model(args.name)
    initialize(model, args.gains, args.unit_gains)
    parameters = sum(p.numel() for p in model.parameters())
    blocks_matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    decayed = [p for n, p in model.named_parameters() if p.ndim == 2 and not (args.muon and "layers" in n)]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizers = [
        torch.optim.AdamW(
            [{"params": decayed, "weight_decay": args.decay}, {"params": others, "weight_decay": 0.0}],
            lr=args.lr, betas=(0.9, 0.98), fused=True,
        )
    ]  # fmt: skip
    if args.muon:
        optimizers.append(torch.optim.Muon(blocks_matrices, lr=args.muon, weight_decay=args.decay, momentum=0.95, ns_steps=5))
    for o in optimizers:
        for group in o.param_groups:
            group["peak"] = group["lr"]
    per_step = args.tokens
    random = np.random.default_rng(1)
    # Half the context makes attention half as dear, so most steps are short; the last ones see the whole context. The
    # short windows stand at random positions, so that every learned position is trained from the beginning.
    lengths = [CONTEXT // 2, CONTEXT]
    steps = args.steps or (len(stream) - 1) // per_step
    long_from = round(steps * 0.9)
    order = [random.permutation((len(stream) - 1) // n) for n in lengths]
    at = [0, 0]
    print(f"{parameters} parameters, {steps} steps of {per_step} tokens", flush=True)
    log, began = [], time.time()
    sums = 0.0
    for step in range(1, steps + 1):
        which = int(step > long_from)
        n, count = lengths[which], per_step // lengths[which]
        if at[which] + count > len(order[which]):
            at[which] = 0
        picked = order[which][at[which] : at[which] + count]
        at[which] += count
        batch = torch.from_numpy(np.stack([stream[w * n : w * n + n + 1] for w in picked]).astype(np.int64))
        positions = torch.arange(n)[None] + torch.from_numpy(random.integers(0, CONTEXT - n + 1, (count, 1)))
        rate = min(step / args.warmup, 1.0) * min(1.0, max((steps - step) / (steps * args.cooldown), 0.01))
        for o in optimizers:
            for group in o.param_groups:
                group["lr"] = group["peak"] * rate
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
            logits = model(input_ids=batch[:, :-1], position_ids=positions, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().reshape(-1, VOCABULARY), batch[:, 1:].reshape(-1))
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in optimizers:
            o.step()
        if args.equal_rows:
            equalize_rows(blocks_matrices)
        sums += loss.item()
        if step % args.log == 0 or step == steps:
            n = args.log if step % args.log == 0 else step % args.log
            seconds = time.time() - began
            log.append({"step": step, "tokens": step * per_step, "loss": round(sums / n, 4), "seconds": round(seconds)})
            print(f"step {step} loss {sums / n:.4f} {step * per_step / seconds:.0f} tok/s {seconds:.0f} s", flush=True)
            sums = 0.0
    seconds = time.time() - began
    # BF16 is what the checkpoint holds, so everything that is measured is measured on it.
    model.to(torch.bfloat16).save_pretrained(args.out)
    with open(f"{args.out}/train_log.json", "w") as f:
        summary = {
            "model": args.name, "parameters": parameters, "steps": steps, "tokens": steps * per_step,
            "seconds": round(seconds), "arguments": {k: v for k, v in vars(args).items() if k in TRAINING_ARGUMENTS},
        }  # fmt: skip
        json.dump({**summary, "log": log}, f, indent=1)


TRAINING_ARGUMENTS = ("stories", "tokens", "lr", "decay", "gains", "unit_gains", "equal_rows", "muon", "warmup", "cooldown", "bf16", "steps")


# ---------------------------------------------------------------------------------------------------------- check


def windows_of(tokenizer, text, count):
    ids = tokenizer.encode(text).ids
    assert len(ids) >= count * CONTEXT, f"{len(ids)} tokens are too few"
    return torch.tensor(ids[: count * CONTEXT]).reshape(count, CONTEXT)


@torch.no_grad()
def perplexity(model, windows):
    total = 0.0
    for rows in windows.split(8):
        logits = model(input_ids=rows, use_cache=False).logits.float()
        total += torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1), reduction="sum"
        ).item()
    return math.exp(total / (windows.shape[0] * (CONTEXT - 1)))


def bigram_perplexity(train_ids, windows, vocabulary):
    """Add-k smoothing with the k that is best on the measured windows: the bigram model's most favourable figure."""
    counts = np.zeros((vocabulary, vocabulary))
    np.add.at(counts, (train_ids[:-1], train_ids[1:]), 1)
    total = counts.sum(1)
    first, second = windows[:, :-1].reshape(-1).numpy(), windows[:, 1:].reshape(-1).numpy()
    best = math.inf
    for k in (1e-4, 1e-3, 1e-2, 0.1, 1.0):
        p = (counts[first, second] + k) / (total[first] + k * vocabulary)
        best = min(best, math.exp(-np.log(p).mean()))
    return best


@torch.no_grad()
def sampled_text(model, tokenizer, count, seed, temperature, new_tokens=300):
    torch.manual_seed(seed)
    bos = tokenizer.encode("").ids
    ids = torch.tensor([bos] * count)
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=temperature, top_k=0, top_p=1.0,
        max_new_tokens=new_tokens, pad_token_id=model.config.eos_token_id,
    )  # fmt: skip
    texts = []
    for row in out[:, ids.shape[1] :].tolist():
        ended = model.config.eos_token_id in row
        if ended:
            row = row[: row.index(model.config.eos_token_id)]
        texts.append((tokenizer.decode(row), ended))
    return texts


def acceptance(args, texts):
    """What the parser says of every sentence and every finished story; the last sentence of a text cut by length is
    left out."""
    sentences, whole = [], []
    for text, ended in texts:
        found = story_text(args, "--check", "sentences", stdin=text).rstrip("\n").split("\n")
        sentences += found if ended else found[:-1]
        paragraphs = text.split("\n\n")
        whole += paragraphs if ended else paragraphs[:-1]
    consistent = story_text(args, "--check", "stories", stdin="\n\n".join(whole)).rstrip("\n").split("\n")
    return sentences, consistent


def linears(block):
    return {n: m for n, m in block.named_modules() if isinstance(m, torch.nn.Linear)}


def magnitude(w, s):
    mask = torch.zeros(w.numel(), dtype=torch.bool)
    mask[w.abs().flatten().argsort(stable=True)[: int(w.numel() * s)]] = True
    return w.masked_fill(mask.reshape(w.shape), 0.0)


def wanda(w, h, s):
    score = w.abs() * h.diagonal().sqrt()
    order = score.argsort(dim=1, stable=True)[:, : int(w.shape[1] * s)]
    return w.masked_fill(torch.zeros_like(w, dtype=torch.bool).scatter_(1, order, True), 0.0)


def sparsegpt(w, h, s, damp=0.01, width=128):
    w, h = w.clone(), h.clone()
    dead = h.diagonal() == 0
    h[dead, dead] = 1.0
    w[:, dead] = 0.0
    n = w.shape[1]
    h += damp * h.diagonal().mean() * torch.eye(n)
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    for i in range(0, n, width):
        j = min(i + width, n)
        b, ub = w[:, i:j].clone(), u[i:j, i:j]
        score = (b / ub.diagonal()) ** 2
        mask = torch.zeros(score.numel(), dtype=torch.bool)
        mask[score.flatten().argsort(stable=True)[: int(score.numel() * s)]] = True
        mask = mask.reshape(score.shape)
        errors = torch.zeros_like(b)
        for c in range(j - i):
            q = b[:, c].masked_fill(mask[:, c], 0.0)
            errors[:, c] = (b[:, c] - q) / ub[c, c]
            b[:, c:] -= errors[:, c : c + 1] * ub[c, c:]
            b[:, c] = q
        w[:, i:j] = b
        w[:, j:] -= errors @ u[i:j, j:]
    return w


@torch.no_grad()
def prune(model, calibration, method, sparsity):
    """The sequential protocol: each block is pruned on what the pruned blocks before it give it."""
    base = model.model.decoder if hasattr(model.model, "decoder") else model.model
    blocks = list(base.layers)
    for i, block in enumerate(blocks):
        base.layers = torch.nn.ModuleList(blocks[: i + 1])
        grams, hooks = {}, []
        if method is not magnitude:
            for name, layer in linears(block).items():
                grams[name] = torch.zeros(layer.in_features, layer.in_features, dtype=torch.float64)

                def tap(_, inputs, __, name=name):
                    x = inputs[0].reshape(-1, inputs[0].shape[-1]).float()
                    grams[name] += (x.T @ x).double()

                hooks.append(layer.register_forward_hook(tap))
            for rows in calibration.split(8):
                base(input_ids=rows, use_cache=False)
            for hook in hooks:
                hook.remove()
        for name, layer in linears(block).items():
            w = layer.weight.data
            if method is magnitude:
                layer.weight.data = magnitude(w, sparsity)
            else:
                layer.weight.data = method(w, (grams[name] * (2 / calibration.shape[0])).float(), sparsity)
            layer.weight.data = layer.weight.data.bfloat16().float()
    base.layers = torch.nn.ModuleList(blocks)


def check(args):
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(f"{args.folder}/tokenizer.json")

    def load():
        return AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()

    model = load()
    held_out = windows_of(tokenizer, stories(args, HELD_OUT_SEED, 5 * args.windows), args.windows)
    train_ids = encode(tokenizer, [stories(args, TRAINING_SEED, args.bigram_stories)])
    result = {"perplexity": {"dense": perplexity(model, held_out)}}
    result["perplexity"]["bigram"] = bigram_perplexity(train_ids, held_out, model.config.vocab_size)
    result["ratio"] = result["perplexity"]["dense"] / result["perplexity"]["bigram"]
    print(json.dumps(result), flush=True)
    if args.samples:
        texts = sampled_text(model, tokenizer, args.samples, 0, 0.7)
        sentences, consistent = acceptance(args, texts)
        for line in sentences + consistent if args.show else []:
            if line.startswith("no"):
                print(line)
        if args.show:
            print("\n--\n".join(text for text, _ in texts[: args.show]))
        result["sentences"] = len(sentences)
        result["accepted"] = sum(s.startswith("yes") for s in sentences) / len(sentences)
        result["accepted_of_first_100"] = sum(s.startswith("yes") for s in sentences[:100])
        result["stories"] = len(consistent)
        result["consistent"] = sum(s.startswith("yes") for s in consistent) / len(consistent)
        print(json.dumps(result), flush=True)
    calibration = windows_of(tokenizer, stories(args, CALIBRATION_SEED, 5 * args.calibration), args.calibration)
    for sparsity in args.sparsity:
        row = {}
        for method in (sparsegpt, wanda, magnitude):
            pruned = load()
            prune(pruned, calibration, method, sparsity)
            row[method.__name__] = perplexity(pruned, held_out)
        row["wanda/sparsegpt"] = row["wanda"] / row["sparsegpt"]
        row["magnitude/wanda"] = row["magnitude"] / row["wanda"]
        result[str(sparsity)] = row
        print(sparsity, json.dumps(row), flush=True)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--java", default="java", help="a JDK 25 launcher")
    common.add_argument("--classes", default="tools/target/classes", help="the compiled tools module")
    common.add_argument("--threads", type=int, default=2)
    t = commands.add_parser("train", parents=[common])
    t.add_argument("name", choices=["demo-llama", "demo-opt"])
    t.add_argument("--out", required=True)
    t.add_argument("--stories", type=int, default=32000)
    t.add_argument("--tokens", type=int, default=2048, help="tokens a step")
    t.add_argument("--stream", help="where to keep the tokens for another run")
    t.add_argument("--gains", type=float, default=0.5, help="standard deviation of the logarithm of the norm gains")
    t.add_argument("--unit-gains", action="store_true", help="gains scaled to a mean square of one")
    t.add_argument("--equal-rows", action="store_true", help="keep the rows of each matrix at about the same norm")
    t.add_argument("--muon", type=float, default=0.02, help="Muon's rate for the blocks' matrices; 0: AdamW")
    t.add_argument("--lr", type=float, default=3e-3)
    t.add_argument("--decay", type=float, default=0.1)
    t.add_argument("--warmup", type=int, default=100)
    t.add_argument("--cooldown", type=float, default=0.6)
    t.add_argument("--steps", type=int, default=2000, help="0: once through the text")
    t.add_argument("--log", type=int, default=50)
    t.add_argument("--bf16", action="store_true", help="matrix products in BF16")
    c = commands.add_parser("check", parents=[common])
    c.add_argument("folder")
    c.add_argument("--windows", type=int, default=64)
    c.add_argument("--calibration", type=int, default=128)
    c.add_argument("--bigram-stories", type=int, default=60000)
    c.add_argument("--samples", type=int, default=24)
    c.add_argument("--sparsity", type=float, nargs="*", default=[0.5, 0.7])
    c.add_argument("--show", type=int, default=0)
    c.add_argument("--json")
    args = parser.parse_args()
    train(args) if args.command == "train" else check(args)


if __name__ == "__main__":
    sys.exit(main())
