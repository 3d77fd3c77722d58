"""Step one: how ``loss.backward()`` works, in about 25 lines on the records that microtensor keeps.

A result knows the operation that made it and the inputs of that operation: ``y.node``. A walk goes from the loss back
to the leaves. It applies one derivative rule per input and adds up the results of the rules. That is all of
reverse-mode differentiation. Here the walk goes back through a standardization, as in batch norm. So the gradient
passes through μ and σ too. ``mt.grad`` gives the same.

    python examples/00_backward.py
    microtensor viz examples/00_backward.py:loss --view backward -o backward.svg
"""

import numpy as np
from numpy.typing import NDArray

import microtensor as mt
from microtensor.primitive import Node
from microtensor.viz import EngineError, render

Array = NDArray[np.float64]


def in_order(result: mt.Tensor, found: dict[mt.Tensor, Node]) -> dict[mt.Tensor, Node]:
    """A result and the recorded results that it depends on, with their records. Each comes after its inputs."""
    if result.node is not None and result not in found:
        for x in result.node.inputs:
            if isinstance(x, mt.Tensor):
                in_order(x, found)
        found[result] = result.node
    return found


def fitted(d: Array, shape: tuple[int, ...]) -> Array:
    """A gradient in the shape of its input: summed where the input was broadcast, repeated where it was summed."""
    d = d.sum(axis=tuple(range(d.ndim - len(shape))))
    d = d.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
    spread: Array = np.broadcast_to(d, shape)
    return spread


def gradients(loss: mt.Tensor) -> dict[mt.Tensor, Array]:
    """The gradient of the loss with respect to every tensor that it depends on."""
    g = {loss: np.ones(loss.shape)}
    for y, node in reversed(in_order(loss, {}).items()):
        values = [x.numpy() if isinstance(x, mt.Tensor) else x for x in node.inputs]
        for x, rule in zip(node.inputs, node.primitive.rules, strict=True):
            if isinstance(x, mt.Tensor) and x.requires_grad:
                d = fitted(np.asarray(rule(g[y], y.numpy(), *values, **node.params)), x.shape)
                g[x] = g[x] + d if x in g else d
    return g


rng = np.random.default_rng(0)
x = mt.tensor(rng.normal(1.0, 2.0, (4, 3)), requires_grad=True, name="x")
c = mt.tensor(rng.normal(size=(4, 3)), name="c")
loss = mt.label((c * mt.norms.standardize(x, axis=0)).sum(), "loss")

if __name__ == "__main__":
    mine, theirs = gradients(loss)[x], mt.grad(loss, x).numpy()
    print("this walk:", *np.array2string(mine, precision=4).splitlines(), sep="\n  ")
    print(f"largest difference from mt.grad: {np.abs(mine - theirs).max():.1e}")
    print(f"sum per column, which the mean takes out: {np.abs(mine.sum(axis=0)).max():.1e}")
    try:
        with open("00_backward.svg", "wb") as file:
            file.write(render(mt.Graph.from_tensor(loss), "svg", view="backward"))
        print("its picture: 00_backward.svg")
    except EngineError as error:
        print(error)
    raise SystemExit(not np.allclose(mine, theirs, rtol=1e-12))
