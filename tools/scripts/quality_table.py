#!/usr/bin/env python3
"""Prunes each model by each method and pattern, and prints a Markdown table of perplexities.

Every pruned folder is evaluated twice: by `./espalier eval perplexity` and by transformers on the saved folder, on the
same windows, so that a fault in either shows. Needs torch, transformers and the data folder that is named; nothing of
it is needed to build, test or use Espalier.

    python3 tools/scripts/quality_table.py --work DIR --out FILE.md \\
        --model NAME=FOLDER,EVAL_TEXT,SEQ_LEN,WINDOWS,CALIBRATION,SAMPLES,CAL_SEQ_LEN ...

CALIBRATION and EVAL_TEXT are files; empty means the tool's own default.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CASES = [
    ("magnitude", ["--sparsity", "0.5"], "50 %"),
    ("wanda", ["--sparsity", "0.5"], "50 %"),
    ("sparsegpt", ["--sparsity", "0.5"], "50 %"),
    ("magnitude", ["--sparsity", "0.7"], "70 %"),
    ("wanda", ["--sparsity", "0.7"], "70 %"),
    ("sparsegpt", ["--sparsity", "0.7"], "70 %"),
    ("magnitude", ["--pattern", "2:4"], "2:4"),
    ("wanda", ["--pattern", "2:4"], "2:4"),
    ("sparsegpt", ["--pattern", "2:4"], "2:4"),
]


def espalier(*arguments):
    """One JSON document that `./espalier` prints."""
    run = subprocess.run(["./espalier", *map(str, arguments), "--json"], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"espalier {' '.join(map(str, arguments))} failed ({run.returncode}):\n{run.stderr}")
    return json.loads(run.stdout)


@torch.no_grad()
def transformers_perplexity(folder, text, seq_len, windows):
    """The standard protocol: the text tokenized once, windows one after another, the last partial one dropped."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(pathlib.Path(text).read_text(), return_tensors="pt").input_ids[0]
    count = len(ids) // seq_len
    if windows:
        count = min(count, windows)
    total = 0.0
    for i in range(count):
        window = ids[i * seq_len : (i + 1) * seq_len][None]
        logits = model(window).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, window[0, 1:]).item()
    return math.exp(total / count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--without", action="append", default=[], help="METHOD@PATTERN that is not wanted, as sparsegpt@2:4")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = ["| model | text, windows | method | pattern | perplexity here | transformers | sparsity | seconds |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for entry in arguments.model:
        name, rest = entry.split("=", 1)
        folder, text, seq_len, windows, calibration, samples, cal_len = rest.split(",")
        seq_len, windows = int(seq_len), int(windows)
        evaluate = ["--text", text, "--seq-len", seq_len] + (["--windows", windows] if windows else [])
        dense = espalier("eval", "perplexity", folder, *evaluate)
        label = f"{pathlib.Path(text).name}, {dense['windows']} x {seq_len}"
        reference = transformers_perplexity(folder, text, seq_len, windows)
        rows.append(f"| {name} | {label} | dense | - | {dense['perplexity']:.3f} | {reference:.3f} | 0 | - |")
        print(rows[-1], flush=True)
        for method, pattern, shown in CASES:
            if f"{method}@{pattern[1]}" in arguments.without:
                continue
            out = arguments.work / f"{name}-{method}-{shown.replace(' ', '').replace('%', '').replace(':', 'of')}"
            shutil.rmtree(out, ignore_errors=True)
            calibrate = ["--calibration", calibration] if calibration else []
            report = espalier("prune", folder, "--out", out, "--method", method, *pattern, *calibrate,
                              "--samples", samples, "--seq-len", cal_len)
            pruned = espalier("eval", "perplexity", out, *evaluate)
            reference = transformers_perplexity(out, text, seq_len, windows)
            rows.append(f"| {name} | {label} | {method} | {shown} | {pruned['perplexity']:.3f} | {reference:.3f} "
                        f"| {report['total']['sparsity']:.4f} | {report['total']['seconds']:.1f} |")
            print(rows[-1], flush=True)
            arguments.out.write_text("\n".join(rows) + "\n")
            shutil.rmtree(out)


if __name__ == "__main__":
    start = time.time()
    main()
    print(f"{time.time() - start:.0f} s", file=sys.stderr)
