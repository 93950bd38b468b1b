"""What PyTorch needs for the products of `espalier gpu-check`: python3 -c FILE ORDER_JSON ANSWER_FILE.

BF16, one token and many; dense, and 2:4 by torch.sparse.to_sparse_semi_structured. Products run inside a CUDA graph where
they can be recorded, dense weights rotate so that none comes from a cache, and a time is the median of 9 rounds, or of fewer
where a product is slow. A line of JSON is written for each row as it comes.
"""
import json
import statistics
import sys

import torch

if not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")

ROUNDS = 9
SECONDS = 10  # for the rounds of one product


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

    def measure():
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        turn()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    rounds = max(1, min(ROUNDS, int(SECONDS / max(measure(), 1e-9))))
    return statistics.median(measure() for _ in range(rounds)) / launches


def two_four(weight):
    groups = weight.reshape(-1, 4)
    order = torch.rand(groups.shape, device=weight.device).argsort(dim=1)
    return (groups * (order < 2)).reshape(weight.shape)


def first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


order = json.loads(sys.argv[1])
with open(sys.argv[2], "w") as answer:

    def tell(row):
        print(json.dumps(row), file=answer, flush=True)

    for layer in order["layers"]:
        out, features = layer["out"], layer["in"]
        dense = torch.randn(out, features, device="cuda", dtype=torch.bfloat16)
        copies = [dense.clone() for _ in range(min(64, max(1, -(-order["working_set"] // (2 * out * features)))))]
        ways = [("dense", copies, 0.0)]
        try:
            ways.append(("2:4", [torch.sparse.to_sparse_semi_structured(two_four(dense))], 0.5))
        except (RuntimeError, NotImplementedError, AttributeError) as e:
            tell({"layer": layer["layer"], "skipped": "2:4: " + first_line(e)})
        for tokens in order["tokens"]:
            x = torch.randn(tokens, features, device="cuda", dtype=torch.bfloat16)
            reference = None
            for name, weights, sparsity in ways:
                row = {"layer": layer["layer"], "tokens": tokens}
                try:
                    launches = max(32, len(weights)) if tokens == 1 else 4
                    time = seconds(lambda i: torch.nn.functional.linear(x, weights[i % len(weights)]), launches)
                except (RuntimeError, NotImplementedError) as e:
                    tell(row | {"skipped": name + ": " + first_line(e)})
                    continue
                row |= {
                    "format": name + ", PyTorch " + torch.__version__,
                    "sparsity": sparsity,
                    "us": time * 1e6,
                    "tflop_per_s": 2 * tokens * out * features / time / 1e12,
                }
                if name == "dense":
                    reference = time
                tell(row if reference is None else row | {"ratio_to_dense": reference / time})
