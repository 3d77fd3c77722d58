"""Jacobians, Hessians and their products, nested too; what is no tensor; anomalies and errors in backward."""

import numpy as np
import pytest

import microtensor as mt
from microtensor.core.primitive import primitive
from microtensor.graph import Graph, compare
from microtensor.ledger import input_of, paths

A = np.random.default_rng(0).normal(size=(3, 4))
B = A.T @ A


def test_jacobian_of_a_linear_map_is_its_matrix():
    np.testing.assert_allclose(mt.jacobian(lambda x: mt.tensor(A) @ x, np.ones(4)).numpy(), A, rtol=1e-14)


def test_jacobian_has_the_shape_of_result_and_input():
    j = mt.jacobian(lambda x: x.sum(axis=1), np.ones((2, 3)))
    np.testing.assert_array_equal(j.numpy(), np.repeat(np.eye(2)[:, :, None], 3, axis=2))


def test_hessian_of_a_quadratic_form():
    def form(x):
        return (x * (mt.tensor(B) @ x)).sum() * 0.5

    np.testing.assert_allclose(mt.hessian(form, np.ones(4)).numpy(), B, rtol=1e-12)
    v = np.arange(4.0)
    np.testing.assert_allclose(mt.hvp(form, np.ones(4), v).numpy(), B @ v, rtol=1e-12)


def test_hessian_of_batch_norm_is_symmetric():
    weights = np.random.default_rng(1).normal(size=(5, 2))

    def loss(x):
        return (mt.standardize(x, axis=0) ** 3 * weights).sum()

    h = mt.hessian(loss, np.random.default_rng(2).normal(size=(5, 2))).numpy().reshape(10, 10)
    np.testing.assert_allclose(h, h.T, atol=1e-12)
    assert np.abs(h).max() > 0.1


def test_what_does_not_depend_on_the_input_gives_zeros():
    assert mt.jacobian(lambda _: mt.ones(2), np.ones(3)).numpy().tolist() == [[0.0] * 3] * 2
    assert mt.hessian(lambda x: x.sum(), np.ones(2)).numpy().tolist() == [[0.0] * 2] * 2
    assert mt.hessian(lambda _: mt.ones(()), np.ones(2)).numpy().tolist() == [[0.0] * 2] * 2
    assert mt.hvp(lambda x: x.sum(), np.ones(2), np.ones(2)).numpy().tolist() == [0.0, 0.0]


def test_the_point_is_left_alone():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    mt.hessian(lambda x: (x**3).sum(), x)
    assert x.grad is None


def test_errors_of_the_calculus():
    with pytest.raises(TypeError, match="jacobian: the input has dtype int64"):
        mt.jacobian(lambda x: x, [1, 2])
    with pytest.raises(TypeError, match="hessian: the function returned a float"):
        mt.hessian(lambda _: 1.0, [1.0])
    with pytest.raises(RuntimeError, match="no single gradient"):
        mt.hessian(lambda x: x * x, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"hvp: v has shape \(3,\); it must .* \(2,\)"):
        mt.hvp(lambda x: (x * x).sum(), [1.0, 2.0], [1.0, 2.0, 3.0])


# --- anomalies and errors in backward ---------------------------------------------------------------------


def test_an_anomaly_forward_names_operation_shapes_and_line():
    x = mt.tensor([0.0, 1.0], requires_grad=True)
    assert not np.isfinite(mt.log(x).numpy()).all()
    with mt.detect_anomaly(), pytest.raises(FloatingPointError, match=r"log: .*\(2,\).*test_calculus\.py:\d+ in test_"):
        mt.log(x)


def test_an_anomaly_is_raised_where_it_starts():
    x = mt.tensor([np.inf], requires_grad=True)
    with mt.detect_anomaly():
        assert (x * 2.0).numpy().tolist() == [np.inf]


def test_an_anomaly_backward_names_the_forward_line():
    x = mt.tensor([0.0, 1.0], requires_grad=True)
    with mt.detect_anomaly():
        y = mt.sqrt(x).sum()
        with pytest.raises(
            FloatingPointError, match=r"derivative of sqrt by argument 0, shapes \(2,\).*test_calculus\.py"
        ):
            y.backward()
    assert x.grad is None
    y.backward()
    assert x.grad.numpy()[0] == np.inf


def broken_rule(g, y, x):
    raise ZeroDivisionError("out of luck")


def test_an_error_in_a_rule_carries_operation_and_shapes_and_keeps_its_kind():
    op = primitive("unlucky", np.copy, broken_rule)
    x = mt.tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ZeroDivisionError) as plain:
        op(x).sum().backward()
    assert "derivative of unlucky by argument 0, shapes (2, 3) -> (2, 3)" in plain.value.__notes__[0]
    assert "mt.trace_lines()" in plain.value.__notes__[0]
    with mt.trace_lines():
        y = op(x).sum()
    with pytest.raises(ZeroDivisionError) as watched:
        y.backward()
    assert "made at" in watched.value.__notes__[0]
    assert "test_calculus.py" in watched.value.__notes__[0]


def test_the_methods_are_the_functions():
    x = mt.tensor(np.random.default_rng(0).uniform(0.1, 0.9, (3, 4)), requires_grad=True)
    skipped = {"shape", "where", "take"}
    unary = [
        name
        for name in mt.__all__
        if name in dir(mt.Tensor) and name in vars(mt) and callable(getattr(mt, name)) and name not in skipped
    ]
    assert len(unary) > 60
    for name in unary:
        function, method = getattr(mt, name), getattr(x, name)
        try:
            expected = function(x)
        except TypeError:
            continue
        found = method()
        assert type(found) is type(expected)
        for a, b in zip(found, expected, strict=True) if isinstance(found, list) else [(found, expected)]:
            np.testing.assert_array_equal(mt.stop_gradient(a), mt.stop_gradient(b))


# --- derivatives of derivatives ---------------------------------------------------------------------------


def cubed(z):
    return z**3


def summed(z):
    return (z**4).sum()


POINT = [1.0, 2.0]
DIAGONAL = np.einsum("ij,jk->ijk", np.eye(2), np.eye(2))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: mt.jacobian(cubed, x), 6 * DIAGONAL * [1.0, 2.0]),
        (lambda x: mt.jacobian(lambda z: z * x, x), DIAGONAL),
        (lambda x: mt.jacobian(lambda z: z * x, POINT), DIAGONAL),
        (lambda x: mt.jacobian(lambda y: mt.jacobian(cubed, y).sum(), x), 6 * np.eye(2)),
        (lambda x: mt.hessian(summed, x), 24 * DIAGONAL * [1.0, 2.0]),
        (lambda x: mt.hvp(summed, x, [1.0, 1.0]), 24 * np.diag([1.0, 2.0])),
        (lambda x: mt.hvp(summed, POINT, x), 12 * np.diag([1.0, 4.0])),
        (lambda x: mt.hvp(summed, x, x), 36 * np.diag([1.0, 4.0])),
        (lambda x: mt.grad((x**3).sum(), x, create_graph=True), 6 * np.diag([1.0, 2.0])),
        (lambda x: mt.vjp((x**3).sum(), create_graph=True)[x], 6 * np.diag([1.0, 2.0])),
        (lambda x: mt.jacobian(lambda z: z.sum(), x) * x, np.eye(2)),
        (lambda x: mt.jacobian(cubed, x.detach()).sum() * x, 15 * np.eye(2)),
    ],
)
@pytest.mark.parametrize("recording", [True, False])
def test_jacobian_hessian_and_hvp_nest(function, expected, recording):
    with mt.enable_grad() if recording else mt.no_grad():
        found = mt.jacobian(function, POINT)
        beside = mt.jacobian(function, mt.tensor(POINT, requires_grad=True))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(beside.numpy(), expected, rtol=1e-12)
    assert not found.requires_grad


@pytest.mark.parametrize(
    "function", [lambda x: mt.jacobian(mt.softmax, x), lambda x: mt.hessian(summed, x), lambda x: mt.hvp(summed, x, x)]
)
def test_they_are_differentiated_as_any_other_function(function):
    x = mt.tensor([0.5, 1.5, -1.0], requires_grad=True)
    assert function(x).requires_grad
    assert not function(x.detach()).requires_grad
    assert not mt.no_grad()(function)(x).requires_grad
    assert mt.gradcheck(function, x, order=2)


def test_what_else_the_function_uses_is_differentiated_too():
    w = mt.tensor([3.0, 1.0], requires_grad=True)
    mt.jacobian(lambda z: z * z * w, POINT).sum().backward()
    assert w.grad.numpy().tolist() == [2.0, 4.0]
    assert mt.gradcheck(lambda w: mt.hessian(lambda z: (z**3 * w).sum(), POINT), w)


def through_backward(x):
    (x**3).sum().backward()
    return x.grad * 2.0


LOST = {
    "alone": lambda x: mt.grad((x**3).sum(), x),
    "of several": lambda x: mt.grad([(x**3).sum()], [x])[0],
    "times x": lambda x: mt.grad((x**3).sum(), x) * x,
    "far behind": lambda x: mt.exp((mt.grad((x**3).sum(), x) * 2.0)[0]) + x,
    "vjp": lambda x: mt.vjp((x**3).sum())[x],
    "backward": through_backward,
    "inner": lambda x: mt.jacobian(lambda z: mt.grad((z**3).sum(), z), x),
    "by the outer": lambda x: mt.jacobian(lambda z: z * mt.grad((x**3).sum(), x), x),
    "in the cotangent": lambda x: mt.grad(x * 2.0, x, x.detach() * x),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize(
    ("who", "call"),
    [
        ("jacobian", mt.jacobian),
        ("hessian", lambda f, x: mt.hessian(lambda z: f(z).sum(), x)),
        ("hvp", lambda f, x: mt.hvp(lambda z: f(z).sum(), x, [1.0, 1.0])),
    ],
)
def test_a_gradient_that_was_not_recorded_raises_where_its_derivative_would_be_lost(name, who, call):
    with pytest.raises(RuntimeError, match=r"without create_graph=True.*\.detach\(\)") as raised:
        call(LOST[name], POINT)
    assert str(raised.value).startswith("jacobian" if name == "inner" else who)


def printed_only(x):
    str(mt.grad((x**3).sum(), x))
    (x**2).sum().backward()
    str(x.grad)
    x.grad = None
    return x * 2.0


def under_no_grad(x):
    y = (x**3).sum()
    with mt.no_grad():
        step = mt.grad(y, x) * 0.1
    return x * step


W = mt.tensor([3.0, 1.0], requires_grad=True)
NUMBERS = {
    "by something else": (lambda x: x * mt.grad((W * x).sum(), W), np.diag(POINT)),
    "detached": (lambda x: x * mt.grad((x**3).sum(), x).detach(), np.diag([3.0, 12.0])),
    "a NumPy array": (lambda x: x * np.asarray(mt.grad((x**3).sum(), x)), np.diag([3.0, 12.0])),
    "its value": (lambda x: x * mt.grad((x**3).sum(), x).numpy(), np.diag([3.0, 12.0])),
    "an item": (lambda x: x * mt.grad((x**3).sum(), x)[1].item(), np.diag([12.0, 12.0])),
    "printed only": (printed_only, np.diag([2.0, 2.0])),
    "under no_grad": (under_no_grad, np.diag([0.3, 1.2])),
    "the same everywhere": (lambda x: x * mt.grad((3.0 * x).sum(), x), np.diag([3.0, 3.0])),
    "of a ReLU": (lambda x: x * mt.grad(mt.relu(x).sum(), x), np.eye(2)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_gradient_that_is_a_number_stays_one(name):
    function, expected = NUMBERS[name]
    np.testing.assert_allclose(mt.jacobian(function, POINT).numpy(), expected)


def test_outside_of_them_a_gradient_is_plain_as_ever():
    x = mt.tensor(POINT, requires_grad=True)
    with pytest.raises(RuntimeError, match="create_graph"):
        mt.jacobian(LOST["alone"], x)
    found = mt.grad((x**3).sum(), x)
    assert (found.requires_grad, found.is_leaf, type(found)) == (False, True, mt.Tensor)
    assert x.grad is None


# --- what is no tensor ------------------------------------------------------------------------------------

NET = mt.nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda y: mt.grad(y, {"w": W}, allow_unused=True), r"inputs is a dict.*list\(inputs\.values\(\)\)"),
        (lambda y: mt.grad(y, "w"), "input is a str, not a tensor"),
        (lambda y: mt.grad(y, [W, "w"]), "input 1 is a str, not a tensor"),
        (lambda y: mt.grad(y, (W, 1.0), allow_unused=True), "input 1 is a float"),
        (lambda y: mt.grad(y, [W, None]), "input 1 is a NoneType"),
        (lambda y: mt.grad(y, [[W]]), "input 0 is a list"),
        (lambda y: mt.grad(y, np.ones(2)), "input is a ndarray"),
        (lambda y: mt.grad(y, None), "input is a NoneType"),
        (lambda y: mt.grad(y, {W}), "inputs is a set, which has no order"),
        (lambda y: mt.grad(y, NET), r"inputs is a Linear.*list\(net\.parameters\(\)\)"),
        (lambda y: mt.grad(1.0, W), r"output is a float.*\.item\(\)"),
        (lambda y: mt.grad([y, 2.0], W), "output 1 is a float"),
        (lambda y: mt.grad({"loss": y}, W), "outputs is a dict"),
        (lambda y: mt.grad(lambda: y, W), "output is a function, not a tensor; call it"),
        (lambda y: mt.grad(y, W, {"y": 1.0}), "grad: grad_outputs has dtype object, from a dict"),
        (lambda y: mt.grad([y], W, {"y": 1.0}), "grad_outputs is a dict"),
        (lambda y: mt.grad([y], W, 1.0), "grad_outputs is a float"),
        (lambda y: mt.vjp(1.0), "vjp: output is a float"),
        (lambda y: mt.vjp([y]), "vjp: output is a list"),
        (lambda y: mt.vjp(y, {"y": 1.0}), "vjp: cotangent has dtype object, from a dict"),
        (lambda y: y.backward("one"), "backward: gradient has dtype <U3, from a str"),
        (lambda y: y.backward(gradient=1j), "backward: gradient has dtype complex128, from a complex"),
        (lambda y: mt.jacobian(W, W), "jacobian: fn is a Tensor"),
        (lambda y: mt.jacobian(cubed, {"w": W}), "jacobian: x is a dict"),
        (lambda y: mt.hessian(cubed, [W, W]), "hessian: x is a list of several .* one tensor"),
        (lambda y: mt.jacobian(lambda a, b: a * b, (W, W)), "jacobian: x is a tuple of several"),
        (lambda y: mt.jacobian(cubed, None), "jacobian: x has dtype object, from a NoneType"),
        (lambda y: mt.jacobian(cubed, [1j]), "jacobian: x has dtype complex128"),
        (lambda y: mt.hvp(summed, W, np.ones(2) * 1j), "hvp: v has dtype complex128"),
        (lambda y: mt.hvp(summed, W, (W, W)), "hvp: v is a tuple of several"),
        (lambda y: mt.jacobian(lambda x: (x, x), W), "jacobian: the function returned a tuple"),
        (lambda y: mt.hvp(lambda x: None, W, W), "hvp: the function returned a NoneType"),
        (lambda y: mt.gradcheck(mt.exp, {"w": W}), "gradcheck: input 0 is a dict"),
        (lambda y: paths({"y": y}), "paths: y is a dict"),
        (lambda y: paths(y, "w"), r"paths: x is a str.*input_of\(y, 'w'\)"),
        (lambda y: paths(y, [W]), "paths: x is a list"),
        (lambda y: paths(y, W, {"y": 1.0}), "paths: cotangent has dtype object, from a dict"),
        (lambda y: input_of(3.0), "paths: y is a float"),
        (lambda y: compare(Graph.from_tensor(y), y), r"compare: second is a Tensor.*Graph\.from_tensor\(y\)"),
        (lambda y: Graph.from_tensor([y]), "Graph.from_tensor: this is a list; it must be a tensor"),
    ],
)
def test_what_is_no_tensor_is_named_with_its_type_and_place(call, said):
    with pytest.raises(TypeError, match=said):
        call((W * W).sum())


def test_the_inputs_may_come_in_any_order_that_is_one():
    y = (W * W).sum()
    for inputs in ([W], (W,), iter([W]), {"w": W}.values(), {W: 0}.keys()):
        (found,) = mt.grad(y, inputs)
        assert found.numpy().tolist() == [6.0, 2.0]
    assert mt.grad(y, []) == ()
    assert mt.grad(y, NET.parameters(), allow_unused=True) == (None, None)


def test_a_missing_or_wrong_cotangent_is_called_what_the_function_calls_it():
    y = W * W
    for call, what in (
        (y.backward, "gradient"),
        (lambda u: mt.vjp(y, u), "cotangent"),
        (lambda u: mt.grad(y, W, u), "grad_outputs"),
    ):
        with pytest.raises(RuntimeError, match=rf"pass {what}= of shape \(2,\)"):
            call(None)
        with pytest.raises(ValueError, match=rf"{what} has shape \(3,\); it must .* \(2,\)"):
            call([1.0, 2.0, 3.0])
    assert W.grad is None


def test_why_there_is_no_gradient_is_said_as_far_as_it_is_known():
    x = mt.tensor(POINT)
    y = (W * (x * 2.0)).sum()
    with pytest.raises(RuntimeError, match=r"inputs \[1\] do not require a gradient; call requires_grad_\(\) before"):
        mt.grad(y, [W, x])
    x.requires_grad_()
    with pytest.raises(RuntimeError, match=r"through recorded operations: .*detached.*before"):
        mt.grad(y, x)
    assert mt.grad(y, [W, x], allow_unused=True)[1] is None
