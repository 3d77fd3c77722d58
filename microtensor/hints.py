"""The spellings of PyTorch and NumPy that are others here: what an error tells to write instead.

Each table maps a name that is missing to code with the same meaning. In the code ``x`` and ``y`` are tensors of shape
(2, 3), ``i`` has indices, ``model`` is a module and ``F`` is ``mt.nn.functional``; a test runs every line. Hints are
made only for errors, so they cost nothing where there is none.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

SPEAKS = "`import microtensor.torch as torch` speaks PyTorch"

# The same for methods and for functions.
COMPARED = {
    "eq": "x == y",
    "ne": "x != y",
    "lt": "x < y",
    "le": "x <= y",
    "gt": "x > y",
    "ge": "x >= y",
    "equal": "np.array_equal(x, y)",
    "allclose": "np.allclose(x, y)",
    "isclose": "np.isclose(x, y)",
    "isnan": "np.isnan(x)",
    "isinf": "np.isinf(x)",
    "isfinite": "np.isfinite(x)",
    "masked_fill": "mt.where(x > 1, 0.0, x)",
    "masked_select": "x[x > 0]",
}
# Attributes and methods of a tensor.
TENSOR = {
    "view": "x.reshape(3, 2)",
    "view_as": "x.reshape(y.shape)",
    "reshape_as": "x.reshape(y.shape)",
    "permute": "x.permute_dims(1, 0)",
    "transpose": "x.swapaxes(0, 1) or x.permute_dims(1, 0)",
    "movedim": "x.moveaxis(0, 1)",
    "t": "x.T",
    "unsqueeze": "x.expand_dims(0)",
    "expand": "x.broadcast_to(4, 2, 3)",
    "expand_as": "x.broadcast_to(y.shape)",
    "unflatten": "x.reshape(2, 3, 1)",
    "ravel": "x.flatten()",
    "flat": "x.flatten()",
    "repeat_interleave": "x.repeat(2, 1)",
    "chunk": "x.split([1, 2], 1)",
    "unbind": "list(x)",
    "contiguous": "x",
    "numel": "x.size",
    "nelement": "x.size",
    "dim": "x.ndim",
    "ndimension": "x.ndim",
    "element_size": "x.dtype.itemsize",
    "itemsize": "x.dtype.itemsize",
    "nbytes": "x.numpy().nbytes",
    "strides": "x.numpy().strides",
    "tobytes": "x.numpy().tobytes()",
    "grad_fn": "x.node",
    "is_floating_point": 'x.dtype.kind == "f"',
    "float": 'x.astype("float32")',
    "double": 'x.astype("float64")',
    "half": 'x.astype("float16")',
    "long": "x.astype(int)",
    "int": 'x.astype("int32")',
    "bool": "x.astype(bool)",
    "type": 'x.astype("float32")',
    "type_as": "x.astype(y.dtype)",
    "to": 'x or x.astype("float32")',
    "cpu": "x",
    "cuda": "x",
    "detach_": "x.detach()",
    "new_tensor": "mt.tensor([1.0, 2.0])",
    "new_zeros": "mt.zeros((2, 3))",
    "new_ones": "mt.ones((2, 3))",
    "new_full": "mt.full((2, 3), 0.5)",
    "add_": "x.data += y",
    "sub_": "x.data -= y",
    "mul_": "x.data *= y",
    "div_": "x.data /= y",
    "pow_": "x.data **= 2",
    "zero_": "x.data = mt.zeros_like(x) or x.grad = None",
    "fill": "x.data = mt.full(x.shape, 0.5)",
    "fill_": "x.data = mt.full(x.shape, 0.5)",
    "copy_": "x.data = y",
    "normal_": "x.data = mt.random.normal(x.shape)",
    "uniform_": "x.data = mt.random.uniform(x.shape)",
    "clamp_": "x.data = x.clip(0, 1)",
    "exp_": "x.data = x.exp()",
    "sqrt_": "x.data = x.sqrt()",
    "relu_": "x.data = x.relu()",
    "tanh_": "x.data = x.tanh()",
    "sigmoid_": "x.data = x.sigmoid()",
    "masked_fill_": "x.data = mt.where(x > 1, 0.0, x)",
    "sub": "x - y",
    "mul": "x * y",
    "div": "x / y",
    "true_divide": "x / y",
    "pow": "x**2",
    "neg": "-x",
    "absolute": "x.abs()",
    "mm": "x @ y.T",
    "bmm": "x @ y.mT",
    "mv": "x @ y[0]",
    "dot": "x @ y.T",
    "ger": "x[0].outer(y[0])",
    "clamp": "x.clip(0, 1)",
    "clamp_min": "x.clip(0)",
    "clamp_max": "x.clip(None, 1)",
    "asin": "x.arcsin()",
    "acos": "x.arccos()",
    "atan": "x.arctan()",
    "atan2": "x.arctan2(y)",
    "log10": "x.log() / math.log(10)",
    "amax": "x.max(1)",
    "amin": "x.min(1)",
    "ptp": "x.max() - x.min()",
    "trace": "x[:, :2].diagonal().sum()",
    **COMPARED,
    "gather": "x.take_along_axis(i, 1)",
    "index_select": "x.take([0, 1], 0)",
    "argsort": "np.argsort(x)",
    "nonzero": "np.nonzero(x)",
    "topk": "x.sort(descending=True)[:, :2]",
}

# Names of the package.
MODULE = {
    "cat": "mt.concat([x, y], 0)",
    "concatenate": "mt.concat([x, y], 0)",
    "vstack": "np.vstack([x, y])",
    "hstack": "np.hstack([x, y])",
    "dstack": "np.dstack([x, y])",
    "chunk": "mt.split(x, [1, 2], 1)",
    "unbind": "list(x)",
    "empty": "mt.zeros((2, 3))",
    "empty_like": "mt.zeros_like(x)",
    "full_like": "mt.full(x.shape, 0.5)",
    "rand": "mt.random.uniform((2, 3))",
    "randn": "mt.random.normal((2, 3))",
    "rand_like": "mt.random.uniform(x.shape)",
    "randn_like": "mt.random.normal(x.shape)",
    "randint": "mt.random.integers((2, 3), 0, 10)",
    "randperm": "mt.random.permutation(5)",
    "bernoulli": "mt.random.uniform((2, 3)) < 0.5",
    "linspace": "mt.tensor(np.linspace(0, 1, 5))",
    "logspace": "mt.tensor(np.logspace(0, 1, 5))",
    "array": "mt.tensor([1.0, 2.0])",
    "asarray": "mt.tensor([1.0, 2.0])",
    "as_tensor": "mt.tensor([1.0, 2.0])",
    "from_numpy": "mt.tensor(np.ones(3))",
    "scalar_tensor": "mt.tensor(1.0)",
    "FloatTensor": 'mt.tensor([1.0, 2.0], dtype="float32")',
    "DoubleTensor": 'mt.tensor([1.0, 2.0], dtype="float64")',
    "LongTensor": "mt.tensor([1, 2])",
    "ndarray": "mt.Tensor",
    "is_tensor": "isinstance(x, mt.Tensor)",
    "numel": "x.size",
    "float16": "np.float16",
    "half": "np.float16",
    "float32": "np.float32",
    "float": "np.float32",
    "float64": "np.float64",
    "double": "np.float64",
    "int32": "np.int32",
    "int64": "np.int64",
    "long": "np.int64",
    "bool": "np.bool_",
    "pi": "np.pi",
    "e": "np.e",
    "inf": "np.inf",
    "nan": "np.nan",
    "newaxis": "None",
    "view": "mt.reshape(x, (3, 2))",
    "permute": "mt.permute_dims(x, (1, 0))",
    "transpose": "mt.swapaxes(x, 0, 1) or mt.permute_dims(x, (1, 0))",
    "movedim": "mt.moveaxis(x, 0, 1)",
    "t": "x.T",
    "unsqueeze": "mt.expand_dims(x, 0)",
    "ravel": "mt.flatten(x)",
    "repeat_interleave": "mt.repeat(x, 2, 1)",
    "clone": "x.copy()",
    "add_": "x.data += y",
    "sub": "mt.subtract(x, y)",
    "mul": "mt.multiply(x, y)",
    "div": "mt.divide(x, y)",
    "true_divide": "mt.divide(x, y)",
    "pow": "mt.power(x, 2)",
    "neg": "mt.negative(x)",
    "absolute": "mt.abs(x)",
    "mm": "mt.matmul(x, y.T)",
    "bmm": "mt.matmul(x, y.mT)",
    "mv": "mt.matmul(x, y[0])",
    "dot": "mt.matmul(x, y.T)",
    "ger": "mt.outer(x[0], y[0])",
    "clamp": "mt.clip(x, 0, 1)",
    "asin": "mt.arcsin(x)",
    "acos": "mt.arccos(x)",
    "atan": "mt.arctan(x)",
    "atan2": "mt.arctan2(x, y)",
    "log10": "mt.log(x) / math.log(10)",
    "amax": "mt.max(x, 1)",
    "amin": "mt.min(x, 1)",
    "var_mean": "mt.var(x, 1), mt.mean(x, 1)",
    **COMPARED,
    "gather": "mt.take_along_axis(x, i, 1)",
    "index_select": "mt.take(x, [0, 1], 0)",
    "argsort": "np.argsort(x)",
    "nonzero": "np.nonzero(x)",
    "topk": "mt.sort(x, descending=True)[:, :2]",
    "diag": "np.diag(x[0])",
    "trace": "np.trace(x)",
    "inference_mode": "mt.no_grad()",
    "set_grad_enabled": "mt.enable_grad() or mt.no_grad()",
    "autograd": "mt.grad(x.sum(), x)",
    "Generator": "np.random.default_rng(0)",
    "seed": "mt.manual_seed(0)",
    "device": '"cpu"',
    "Module": "mt.nn.Module",
    "Parameter": "mt.nn.Parameter",
    "Variable": "mt.tensor([1.0], requires_grad=True)",
    "utils": "mt.nn.utils or mt.data",
    "set_printoptions": "np.set_printoptions(precision=4)",
}

# Names of mt.nn.functional.
FUNCTIONAL = {
    "one_hot": "mt.eye(5)[i]",
    "normalize": "x / mt.norm(x, axis=1, keepdims=True)",
    "pad": "mt.pad(x, [(0, 0), (1, 1)])",
    "logsigmoid": "-F.softplus(-x)",
    "softmin": "F.softmax(-x)",
    "tanhshrink": "x - F.tanh(x)",
}

# Attributes and methods of a module.
MODEL = {
    "to": 'model or model.astype("float32")',
    "cpu": "model",
    "cuda": "model",
    "float": 'model.astype("float32")',
    "double": 'model.astype("float64")',
    "half": 'model.astype("float16")',
    "type": 'model.astype("float32")',
}

# Names of an argument: those that it may have here. The first that the function has is the one.
KEYWORDS = {
    "dim": ("axis", "axes"),
    "dims": ("axis", "axes", "repetitions"),
    "keepdim": ("keepdims",),
    "unbiased": ("correction",),
    "ddof": ("correction",),
    "start_dim": ("start_axis",),
    "end_dim": ("end_axis",),
    "dim0": ("axis1",),
    "dim1": ("axis2",),
    "input": ("x", "a"),
    "tensors": ("arrays",),
    "index": ("indices",),
    "shifts": ("shift",),
    "size": ("shape",),
    "split_size_or_sections": ("sizes",),
    "indices_or_sections": ("sizes",),
    "reps": ("repetitions",),
    "pad_width": ("widths",),
    "diagonal": ("k",),
    "p": ("ord",),
    "a_min": ("min",),
    "a_max": ("max",),
    "size_average": ("reduction",),
    "reduce": ("reduction",),
    "generator": ("rng",),
}
# Arguments that have nothing to say here.
LEFT_OUT = {
    "device": "there is one device, the CPU",
    "inplace": "results are new tensors",
    "out": "results are new tensors",
    "requires_grad": "write y.requires_grad_() afterwards",
    "dtype": 'write y.astype("float32") afterwards',
    "non_blocking": "there is one device, the CPU",
    "memory_format": "arrays have one order",
    "pin_memory": "there is one device, the CPU",
    "layout": "arrays are dense",
}
# Python 3.13 adds a name of its own choice.
_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'(\. Did you mean '\w+'\?)?$")
_TOO_MANY = re.compile(r"takes .*\b1 positional arguments? but [2-9]\d* were given$|takes from 1 to .* were given$")


def instead(name: str, table: Mapping[str, str]) -> str:
    """The end of a message: what to write for a name that is missing; empty if the table has none."""
    return f"; here it is {table[name]}; {SPEAKS}" if name in table else ""


class Hint:
    """An attribute of a class that is spelled otherwise here. Reading it raises AttributeError with what to write."""

    def __init__(self, kind: str, name: str, table: Mapping[str, str]) -> None:
        self.message = f"{kind!r} object has no attribute {name!r}{instead(name, table)}"

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(self.message)

    def __repr__(self) -> str:
        return f"<{self.message}>"


class Count(int):
    """A number of elements, for which PyTorch has a method: calling it tells what to write."""

    def __call__(self, *args: Any) -> Any:
        code = f"x.shape[{args[0]}]" if args and isinstance(args[0], int) else "x.shape"
        raise TypeError(f"size is a number, {self}, and cannot be called; here it is {code}; {SPEAKS}")


def of_keyword(name: str, signature: inspect.Signature) -> str:
    """The end of a message: what to write for a keyword that a function does not take; empty if nothing is known."""
    for other in KEYWORDS.get(name, ()):
        if other in signature.parameters:
            by_name = signature.parameters[other].kind is not inspect.Parameter.POSITIONAL_ONLY
            return f"; here it is {other}={'' if by_name else ' by position'}; {SPEAKS}"
    return f"; leave {name}= out: {LEFT_OUT[name]}; {SPEAKS}" if name in LEFT_OUT else ""


def of_message(message: str, signature: inspect.Signature) -> str:
    """The end of the message of a call that did not fit; empty if there is nothing to say."""
    if found := _UNEXPECTED.search(message):
        return of_keyword(found[1], signature)
    if _TOO_MANY.search(message) and "shape" in signature.parameters:
        return f"; a shape is one argument, such as (2, 3); {SPEAKS}"
    return ""


def check_keywords(kind: type, options: Mapping[str, Any]) -> None:
    """Raise TypeError with a hint when a class is called with a keyword that it does not take."""
    if not options.keys() & (KEYWORDS.keys() | LEFT_OUT.keys()):
        return
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in options:
        if name not in signature.parameters and not takes_all and (hint := of_keyword(name, signature)):
            raise TypeError(f"{kind.__name__}: got an unexpected keyword argument {name!r}{hint}")


def add_hint(error: TypeError, function: Callable[..., Any]) -> None:
    """Put what to write at the end of the message of a call that did not fit."""
    message = str(error)
    if message.startswith(f"{function.__name__}() "):
        error.args = (message + of_message(message, inspect.signature(function)),)


def spelled(function: Callable[P, R]) -> Callable[P, R]:
    """Let the error of a call that does not fit tell what to write for the names of PyTorch and NumPy."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        try:
            return function(*args, **options)
        except TypeError as error:
            add_hint(error, function)
            raise

    return call
