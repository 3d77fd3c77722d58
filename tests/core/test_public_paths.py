"""The paths that programs import from stay, whatever room a name lives in."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import microtensor
import microtensor as mt

CUBE = mt.primitive("cube", lambda x: x**3, lambda g, y, x: g * 3 * x * x)
OLD = microtensor.primitive.primitive("old", lambda x: x**3, lambda g, y, x: g * 3 * x * x)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "primitive",
            "Primitive primitive Node Scope Mode Rule Traced EachArgument label name_scope no_grad enable_grad "
            "detect_anomaly trace_lines is_recording",
        ),
        (
            "tensor",
            "Tensor tensor Parameter Operand zeros ones full zeros_like ones_like arange eye set_default_dtype "
            "get_default_dtype",
        ),
        ("backprop", "grad vjp backward reverse toposort contribution Contribution keep_graphs"),
        ("ops", "add relu where power getitem einsum_core multiply_sum primitives as_array stop_gradient"),
        ("calculus", "jacobian hessian hvp grad vjp"),
        ("checking", "gradcheck gradgradcheck GradcheckError"),
        ("ledger", "paths"),
        ("graph", "Graph"),
    ],
)
def test_names_are_where_they_were(module, names):
    loaded = __import__(f"microtensor.{module}", fromlist=names.split())
    assert all(hasattr(loaded, name) for name in names.split())


def test_a_plain_import_reaches_the_modules_of_the_engine():
    reached = (
        "mt.backprop.toposort, mt.primitive.Node, mt.ops.add, mt.functional.softmax, mt.calculus.grad, mt.display.show"
    )
    subprocess.run([sys.executable, "-c", f"import microtensor as mt; {reached}"], check=True)


def test_the_module_primitive_is_called_to_define_an_operation():
    x = mt.tensor([2.0], requires_grad=True)
    for operation in (CUBE, OLD):
        assert mt.grad(operation(x), x).item() == 12.0
        assert pickle.loads(pickle.dumps(operation)) is operation
    assert microtensor.primitive.primitive is microtensor.primitive.Primitive


def test_the_forms_of_earlier_versions_define_operations_still():
    x = mt.tensor([2.0], requires_grad=True)
    in_a_tuple = mt.primitive.Primitive("twice", lambda x: 2 * x, (lambda g, y, x: 2 * g,))
    assert mt.grad(in_a_tuple(x), x).item() == 2.0
    each = mt.primitive.EachArgument(lambda i, g, y, *xs: g)
    assert mt.grad(mt.primitive.Primitive("total", lambda *xs: np.add.reduce(xs), each)(x, x, x), x).item() == 3.0
    with pytest.warns(DeprecationWarning, match=r"primitive: shown= is now called rule_text="):
        shown = mt.primitive.primitive("same", np.copy, lambda g, y, x: g, shown=("g",))
    assert shown.rule_text == ("g",)
