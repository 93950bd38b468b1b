"""What PyTorch needs for the products of `espalier gpu-check`: python3 -c FILE SHAPES_JSON ANSWER_FILE.

BF16, one token and many; dense, and 2:4 by torch.sparse.to_sparse_semi_structured. Products run inside a CUDA graph where
they can be recorded, weights rotate over 256 MiB so that none comes from a cache, and the answer is the median of 9 rounds.
"""
import json
import statistics
import sys

import torch

if not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")


def seconds(work, launches):
    work(0)
    torch.cuda.synchronize()
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(launches):
                work(i)
        turn = graph.replay
    except RuntimeError:
        torch.cuda.synchronize()

        def turn():
            for i in range(launches):
                work(i)

    times = []
    for _ in range(10):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        turn()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / launches)
    return statistics.median(times[1:])


def two_four(weight):
    groups = weight.reshape(-1, 4)
    order = torch.rand(groups.shape, device=weight.device).argsort(dim=1)
    return (groups * (order < 2)).reshape(weight.shape)


rows = []
for shape in json.loads(sys.argv[1]):
    out, features = shape["out"], shape["in"]
    dense = torch.randn(out, features, device="cuda", dtype=torch.bfloat16)
    copies = [dense.clone() for _ in range(max(1, -(-(256 << 20) // (2 * out * features))))]
    ways = [("dense", copies, 0.0)]
    try:
        ways.append(("2:4", [torch.sparse.to_sparse_semi_structured(two_four(dense))], 0.5))
    except (RuntimeError, NotImplementedError, AttributeError) as e:
        rows.append({"layer": shape["layer"], "skipped": "2:4: " + str(e).splitlines()[0]})
    for tokens in (1, 512, 4096):
        x = torch.randn(tokens, features, device="cuda", dtype=torch.bfloat16)
        first = None
        for name, weights, sparsity in ways:
            try:
                time = seconds(lambda i: torch.nn.functional.linear(x, weights[i % len(weights)]), 32 if tokens == 1 else 4)
            except (RuntimeError, NotImplementedError) as e:
                rows.append({"layer": shape["layer"], "tokens": tokens, "skipped": name + ": " + str(e).splitlines()[0]})
                continue
            first = first or time
            rows.append({
                "layer": shape["layer"],
                "tokens": tokens,
                "format": name + ", PyTorch " + torch.__version__,
                "sparsity": sparsity,
                "us": time * 1e6,
                "tflop_per_s": 2 * tokens * out * features / time / 1e12,
                "ratio_to_dense": first / time,
            })
with open(sys.argv[2], "w") as answer:
    json.dump(rows, answer)
