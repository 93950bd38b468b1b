"""Times decoding by Espalier, by PyTorch and, where a build of it is given, by llama.cpp, on one model, in one run, in turns.

Needs: Python 3.10, torch, transformers; a built project (`./espalier` in the current folder, or --espalier).

    python tools/scripts/decode_compare.py --model FOLDER --formats dense,bitmask-int8@0.5,swell-int8@0.8 --threads 2
    python tools/scripts/decode_compare.py --shape llama-1b --head int8 ... \\
        --llama-bench build/bin/llama-bench --gguf f-bf16.gguf,f-q8_0.gguf,f-q4_0.gguf

FOLDER is a Hugging Face folder. With --shape both sides get random weights of that shape, which is for speed only.
PyTorch runs the model in bfloat16 through `transformers`, one token a step with its own cache of keys and values, gradients
off. A round is one process of each; rounds alternate the order. Printed are the medians, and the median of the rounds'
ratios to PyTorch, losses included. The zeros of Espalier's sparse formats are the smallest magnitudes: speed, not quality.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

SHAPES = {
    # hidden, intermediate, layers, heads, key/value heads, vocabulary: what `random:` makes on our side
    "llama-1b": dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
                     num_key_value_heads=4, vocab_size=32000),
}

# Runs in a process of its own, so that no side finds the other's memory or threads.
TORCH_SIDE = """
import json, sys, time
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
source, threads, prompt, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
if source.startswith("{"):
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**json.loads(source)))
else:
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
model.eval()
ids = torch.arange(1, prompt + 1)[None]
out = model(ids, use_cache=True)
cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
times = []
for _ in range(tokens):
    start = time.perf_counter()
    out = model(token, past_key_values=cache, use_cache=True)
    cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
    times.append(time.perf_counter() - start)
times.sort()
print(json.dumps({"tokens_per_s": 1 / times[len(times) // 2], "torch": torch.__version__}))
"""


def pytorch(options):
    source = json.dumps(SHAPES[options.shape]) if options.shape else options.model
    command = [sys.executable, "-c", TORCH_SIDE, source, str(options.threads), str(options.prompt), str(options.tokens)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=options.environment).stdout
    return {"PyTorch, bfloat16": json.loads(out.splitlines()[-1])["tokens_per_s"]}


def espalier(options):
    model = f"random:{options.shape}" if options.shape else options.model
    command = [options.espalier, "bench", "decode", model, "--formats", options.formats, "--rounds", "5",
               "--threads", str(options.threads), "--head", options.head, "--json", "--quiet"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=options.environment).stdout
    document = json.loads(out)
    options.read.append(document["read_gb_per_s"])
    result = {}
    for run in document["runs"]:
        sparsity = f" {100 * run['sparsity']:.0f} %" if run["sparsity"] > 0.01 else ""
        result[f"Espalier, {run['format']}{sparsity}, {options.head} head"] = run["tokens_per_s"]
    return result


def llama_cpp(options):
    result = {}
    for file in filter(None, options.gguf.split(",")):
        command = [options.llama_bench, "-m", file, "-p", "0", "-n", str(options.tokens), "-t", str(options.threads),
                   "-r", "3", "-o", "json"]
        out = subprocess.run(command, check=True, capture_output=True, text=True, env=options.environment).stdout
        result[f"llama.cpp, {Path(file).stem}"] = json.loads(out)[-1]["avg_ts"]
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--formats", default="dense,bitmask@0.5,2:4,swell@0.7,swell@0.8,bitmask-int8@0.5,swell-int8@0.8")
    parser.add_argument("--head", default="dense", choices=["dense", "int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--espalier", default="./espalier")
    parser.add_argument("--llama-bench")
    parser.add_argument("--gguf", default="")
    options = parser.parse_args()
    if bool(options.model) == bool(options.shape):
        parser.error("give --model or --shape")
    options.environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    options.read = []
    sides = [pytorch, espalier] + ([llama_cpp] if options.llama_bench else [])
    rounds = []
    for i in range(options.rounds):
        figures = {}
        for side in sides if i % 2 == 0 else reversed(sides):
            figures.update(side(options))
        rounds.append(figures)
        print(f"round {i + 1} of {options.rounds}: {figures}", file=sys.stderr)
    reference = "PyTorch, bfloat16"
    print(f"{options.shape or options.model}, {options.threads} threads, {options.rounds} rounds, {platform.processor()}; "
          f"memory reads at {statistics.median(options.read):.1f} GB/s\n")
    print("| | tok/s | of PyTorch's (min to max) |\n| --- | --- | --- |")
    for name in sorted(rounds[0], key=lambda name: (name != reference, name)):
        ratios = sorted(figures[name] / figures[reference] for figures in rounds)
        print(f"| {name} | {statistics.median(figures[name] for figures in rounds):.1f} "
              f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |")


if __name__ == "__main__":
    main()
