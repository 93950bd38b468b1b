"""Times the pruning papers' loops in PyTorch beside `espalier bench solvers`, on the same layer, cores and run.

Needs: Python 3.10, torch, numpy, safetensors; a built project (`./espalier` in the current folder, or --espalier).

    python tools/scripts/solver_times.py --shape 2048x2048 --sparsity 0.7 --threads 2

It makes a layer from a seed, writes it to a temporary file, and lets both sides prune it, in turns. The PyTorch side
is written from the papers' algorithms as their released codes run them (an eigendecomposition in float64 and an inverse
rebuilt at each look for ALPS; an explicit inverse and a second Cholesky factor for SparseGPT; sorted scores for DSnoT), so
that its time is what those codes take for one layer, calibration left out. Each side runs a method --repeats times in one
process and its shortest time counts, as in a model, where the first of many layers pays for compiling and for waking
threads; `Espalier first` is what the only layer of a process takes. Prints the median of the ratios and the errors, which
must agree, or the two did not do the same work.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


def make_layer(rows, cols, seed):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.exp(0.7 * torch.randn(cols, generator=generator))
    mean = 0.3 * torch.randn(cols, generator=generator)
    mix = torch.randn(cols, cols, generator=generator) / cols**0.5
    x = torch.randn(4 * cols, cols, generator=generator)
    x = (0.6 * x + 0.8 * (x @ mix) + mean) * scale
    w = 0.02 * torch.exp(0.2 * torch.randn(rows, 1, generator=generator)) * torch.randn(rows, cols, generator=generator)
    return w, x


def top_k(values, kept):
    mask = torch.zeros(values.numel(), dtype=torch.bool)
    mask[torch.topk(values.reshape(-1) ** 2, kept)[1]] = True
    return mask.reshape(values.shape)


def sparsegpt(w, h, sparsity, damp=0.01, block=128):
    w, h = w.clone(), h.clone()
    n = w.shape[1]
    h += damp * h.diagonal().mean() * torch.eye(n)
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    for a in range(0, n, block):
        b = min(n, a + block)
        part, ub = w[:, a:b].clone(), u[a:b, a:b]
        score = part**2 / ub.diagonal() ** 2
        mask = score <= torch.sort(score.flatten())[0][int(score.numel() * sparsity)]
        errors = torch.zeros_like(part)
        for j in range(b - a):
            column = part[:, j]
            error = torch.where(mask[:, j], column, 0.0) / ub[j, j]
            part[:, j:] -= error[:, None] * ub[j, j:][None]
            part[:, j] = torch.where(mask[:, j], 0.0, part[:, j])
            errors[:, j] = error
        w[:, a:b] = part
        w[:, b:] -= errors @ u[a:b, b:]
    return w


def alps(w, h, sparsity, damp=0.01):
    n = w.shape[1]
    h = h + damp * h.diagonal().mean() * torch.eye(n)
    e = h.diagonal().sqrt() + 1e-8
    a = h / e[:, None] / e[None]
    dense = (w * e).T.contiguous()
    g = a @ dense
    eigenvalues, q = torch.linalg.eigh(a.double())

    def inverse(rho):
        return ((q / (eigenvalues + rho)) @ q.T).float()

    kept = round((1 - sparsity) * dense.numel())
    rho, started = 0.1, False
    d = dense * top_k(dense, kept)
    first, v, seen = d.clone(), torch.zeros_like(d), d != 0
    k = inverse(rho)
    for t in range(300):
        b = k @ (g - v + rho * d)
        d = b + v / rho
        d = d * top_k(d, kept)
        v = v + rho * (b - d)
        if (t + 1) % 3 == 0:
            now = d != 0
            change = (now ^ seen).sum().item() / kept
            if change > 0.1:
                started, rho = True, rho * 1.3
            elif change > 0.005:
                started, rho = True, rho * 1.2
            elif change > 0:
                if started:
                    rho *= 1.1
                else:
                    rho, d, v = rho / 5, first.clone(), torch.zeros_like(v)
            elif started:
                break
            else:
                rho /= 5
            seen = now
            k = inverse(rho)
            if t >= 30 and change < 3e-4:
                break
    mask = top_k(b, kept)
    x = b * mask
    r = (g - a @ x) * mask
    p = r
    square = (r**2).sum(0)
    for _ in range(10):
        ap = a @ p
        alpha = square / (p * ap).sum(0).clamp_min(1e-30)
        x = x + alpha * p
        r = (r - alpha * ap) * mask
        new = (r**2).sum(0)
        p = r + new / square.clamp_min(1e-30) * p
        square = new
    return (x / e[:, None]).T


def admm_grad(w, h, sparsity, damp=0.1, rounds=20, pruning=15):
    n = w.shape[1]
    e = h.diagonal().sqrt() + 1e-8
    a = h / e[:, None] / e[None]
    a += damp * a.diagonal().mean() * torch.eye(n)
    b = (w * e).T.contiguous()
    g = a @ b
    k = torch.inverse(a + torch.eye(n))
    u = torch.zeros_like(b)
    for t in range(rounds):
        if t < pruning:
            now = sparsity * (1 - (1 - (t + 1) / pruning) ** 3)
            mask = top_k(b + u, b.numel() - int(b.numel() * now))
        z = (b + u) * mask
        u = u + b - z
        b = k @ (g + z - u)
    return ((b + u) * mask / e[:, None]).T


def dsnot(w, h, sparsity, sums, variance, sequences, cycles=50, threshold=0.1):
    score = w.abs() * (h.diagonal() / sequences).sqrt()
    contribution = w * (sums / sequences)
    n = w.shape[1]
    order = torch.sort(score, dim=1, stable=True)[1]
    pruned = torch.zeros_like(w, dtype=torch.bool)
    pruned.scatter_(1, order[:, : int(n * sparsity)], True)
    regrow = torch.sort(torch.where(pruned, contribution, 0.0) / variance, dim=1, stable=True)[1]
    keep_score = torch.where(pruned, torch.inf, score)
    lose_negative = torch.sort(torch.where(contribution < 0, keep_score, torch.inf), dim=1, stable=True)[1]
    lose_positive = torch.sort(torch.where(contribution > 0, keep_score, torch.inf), dim=1, stable=True)[1]
    rows = torch.arange(w.shape[0])
    error = torch.where(pruned, contribution, 0.0).sum(1)
    low = torch.zeros_like(rows)
    high = torch.full_like(rows, n - 1)
    negative, positive = torch.zeros_like(rows), torch.zeros_like(rows)
    active = torch.ones_like(error, dtype=torch.bool)
    for _ in range(cycles):
        up = error > 0
        grow = torch.where(up, regrow[rows, high], regrow[rows, low])
        lose = torch.where(up, lose_negative[rows, negative], lose_positive[rows, positive])
        high, low = high - up.long(), low + (~up).long()
        negative, positive = negative + up.long(), positive + (~up).long()
        active = active & (error.abs() > threshold)
        if not active.any():
            break
        changing = rows[active]
        pruned[changing, lose[active]] = True
        pruned[changing, grow[active]] = False
        change = contribution[rows, lose] - contribution[rows, grow]
        error = error + torch.where(active, change, 0.0)
    return torch.where(pruned, 0.0, w)


def relative_error(w, pruned, h):
    h = h.double()
    delta = (pruned - w).double()
    w = w.double()
    return (((delta @ h) * delta).sum() / ((w @ h) * w).sum()).sqrt().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="2048x2048", help="OUTxIN")
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--methods", default="dsnot,sparsegpt,admm-grad,alps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="runs in one process, of which the shortest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--espalier", default="./espalier")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, cols = map(int, options.shape.split("x"))
    w, x = make_layer(rows, cols, options.seed)
    h = x.T @ x
    sums, variance = x.sum(0), x.var(0, unbiased=False)
    loops = {
        "dsnot": lambda: dsnot(w, h, options.sparsity, sums, variance, 1),
        "sparsegpt": lambda: sparsegpt(w, 2 * h, options.sparsity),
        "admm-grad": lambda: admm_grad(w, h, options.sparsity),
        "alps": lambda: alps(w, h, options.sparsity),
    }
    methods = options.methods.split(",")
    times = {method: ([], [], []) for method in methods}
    errors = {method: [None, None] for method in methods}

    def espalier(file, method, repeats):
        command = [options.espalier, "bench", "solvers", "--layer", str(file), "--methods", method]
        command += ["--sparsity", str(options.sparsity), "--threads", str(options.threads)]
        command += ["--rounds", str(repeats), "--json", "--quiet"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["runs"][0]

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layer.safetensors"
        save_file({"weight": w, "inputs": x}, str(file))
        for _ in range(options.rounds):
            for method in methods:
                shortest = float("inf")
                for _ in range(options.repeats):
                    start = time.perf_counter()
                    pruned = loops[method]()
                    shortest = min(shortest, time.perf_counter() - start)
                errors[method][0] = relative_error(w, pruned, h)
                run = espalier(file, method, options.repeats)
                errors[method][1] = run["relative_error"]
                times[method][0].append(shortest)
                times[method][1].append(run["seconds"])
                times[method][2].append(espalier(file, method, 1)["seconds"])
    print(f"{rows} x {cols}, sparsity {options.sparsity}, {options.threads} threads, torch {torch.__version__}")
    print("| method | PyTorch s | Espalier s | ratio (median of pairs) | Espalier first s | error PyTorch | error Espalier |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for method in methods:
        theirs, ours, first = times[method]
        ratio = statistics.median(a / b for a, b in zip(theirs, ours))
        print(
            f"| {method} | {np.median(theirs):.3f} | {np.median(ours):.3f} | {ratio:.2f} |"
            f" {np.median(first):.3f} | {errors[method][0]:.5f} | {errors[method][1]:.5f} |"
        )


if __name__ == "__main__":
    main()
