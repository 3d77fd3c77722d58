"""A wrong rule of an operation with a norm inside: gradcheck names the path, as the grader of a backward does."""

import numpy as np
import pytest

import microtensor as mt
from tests.inspect.backwards import KINDS, backward_of, drawn, forward_of, two_pass
from tests.inspect.test_grading_mistakes import CELLS, MISTAKES


def message(forward, rule, *arrays):
    tensors = [mt.tensor(x, requires_grad=True) for x in arrays]
    others = [None] * (len(arrays) - 1)
    operation = mt.primitive("by_hand", forward, lambda g, y, *xs: rule(g, *xs), *others)
    with pytest.raises(mt.GradcheckError) as failure:
        mt.gradcheck(operation, [tensors[0], *(x.detach() for x in tensors[1:])])
    return str(failure.value)


# Finite differences see an ε of 1e-5 beside a mean square of 13 only in the gradient of the whole function.
SEEN = [pair for pair in dict.fromkeys((kind, mistake) for kind, mistake, _ in CELLS) if pair != ("rms", "ε forgotten")]


@pytest.mark.parametrize(("kind", "mistake"), SEEN)
def test_a_mistake_in_a_rule_is_named(kind, mistake):
    change, with_gamma, words = MISTAKES[mistake]
    backward = backward_of(KINDS[kind], change, with_gamma)
    text = message(
        forward_of(KINDS[kind], two_pass), lambda g, x, gamma: backward(g, x, gamma)["x"], *drawn(KINDS[kind])
    )
    assert "the rule of by_hand for argument 0" in text
    assert words.format(scale="variance" if KINDS[kind].centers else "mean square") in text
    assert "detached" not in text


def layer_norm(x):
    return (x - np.mean(x, axis=1, keepdims=True)) / np.sqrt(np.var(x, axis=1, keepdims=True) + 1e-3)


X = np.random.default_rng(0).normal(1.0, 2.0, size=(4, 6))


def held(g, x):
    return g / np.sqrt(np.var(x, axis=1, keepdims=True) + 1e-3)


def test_the_paths_are_read_in_numpy_functions_by_the_names_of_the_forward():
    assert "dx: the statistics are held constant" in message(layer_norm, held, X)


def test_a_forward_for_arrays_alone_is_told_what_the_numbers_tell():
    def forward(x):
        return layer_norm(np.add.reduce(np.asarray(x)[None]))

    text = message(forward, held, X)
    assert "held constant" not in text
    assert "what is missing is a constant and a multiple of x − mean(x) over axis 1" in text


def test_a_rule_that_raises_elsewhere_is_read_at_the_input():
    def rule(g, x):
        if not np.array_equal(x, X):
            raise ZeroDivisionError
        return held(g, x)

    assert "dx: the statistics are held constant" in message(layer_norm, rule, X)


def test_a_small_difference_is_given_no_cause_that_only_seems_to_fit():
    text = message(lambda x: x * 3.0, lambda g, x: g * 3.0 + 1e-5 * np.arange(24.0).reshape(4, 6) / 23, X)
    assert "argument 0 at index" in text
    assert text.count(";") == 0
