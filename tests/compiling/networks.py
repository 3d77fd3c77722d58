"""Random programs of every kind of operation: products of matrices, selections, joins, reductions, each element."""

import random

import numpy as np

import microtensor as mt
from tests.compiling.programs import ONE, TWO


class RandomNetwork:
    """A function drawn from a seed, and its arguments: floats, labels and indices."""

    def __init__(self, seed, dtype):
        draw = random.Random(seed)
        self.draws = np.random.default_rng(seed)
        self.rows, self.width = draw.choice([2, 3, 5]), draw.choice([3, 4, 6])
        shapes = [(self.rows, self.width), (self.width, self.width), (self.width,), (self.rows, 1)]
        self.floats = [(self.draws.standard_normal(s) * 0.7).astype(dtype) for s in shapes]
        self.labels = self.draws.integers(0, self.width, self.rows)
        self.places = self.draws.integers(0, self.rows, 4)
        self.arrays = [*self.floats, self.labels, self.places]
        self.needs = [draw.random() < 0.8 for _ in self.floats]
        if not any(self.needs):
            self.needs[0] = True
        self.needs += [False, False]
        self.plan = [tuple(draw.randrange(10**6) for _ in range(4)) for _ in range(draw.randint(4, 16))]
        self.several = draw.random() < 0.3

    def __call__(self, x, weight, bias, column, labels, places):
        # All values on the list are matrices of one shape.
        values = [x, x @ weight + bias, x * column]
        for kind, a, b, c in self.plan:
            p, q = values[b % len(values)], values[c % len(values)]
            values.append(self._next(kind % 24, a, p, q, weight, labels, places))
        y = values[-1] + values[-2] * values[0]
        if self.several:
            return y, mt.mean(values[-1] * x), mt.sum(y, axis=0)
        return y

    def _next(self, kind, a, p, q, weight, labels, places):
        n, m = p.shape
        cut = 1 + a % (m - 1)
        if kind < 5:
            return ONE[a % len(ONE)](p)
        if kind < 9:
            return TWO[a % len(TWO)](p, q)
        if kind < 11:
            return p @ (weight if a % 2 else weight.mT)
        if kind == 11:
            axis = a % 2
            return (p - mt.mean(p, axis=axis, keepdims=True)) / mt.sqrt(mt.mean(q * q, axis=axis, keepdims=True) + 0.5)
        if kind == 12:
            return mt.concat([p[:, cut:], q[:, :cut]], axis=1)
        if kind == 13:
            return mt.sum(mt.stack([p, q, p * 0.5], axis=a % 3), axis=a % 3)
        if kind == 14:
            return mt.reshape(mt.pick(p, labels), (n, 1)) + q
        if kind == 15:
            return mt.take(p, [(a + i) % n for i in range(n)], axis=0) * 0.5
        if kind == 16:
            return q + mt.mean(p[places], axis=0)
        if kind == 17:
            return mt.einsum("ij,kj->ik", p, q) @ q * 0.1
        if kind == 18:
            return mt.reshape(mt.permute_dims(mt.tanh(p), (1, 0)), (n, m))
        if kind == 19:
            return mt.cumsum(p, axis=a % 2) * 0.3
        if kind == 20:
            windows = mt.unfold(mt.reshape(p, (1, n, m, 1)), (2, 1))
            return q + mt.mean(windows)
        if kind == 21:
            return mt.flip(p, axis=a % 2) - mt.roll(q, a % 3, axis=a % 2)
        if kind == 22:
            return mt.concat([p[:1] * 2.0, p[1:] + q[1:]])
        return mt.softmax(p @ q.mT) @ mt.tanh(q)
