"""Random compositions: functions of each element, broadcasts, reductions over any axes, changes of shape, losses."""

import random
import warnings

import numpy as np

import microtensor as mt
from microtensor import losses

ONE = [
    mt.tanh,
    lambda v: mt.exp(mt.minimum(v, 3.0)),
    mt.square,
    mt.sigmoid,
    lambda v: mt.sqrt(v * v + 0.5),
    mt.relu,
    lambda v: -v,
    lambda v: v * 0.7,
    lambda v: 1.0 / (v * v + 1.0),
    mt.erf,
    mt.abs,
    lambda v: v - 0.25,
    lambda v: 2.0 - v,
    mt.sin,
    lambda v: mt.log(v * v + 1.0),
    lambda v: mt.where(v > 0.1, v, v * 0.2),
    mt.stop_gradient,
    lambda v: mt.softplus(v),
    lambda v: mt.expm1(mt.minimum(v, 3.0)),
    lambda v: mt.log1p(mt.abs(v)),
    lambda v: v / 3.0,
    lambda v: mt.power(v * v + 0.3, 1.5),
    lambda v: v[None, ..., None][0, ..., 0],
]
TWO = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (b * b + 1.0),
    mt.maximum,
    mt.minimum,
    lambda a, b: mt.where(a > b, a * 2.0, b),
]
# Of values, of others of the same shape, and of classes along axis 1. "mean" would fail where all are ignored.
LOSSES = [
    lambda v, w, classes: mt.cross_entropy(v, classes, ignore_index=1, reduction="sum"),
    lambda v, w, classes: mt.cross_entropy(v, classes),
    lambda v, w, classes: mt.expand_dims(mt.cross_entropy(v, classes, reduction="none", label_smoothing=0.1), 1),
    lambda v, w, classes: mt.cross_entropy(v, mt.softmax(w, 1)),
    lambda v, w, classes: mt.expand_dims(mt.pick(v, classes, axis=1), 1),
    lambda v, w, classes: losses.nll_loss(v * w, classes, ignore_index=2, reduction="sum"),
    lambda v, w, classes: losses.huber_loss(v, w, reduction="none"),
    lambda v, w, classes: losses.mse_loss(v, w),
    lambda v, w, classes: losses.binary_cross_entropy_with_logits(v, mt.sigmoid(w), reduction="none"),
]
FLAT = (mt.mean, mt.sum, lambda v, **o: mt.max(mt.stop_gradient(v), **o), mt.max, mt.min)


class RandomProgram:
    """A function drawn from a seed, and its arguments."""

    def __init__(self, seed, dtype, steps=12):
        draw = random.Random(seed)
        self.draws = np.random.default_rng(seed)
        ndim = draw.choice([1, 2, 2, 3, 3, 4])
        self.shape = tuple(draw.choice([1, 2, 3, 4, 5, 6]) for _ in range(ndim))
        if np.prod(self.shape) == 1:
            self.shape = (*self.shape, 6)
        # Few kinds of sums make norms; many make everything else.
        ndim = len(self.shape)
        self.axes = [
            tuple(sorted(draw.sample(range(ndim), draw.randint(1, ndim)))) for _ in range(draw.choice([1, 1, 2, 3]))
        ]
        shapes = [self.shape]
        for _ in range(draw.randint(0, 3)):
            small = tuple(n if draw.random() < 0.5 else 1 for n in self.shape)
            shapes.append(small[draw.randint(0, ndim - 1) :] if draw.random() < 0.3 else small)
        self.arrays = [(self.draws.standard_normal(s) * 0.7).astype(dtype) for s in shapes]
        self.needs = [draw.random() < 0.8 for _ in shapes]
        if not any(self.needs):
            self.needs[0] = True
        self.plan = [
            tuple(draw.random() if i == 0 else draw.randrange(10**6) for i in range(5))
            for _ in range(draw.randint(3, steps))
        ]
        self.end = draw.random()
        if ndim > 1:
            # The last argument: a class for each position.
            rest = (self.shape[0], *self.shape[2:])
            self.arrays.append(self.draws.integers(0, self.shape[1], rest))
            self.needs.append(False)

    def __call__(self, *xs):
        values = list(xs[: len(xs) - (len(self.shape) > 1)])
        for kind, a, b, c, d in self.plan:
            x, y = values[b % len(values)], values[c % len(values)]
            if kind < 0.3:
                values.append(ONE[a % len(ONE)](x))
            elif kind < 0.6:
                values.append(TWO[a % len(TWO)](x, y))
            elif kind < 0.85:
                axes = self.axes[d % len(self.axes)]
                full = x + mt.reshape(values[0], self.shape) * 0.0 if x.shape != self.shape else x
                full = full if a % 4 else x
                axes = tuple(i for i in axes if i < full.ndim)
                values.append(FLAT[a % len(FLAT)](full, axis=axes, keepdims=True) if axes else full)
            elif kind < 0.9:
                # In another shape and back.
                flat = mt.reshape(x, (x.size,))
                values.append(mt.reshape(ONE[a % len(ONE)](flat), x.shape))
            elif kind < 0.95 and len(self.shape) > 1:
                zeros = mt.reshape(values[0], self.shape) * 0.0
                loss = LOSSES[a % len(LOSSES)](x + zeros, y + zeros, xs[-1])
                values.append(loss if loss.ndim else mt.reshape(loss, (1,) * len(self.shape)))
            else:
                order = tuple(np.random.default_rng(a).permutation(x.ndim).tolist())
                turned = mt.sum(mt.permute_dims(x, order) * 0.5, axis=0, keepdims=True)
                values.append(mt.permute_dims(turned, tuple(np.argsort(order).tolist())))
        y = values[-1] + values[0] * values[-2]
        if self.end < 0.15:
            return mt.mean(y)
        if self.end < 0.3:
            return y, mt.sum(values[-1] * values[0], axis=0)
        return y


def evaluated(fn, arrays, needs, cotangents):
    """The results of a function and the gradients of their sum with cotangents, as arrays."""
    xs = [mt.tensor(x, requires_grad=need) for x, need in zip(arrays, needs, strict=True)]
    found = fn(*xs)
    results = list(found) if isinstance(found, tuple) else [found]
    pulled = [g.astype(y.dtype) for g, y in zip(cotangents(results), results, strict=True)]
    wanted = [x for x in xs if x.requires_grad]
    roots = [(y, g) for y, g in zip(results, pulled, strict=True) if y.requires_grad]
    grads = [None] * len(wanted)
    if roots:
        grads = mt.grad([y for y, _ in roots], wanted, [mt.tensor(g) for _, g in roots], allow_unused=True)
    return [y.numpy() for y in results], [None if g is None else g.numpy() for g in grads]


def difference(compiled, program):
    """The largest relative error of a compiled random program, and what it computes; None if it ran the composition."""

    def cotangents(results):
        draws = np.random.default_rng(7)
        return [draws.standard_normal(y.shape) for y in results]

    noise = np.random.default_rng(8).standard_normal
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in program.arrays]
    near = [x * (1 + 1e-13 * noise(x.shape)) if x.dtype.kind == "f" else x for x in wide]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = evaluated(program, wide, program.needs, cotangents)
        moved = evaluated(program, near, program.needs, cotangents)
        found = evaluated(compiled, program.arrays, program.needs, cotangents)
    if compiled.why:
        return None
    # Where a result jumps within the rounding of its inputs, or is not finite, there is nothing to compare.
    return 0.0 if not largest_error(moved, expected) < 1e-9 else largest_error(found, expected)


def largest_error(found, expected):
    """The largest error of results and gradients, relative to the largest element of each; NaN if one is not finite."""
    assert [g is None for g in found[1]] == [g is None for g in expected[1]]
    pairs = [(a, b) for a, b in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True) if a is not None]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float(np.abs(a - b).max() / max(1e-2, np.abs(b).max())) for a, b in pairs)
