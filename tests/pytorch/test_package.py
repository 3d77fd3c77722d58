"""The rest of the package works on tensors of this room, and reads no name that means something else on them."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microtensor as mt
import microtensor.torch as torch
from microtensor import viz
from microtensor.torch.functions import OVERRIDDEN
from microtensor.torch.nn import functional as F

ROOT = Path(mt.__file__).parent
OUTSIDE = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "torch"]
# The tensor of microtensor itself, whose methods these are.
OWN = {"core/tensor.py", "methods.py"}


def is_tensor(annotation):
    """Whether an annotation names a tensor."""
    return annotation is not None and "Tensor" in ast.unparse(annotation).replace("TensorBase", "").split(" | ")


def reads(tree):
    """Reads of an overridden name off what is annotated as a tensor, and of ``numpy`` and ``data`` off anything."""
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.Lambda)):
            continue
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        tensors = {argument.arg for argument in arguments if is_tensor(getattr(argument, "annotation", None))}
        for node in ast.walk(function):
            if isinstance(node, ast.AnnAssign) and is_tensor(node.annotation):
                tensors.add(ast.unparse(node.target))
        for node in ast.walk(function):
            read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in OVERRIDDEN
            if read and (ast.unparse(node.value) in tensors or node.attr in ("numpy", "data")):
                yield node.lineno, ast.unparse(node)


def test_nothing_reads_an_overridden_name_off_a_tensor():
    found = {
        f"{path.relative_to(ROOT)}:{line} {text}"
        for path in OUTSIDE
        if str(path.relative_to(ROOT)) not in OWN
        for line, text in reads(ast.parse(path.read_text(encoding="utf-8")))
    }
    # The module of NumPy's arrays in the library of safetensors.
    assert {text.split()[1] for text in found} <= {"_library().numpy"}


def test_the_walk_finds_what_it_looks_for():
    lines = "def f(x: Tensor, y: Array) -> Array:\n    z: Tensor = x\n    return x.var() + y.var() + z.max(), y.numpy()"
    assert {text for _, text in reads(ast.parse(lines))} == {"x.var", "z.max", "y.numpy"}


@pytest.fixture
def watched(monkeypatch):
    """Makes every read of an overridden name off a tensor by the rest of the package fail."""

    def reader(name, found):
        def read(self):
            caller = sys._getframe(1).f_globals.get("__name__", "")
            inside = caller.startswith("microtensor.") and not caller.startswith("microtensor.torch")
            assert not inside, f"{caller} reads {name} off a tensor"
            return found.__get__(self, type(self))

        return property(read, found.fset) if isinstance(found, property) else property(read)

    for name in OVERRIDDEN:
        monkeypatch.setattr(torch.Tensor, name, reader(name, vars(torch.Tensor)[name]))


def numbers(*shape, seed=0):
    """Data in float64, the same in every run."""
    return np.random.default_rng(seed).normal(size=shape)


NORMS = {
    "batch_norm": lambda x, w, b: mt.norms.batch_norm(x, weight=w, bias=b, training=True),
    "layer_norm": lambda x, w, b: mt.norms.layer_norm(x, (4,)),
    "instance_norm": lambda x, w, b: mt.norms.instance_norm(x, weight=w, bias=b),
    "group_norm": lambda x, w, b: mt.norms.group_norm(x, 3, weight=w, bias=b),
    "rms_norm": lambda x, w, b: mt.norms.rms_norm(x, (4,)),
    "standardize": lambda x, w, b: mt.norms.standardize(x, axis=(0, 2)),
    "whiten": lambda x, w, b: mt.norms.whiten(x, weight=w, bias=b, training=True),
    "scale_norm": lambda x, w, b: mt.norms.scale_norm(x),
    "softmax": lambda x, w, b: mt.softmax(x, axis=1) * mt.logsumexp(x, axis=1, keepdims=True),
    "std": lambda x, w, b: mt.std(x, axis=0, correction=1) + mt.norm(x, axis=0) + mt.prod(x, axis=0),
    "selections": lambda x, w, b: mt.sort(x, axis=2) + mt.flip(x, axis=2) + mt.roll(x, 1) + mt.cumsum(x, axis=0),
}


def torch_leaves(arrays):
    """Leaves of this room."""
    return [torch.tensor(array).requires_grad_() for array in arrays]


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("name", NORMS)
def test_functions_of_microtensor(name):
    arrays = numbers(5, 6, 4), numbers(6, seed=1), numbers(6, seed=2)
    plain = [mt.tensor(array, requires_grad=True) for array in arrays]
    ours, theirs = NORMS[name](*torch_leaves(arrays)), NORMS[name](*plain)
    np.testing.assert_array_equal(ours._array, theirs._array)
    leaves = torch_leaves(arrays)
    for found, expected in zip(
        mt.grad((NORMS[name](*leaves) ** 2).sum(), leaves, allow_unused=True),
        mt.grad((NORMS[name](*plain) ** 2).sum(), plain, allow_unused=True),
        strict=True,
    ):
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_allclose(found._array, expected._array, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "softmax", "std"])
def test_gradcheck_and_ledger_and_graph(name):
    x, w, b = torch_leaves((numbers(5, 6, 4), numbers(6, seed=1), numbers(6, seed=2)))
    assert mt.gradcheck(lambda x: NORMS[name](x, w, b), [x])
    assert mt.gradgradcheck(lambda x: NORMS[name](x, w, b), [x])
    y = NORMS[name](x, w, b)
    table = mt.paths(y, x)
    plain, gamma, beta = (mt.tensor(v._array, requires_grad=True) for v in (x, w, b))
    assert str(table) == str(mt.paths(NORMS[name](plain, gamma, beta), plain))
    graph = mt.Graph.from_tensor(y)
    assert b"<svg" in viz.render(graph, format="svg")


@pytest.mark.usefixtures("watched")
def test_a_program_is_drawn_and_checked():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    loss = F.cross_entropy(net(torch.tensor(numbers(6, 4)).float()), torch.tensor([0, 1, 1, 0, 1, 0]))
    graph = mt.Graph.from_tensor(loss)
    assert b"BatchNorm1d" in viz.render(graph, format="json")
    loss.backward()
    assert all(p.grad.shape == p.shape for p in net.parameters())


def in_new_process(code):
    """What a program prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_it_changes_nothing():
    code = """
import microtensor as mt
names = ("Tensor", "nn.Module", "optim.SGD", "primitive")
before = {n: dict(vars(eval("mt." + n))) for n in names}, mt.get_default_dtype(), sorted(vars(mt.Tensor))
import microtensor.torch as torch
torch.nn.Linear(2, 2)(torch.ones(3, 2)).sum().backward()
after = {n: dict(vars(eval("mt." + n))) for n in names}, mt.get_default_dtype(), sorted(vars(mt.Tensor))
print(before == after, mt.nn.Linear(2, 2).weight.dtype, type(mt.tensor(1.0) + 1).__module__)
print(mt.tensor([1.0, 2.0]).var())
"""
    assert in_new_process(code).split() == ["True", "float64", "microtensor.core.tensor", "tensor(0.25)"]


def test_microtensor_does_not_load_it():
    assert in_new_process("import microtensor, sys; print('microtensor.torch' in sys.modules)").strip() == "False"


def test_results_stay_of_their_kind():
    x = torch.ones(2, 3)
    for y in (x + 1, 1 - x, x.sum(), x[0], x.max(1)[1], x == 1, np.exp(x), np.float64(2) * x, abs(x), x @ x.T):
        assert type(y) is torch.Tensor
    assert type(mt.tensor([1.0]) + torch.ones(1)) is torch.Tensor
    assert type(torch.nn.Linear(3, 2).weight) is torch.nn.Parameter
    assert type(torch.nn.LSTM(3, 2)(x[None])[1][0]) is torch.Tensor


def test_zeros_and_ones_draw_nothing():
    fast = mt.compile(lambda x: x * torch.ones(3) + torch.zeros(3) + torch.empty(3), backend="numpy")
    fast(torch.ones(3))
    assert "random" not in fast.why
