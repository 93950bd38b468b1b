"""As much of PyTorch as torch_products.py calls, without numbers: tensors are their shapes, and a device's clock runs by what
is done."""
import math

__version__ = "0.0"
bfloat16 = "bfloat16"
_clock = 0.0
_recorded = None


def _do(seconds):
    global _clock
    if _recorded is None:
        _clock += seconds
    else:
        _recorded.append(seconds)


class Tensor:
    device = "cuda"

    def __init__(self, *shape):
        self.shape = shape

    def clone(self):
        return Tensor(*self.shape)

    def reshape(self, *shape):
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        known = math.prod(s for s in shape if s > 0)
        made = Tensor(*(s if s > 0 else math.prod(self.shape) // known for s in shape))
        assert math.prod(made.shape) == math.prod(self.shape)
        return made

    def argsort(self, dim):
        assert dim == 1
        return self

    def __lt__(self, other):
        assert other == 2
        return self

    def __mul__(self, other):
        assert self.shape == other.shape
        return self


class Pairs(Tensor):
    pass


def randn(*shape, device, dtype):
    assert device == "cuda" and dtype == bfloat16
    return Tensor(*shape)


def rand(shape, device):
    assert device == "cuda"
    return Tensor(*shape)


class _Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.time = _clock

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return (end.time - self.time) * 1e3


class _Graph:
    def replay(self):
        for seconds in self.work:
            _do(seconds)


class _Recording:
    def __init__(self, graph):
        self.graph = graph

    def __enter__(self):
        global _recorded
        self.graph.work = _recorded = []

    def __exit__(self, *problem):
        global _recorded
        _recorded = None


class cuda:
    Event = _Event
    CUDAGraph = _Graph
    graph = _Recording
    is_available = staticmethod(lambda: True)
    synchronize = staticmethod(lambda: None)


class sparse:
    @staticmethod
    def to_sparse_semi_structured(weight):
        return Pairs(*weight.shape)


class nn:
    class functional:
        @staticmethod
        def linear(x, weight):
            assert x.shape[1] == weight.shape[1]
            _do(5e-6 if isinstance(weight, Pairs) else 8e-6)
