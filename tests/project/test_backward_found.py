"""docs/backward-found.md: the source that it shows is the one that is generated, and its table of terms is true."""

import contextlib
import io
import re

import numpy as np
import pytest

import microtensor as mt
from tests.places import DOCS

PAGE = (DOCS / "backward-found.md").read_text(encoding="utf-8")
CODE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
SHOWN = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
TERMS = dict(re.findall(r"\| `(v.*?)` \| (.*?) \|", PAGE))


@pytest.fixture(scope="module")
def lesson():
    """The names of the page's program, and what it prints."""
    space, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(CODE, space)
    return space, printed.getvalue()


def test_the_source_is_the_one_that_is_generated(lesson):
    assert [part.strip() for part in re.split(r"\n(?=def backward)", lesson[1])] == [part.strip() for part in SHOWN]


def test_the_terms_are_those_of_the_textbook_and_of_the_ledger(lesson):
    space, source = lesson
    x, gamma = space["x"].numpy(), space["gamma"].numpy()
    numpy = {"add": np.add, "sqrt": np.sqrt}
    inside = source.replace("    return dbeta, dgamma, dx", "    return locals()")
    exec(inside, numpy)
    _, *saved = numpy["forward"](x, gamma[None], space["beta"].numpy()[None])
    g = np.random.default_rng(0).normal(size=x.shape)
    found = numpy["backward"](x, g, *saved)
    sigma = np.sqrt(x.var(axis=0) + 1e-5)
    xhat, n = (x - x.mean(axis=0)) / sigma, len(x)
    expected = {
        "direct": gamma / sigma * g,
        "via the mean": -gamma / sigma * g.sum(axis=0) / n,
        "via the variance": -gamma / sigma * xhat * (g * xhat).sum(axis=0) / n,
        "via the mean inside the variance": 0.0 * x,
    }
    assert set(TERMS.values()) == set(expected)
    for term, path in TERMS.items():
        np.testing.assert_allclose(eval(term, {}, found) + 0.0 * x, expected[path] + 0.0 * x, rtol=1e-12, atol=1e-15)
    y = space["batch_norm"](*(space[name] for name in ("x", "gamma", "beta")))
    np.testing.assert_allclose(found["dx"], mt.grad(y, space["x"], g).numpy(), rtol=1e-12, atol=1e-14)
    ledger = mt.paths(y, space["x"], g)
    for path, array in expected.items():
        np.testing.assert_allclose(ledger[path].contribution, array + 0.0 * x, rtol=1e-9, atol=1e-14)
