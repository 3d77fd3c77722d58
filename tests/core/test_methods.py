"""What is attached to the tensor, and its declaration for type checkers: the same names, parameters and defaults."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import microtensor as mt
from microtensor.core.primitive import Primitive
from microtensor.hints import Hint
from microtensor.methods import OF_SIZES

ROOT = Path(mt.__file__).parent
KINDS = inspect.Parameter


def class_in(path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name)


def bound_names(body):
    """The names that the body of a class binds."""
    names = set()
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, ast.If):
            names |= bound_names(statement.body)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return names


DECLARED = {node.name: node for node in class_in("attached.pyi", "Methods").body}
MADE_BY_PYTHON = {
    *("__module__", "__doc__", "__qualname__", "__slots__", "__static_attributes__", "__firstlineno__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
}


def attached(kind, path):
    """What the class has beyond its body."""
    names = {name for name, value in vars(kind).items() if not isinstance(value, Hint)}
    return names - bound_names(class_in(path, kind.__name__).body) - MADE_BY_PYTHON


def test_the_stub_declares_what_is_attached_and_nothing_else():
    # Rules use these two on tensors, so that core has them before anything is attached.
    in_both = {"reshape", "astype"}
    # The slot that microtensor.torch fills is no method.
    assert set(DECLARED) == attached(mt.Tensor, "core/tensor.py") - {"_link"} | in_both
    assert in_both <= bound_names(class_in("core/tensor.py", "Tensor").body)


def test_every_function_of_a_tensor_first_is_a_method():
    for name in DECLARED:
        if not name.startswith("_") and hasattr(mt, name) and not inspect.ismodule(getattr(mt, name)):
            assert getattr(mt.Tensor, name).__doc__ == getattr(mt, name).__doc__


def declared(node):
    """Name, kind and default of each parameter but the first, as the stub has them."""
    arguments = node.args
    before = [(a, KINDS.POSITIONAL_ONLY) for a in arguments.posonlyargs]
    before += [(a, KINDS.POSITIONAL_OR_KEYWORD) for a in arguments.args]
    defaults = [None] * (len(before) - len(arguments.defaults)) + arguments.defaults
    found = [(a.arg, kind, default) for (a, kind), default in zip(before, defaults, strict=True)]
    if arguments.vararg:
        found.append((arguments.vararg.arg, KINDS.VAR_POSITIONAL, None))
    for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((a.arg, KINDS.KEYWORD_ONLY, default))
    if arguments.kwarg:
        found.append((arguments.kwarg.arg, KINDS.VAR_KEYWORD, None))
    return [(name, kind, "" if default is None else ast.unparse(default)) for name, kind, default in found[1:]]


def at_run_time(name):
    parameters = list(inspect.signature(getattr(mt.Tensor, name)).parameters.values())[1:]
    return [(p.name, p.kind, "" if p.default is p.empty else repr(p.default)) for p in parameters]


@pytest.mark.parametrize("name", [name for name, node in DECLARED.items() if not node.decorator_list])
def test_the_stub_has_the_parameters_of_run_time(name):
    ours, found = declared(DECLARED[name]), at_run_time(name)
    if name in OF_SIZES:
        # Given one by one too.
        assert ours[0] == (found[0][0], KINDS.VAR_POSITIONAL, "")
        ours, found = ours[1:], found[1:]
    # What is taken by position alone has no name to the caller.
    assert [("" if kind is KINDS.POSITIONAL_ONLY else n, kind, d) for n, kind, d in ours] == [
        ("" if kind is KINDS.POSITIONAL_ONLY else n, kind, d) for n, kind, d in found
    ]


def test_properties_are_declared_as_such():
    properties = {name for name, node in DECLARED.items() if node.decorator_list}
    assert properties == {name for name in DECLARED if isinstance(vars(mt.Tensor).get(name), property)}
    for name in properties:
        assert ast.unparse(DECLARED[name].decorator_list[0]) in ("property", f"{name}.setter")


def sets_attributes(tree, classes):
    """Whether a module sets an attribute of one of the classes by name."""
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, (ast.Assign, ast.Delete)):
            targets = node.targets
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            targets = [ast.Attribute(node.args[0], "")]
        for target in targets:
            for part in ast.walk(target):
                owner = part.value if isinstance(part, ast.Attribute) else None
                name = getattr(owner, "id", getattr(owner, "attr", None))
                if name in classes:
                    return True
    return False


def test_nothing_else_attaches_anything():
    classes = {"Tensor", "TensorBase", "Primitive", "Node"}
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if sets_attributes(ast.parse(path.read_text(encoding="utf-8")), classes)
    }
    # microtensor.torch attaches methods to its own tensor only.
    assert found == {"methods.py", "torch/functions.py"}
    assert attached(Primitive, "core/primitive.py") - {
        "__dict__",
        "__weakref__",
        "__orig_bases__",
        "__parameters__",
    } == {
        "__reduce__",
        "__copy__",
        "__deepcopy__",
    }


# --- what a type checker says -----------------------------------------------------------------------------

RIGHT = {
    "mt.sum(x, 0)": "Tensor",
    "mt.sum(x, axis=(0, 1), keepdims=True, dtype='float32')": "Tensor",
    "mt.reshape(x, (2, 1))": "Tensor",
    "mt.exp(x)": "Tensor",
    "mt.add(x, 2.0)": "Tensor",
    "mt.softmax(x, -1)": "Tensor",
    "mt.clip(x, 0.0, max=1.0)": "Tensor",
    "x.reshape(2, 1)": "Tensor",
    "x.reshape((2, 1), copy=True)": "Tensor",
    "x.astype('float32')": "Tensor",
    "x.sum(0, True)": "Tensor",
    "x.softmax()": "Tensor",
    "x ** 2": "Tensor",
    "2 - x": "Tensor",
    "x @ x": "Tensor",
    "x[0]": "Tensor",
    "x.T": "Tensor",
    "x > 0": "ndarray",
    "x.argmax(0)": "ndarray",
    "x.split(1)": "list[Tensor]",
    "mt.zeros((2, 3), device='cpu')": "Tensor",
}
WRONG = [
    "mt.sum(x, 0, False, 1)",
    "mt.sum(x, axes=0)",
    "mt.reshape(x)",
    "mt.exp(x, out=None)",
    "mt.add(x)",
    "x.sum(dim=0)",
    "x.softmax(axis=0, keepdims=True)",
    "x.shape()",
    "x.nothing",
    "mt.full(2)",
]


@pytest.mark.slow
def test_mypy_understands_calls(tmp_path):
    pytest.importorskip("mypy")
    lines = ["import microtensor as mt", "x = mt.tensor([[1.0, 2.0]])"]
    right = {len(lines) + i: call for i, call in enumerate(RIGHT, 1)}
    lines += [f"reveal_type({call})" for call in RIGHT]
    wrong = {len(lines) + i: call for i, call in enumerate(WRONG, 1)}
    lines += WRONG
    program = tmp_path / "program.py"
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--strict", str(program)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent).stdout
    notes = {
        int(n): text for n, text in re.findall(r"program\.py:(\d+): note: Revealed type is \"(.*?)\"\s*$", said, re.M)
    }
    for line, call in right.items():
        assert line in notes, (call, said)
        kind = RIGHT[call].removesuffix("]").split("[")
        assert all(re.search(rf"\b{part}\b", notes[line]) for part in kind), (call, notes[line])
    errors = {int(n) for n in re.findall(r"program\.py:(\d+): error", said)}
    assert errors == set(wrong), [(lines[n - 1], n) for n in errors ^ set(wrong)]
