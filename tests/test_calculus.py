"""Jacobians, Hessians and their products against closed forms; anomalies and what an error in backward carries."""

import numpy as np
import pytest

import microtensor as mt
from microtensor.primitive import primitive

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
    with pytest.raises(ValueError, match=r"hvp: v has shape \(3,\), x \(2,\)"):
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
