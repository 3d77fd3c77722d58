"""The names of the paths, where the gradient of a norm parts in a backward picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import microtensor as mt
from microtensor import demos, nn, viz
from microtensor.viz.story import path_names

MEAN, BOTH, VARIANCE, DIRECT = "via the mean", "direct + via the variance", "via the variance", "direct"
SQUARE, STATISTICS = "via the mean square", "via the statistics"


def staged(x: mt.Tensor) -> mt.Tensor:
    xmu = x - x.mean(axis=0)
    var = (xmu**2).mean(axis=0)
    return xmu * (1 / mt.sqrt(var + 1e-5))


def from_second_moment(x: mt.Tensor) -> mt.Tensor:
    m = x.mean(axis=0)
    return (x - m) / mt.sqrt((x * x).mean(axis=0) - m * m + 1e-5)


def folded(x: mt.Tensor) -> mt.Tensor:
    m = x.mean(axis=0)
    inverse = 1 / mt.sqrt(((x - m) ** 2).mean(axis=0) + 1e-5)
    return x * inverse - m * inverse


SPELLINGS: dict[Callable[[mt.Tensor], mt.Tensor], list[str]] = {
    staged: [MEAN, BOTH, VARIANCE, DIRECT],
    lambda x: mt.norms.standardize(x, axis=1): [MEAN, BOTH, VARIANCE, DIRECT],
    lambda x: nn.GroupNorm(2, 4)(x): [MEAN, BOTH, VARIANCE, DIRECT],
    lambda x: nn.BatchNorm1d(4)(nn.Linear(4, 4, rng=0)(x)): [MEAN, BOTH, VARIANCE, DIRECT],
    lambda x: x / mt.sqrt((x * x).mean(axis=0) + 1e-5): [SQUARE, SQUARE, DIRECT],
    lambda x: x / mt.sqrt(mt.square(x).sum(axis=0)): ["via the sum of squares", DIRECT],
    from_second_moment: [STATISTICS, DIRECT, STATISTICS, STATISTICS],
    folded: [STATISTICS, STATISTICS, DIRECT],
    lambda x: mt.softmax(x, axis=1): [],
    lambda x: x * x + x: [],
}


@pytest.mark.parametrize("make", SPELLINGS)
def test_a_path_has_a_name_where_the_gradient_parts(make: Callable[[mt.Tensor], mt.Tensor]) -> None:
    x = mt.tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True, name="x")
    assert list(path_names(mt.Graph.from_tensor(make(x))).values()) == SPELLINGS[make]


def test_what_is_called_direct_and_via_a_statistic_adds_up_to_the_ledger() -> None:
    """The contributions along the named edges are those of the paths with these names."""
    y = demos.batch_norm()
    graph, ledger = mt.Graph.from_tensor(y), mt.paths(y)
    named = {name: graph._flows[key] for key, name in path_names(graph).items()}
    parts = {path.name: path.contribution for path in ledger.paths}
    np.testing.assert_allclose(named[MEAN], parts[MEAN], atol=1e-15)
    np.testing.assert_allclose(named[VARIANCE], parts[VARIANCE], atol=1e-15)
    np.testing.assert_allclose(named[DIRECT], parts[DIRECT], atol=1e-15)
    np.testing.assert_allclose(named[BOTH], parts[DIRECT] + parts[VARIANCE], atol=1e-15)


@pytest.mark.parametrize("slide", [False, True])
def test_the_names_stand_in_the_backward_picture_only(slide: bool) -> None:
    graph = mt.Graph.from_tensor(demos.layer_norm())
    words = [viz.render(graph, "svg", view=view, slide=slide).decode() for view in ("forward", "backward")]
    assert ["via the" in text for text in words] == [False, True]


def test_a_backward_picture_of_one_norm_says_how_the_squares_add_up() -> None:
    y = demos.batch_norm()
    graph = mt.Graph.from_tensor(y)
    squares = "direct² = shift² + scale² + rest²: 0.102² = 0.0490² + 0.0368² + 0.0812²"
    assert squares in str(mt.paths(y))
    assert squares in viz.render(graph, "svg", view="backward", output=y).decode()
    assert squares not in viz.render(graph, "svg", output=y).decode()
    loss = demos.mlp()
    assert "direct²" not in viz.render(mt.Graph.from_tensor(loss), "svg", view="backward", output=loss).decode()


def test_a_legend_speaks_of_gradients_where_there_are_some() -> None:
    x = mt.tensor([[1.0], [2.0]], name="x")
    graph = mt.Graph.from_tensor(mt.label(x * 2.0, "y"), gradients=False)
    assert b"gradient, width" not in viz.render(graph, "svg", view="backward")
