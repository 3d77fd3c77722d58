"""``torch.autograd``: gradients of some tensors, and functions whose backward pass the program writes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from microtensor import calculus, ops
from microtensor.core.primitive import Primitive
from microtensor.core.tensor import Tensor as PlainTensor
from microtensor.support.arrays import broadcasts
from microtensor.support.modes import detect_anomaly as detect_anomaly
from microtensor.support.modes import enable_grad as enable_grad
from microtensor.support.modes import no_grad
from microtensor.torch.tensor import wrap


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, allow_unused: bool | None = None) -> Any:  # fmt: skip
    """The gradients of some tensors, as a tuple; ``.grad`` does not change."""
    given = [[x] if isinstance(x, PlainTensor) else x and list(x) for x in (outputs, inputs, grad_outputs)]
    found = calculus.grad(*given, create_graph=create_graph, allow_unused=bool(allow_unused))
    return tuple(wrap(g) for g in found)


def Variable(data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
    """The tensor itself; `requires_grad` is set on it."""
    return data.requires_grad_() if requires_grad else data


class Function:
    """A function with a backward pass of its own: define static ``forward(ctx, …)`` and ``backward(ctx, *gradients)``.

    Call it by ``apply``.
    """

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run ``forward``, and record it so that a backward pass runs ``backward``."""
        needs = tuple(isinstance(x, PlainTensor) and x._requires_grad for x in args)
        context = SimpleNamespace(needs_input_grad=needs, saved_tensors=())
        context.save_for_backward = lambda *tensors: setattr(context, "saved_tensors", tensors)
        with no_grad():
            given = cls.forward(context, *args)  # type: ignore[attr-defined]
        if not any(needs):
            return given
        # One operation has one result: several are put one after the other.
        arrays = [y._array for y in (given if isinstance(given, tuple) else (given,))]
        ends = np.cumsum([0, *(y.size for y in arrays)]).tolist()
        flat = np.concatenate([y.reshape(-1) for y in arrays]) if isinstance(given, tuple) else np.array(arrays[0])
        latest: list[Any] = [None, None]

        def pieces(whole: Any) -> tuple[Any, ...]:
            if not isinstance(given, tuple):
                return (wrap(whole),)
            parts = [ops.getitem(whole, index=slice(*ends[i : i + 2])) for i in range(len(arrays))]
            return tuple(wrap(ops.reshape(x, shape=y.shape)) for x, y in zip(parts, arrays, strict=True))

        def rule(place: int) -> Any:
            def run(g: Any, y: Any, *inputs: Any) -> Any:
                # All inputs share one run of backward.
                if latest[0] is not g:
                    with enable_grad() if isinstance(g, PlainTensor) else no_grad():
                        latest[:] = g, cls.backward(context, *pieces(g))  # type: ignore[attr-defined]
                found = latest[1][place] if isinstance(latest[1], tuple) else latest[1]
                found = wrap(np.zeros(args[place].shape, args[place].dtype)) if found is None else found
                if not broadcasts(args[place]._array.shape, found._array.shape):
                    raise RuntimeError(f"{cls.__name__}: a gradient of shape {found.shape} for {args[place].shape}")
                return found if isinstance(g, PlainTensor) else found._array

            return run

        places = [i for i, x in enumerate(args) if isinstance(x, PlainTensor)]
        made: Any = Primitive(cls.__name__, lambda *inputs: flat, tuple(rule(i) for i in places))
        found = pieces(made(*(args[i] for i in places)))
        return found if isinstance(given, tuple) else found[0]
