"""Jacobians, Hessians and products with them, of functions of tensors; the reverse walk, arranged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor import ops
from microtensor.backprop import grad, points, refuse_lost, toposort
from microtensor.primitive import Node, enable_grad, is_recording
from microtensor.support.arrays import own_array
from microtensor.tensor import Tensor

Function = Callable[[Tensor], Tensor]


class _Point(Tensor):
    """The independent variable of a derivative: a copy of x, which no program holds yet."""

    __slots__ = ("who",)

    who: str

    # What a backward pass inside the function leaves here is a number: its own derivative is lost.
    def _take(self) -> Tensor | None:
        found = self._grad
        if found is None or found.requires_grad or self not in points.get():
            return found
        linked: Tensor = ops.lost_gradient(found, self, refuse=lambda: refuse_lost(self, self.who))
        return linked

    def _put(self, value: Tensor | ArrayLike | None) -> None:
        Tensor.grad.__set__(self, value)  # type: ignore[attr-defined]

    grad = property(_take, _put, doc=Tensor.grad.__doc__)


class _Derivative:
    """One derivative of `fn` at x, from the copy of x to the result; `fn` is called by :meth:`call`."""

    def __init__(self, fn: Function, x: Tensor | ArrayLike, who: str) -> None:
        if not callable(fn):
            raise TypeError(f"{who}: fn is a {type(fn).__name__}; a function from a tensor to a tensor is needed")
        _check_single(x, "x", who)
        self.fn = fn
        self.who = who
        self.leaf = _Point(x if isinstance(x, Tensor) else own_array(x, f"{who}: x"))
        self.leaf.who = who
        if self.leaf.dtype.kind != "f":
            raise TypeError(f"{who}: the input has dtype {self.leaf.dtype}; convert it first with .astype(float)")
        self.leaf.requires_grad_()
        self.outside = is_recording()
        # Made now, so that it is older than everything that the function records.
        self.link: Node | None = None
        if isinstance(x, Tensor) and x.requires_grad and self.outside:
            self.link = ops.reshape(x, shape=x.shape).node

    def call(self) -> Tensor:
        """The function at the point, recorded in whatever mode the program is."""
        token = points.set({**points.get(), self.leaf: self.who})
        try:
            with enable_grad():
                out = self.fn(self.leaf)
        finally:
            points.reset(token)
        if not isinstance(out, Tensor):
            raise TypeError(f"{self.who}: the function returned a {type(out).__name__}, not a tensor")
        return out

    def by_point(self, out: Tensor, cotangent: Any = None, create_graph: bool = False) -> Tensor | None:
        """The gradient of `out` by the point; None where it does not depend on it."""
        if not out.requires_grad:
            return None
        found: Tensor | None = grad(out, self.leaf, cotangent, create_graph=create_graph, allow_unused=True)
        return found

    def slope(self) -> Tensor:
        """The gradient of a function with one element, recorded."""
        found = self.by_point(self.call(), create_graph=True)
        return self.zeros() if found is None else found

    def zeros(self) -> Tensor:
        return Tensor(np.zeros(self.leaf.shape, self.leaf.dtype))

    def records(self, out: Tensor) -> bool:
        """Whether the result can be differentiated: by x, or by something else that the function uses."""
        if not self.outside:
            return False
        if self.link is not None:
            return True
        used = (x for t in toposort([out]) if t.node is not None for x in t.node.inputs if isinstance(x, Tensor))
        # The points of derivatives that are finished lead nowhere.
        leaves = (x for x in used if x.requires_grad and x.is_leaf and x is not self.leaf)
        return any(not isinstance(x, _Point) or x in points.get() for x in leaves)

    def finished(self, result: Tensor) -> Tensor:
        """The result, linked to x."""
        if self.link is not None:
            self.leaf._node = self.link
        return result


def _check_single(x: Any, what: str, who: str) -> None:
    """Raises TypeError for several tensors where one is needed."""
    if isinstance(x, (Mapping, set)) or (isinstance(x, (list, tuple)) and any(isinstance(a, Tensor) for a in x)):
        raise TypeError(
            f"{who}: {what} is a {type(x).__name__} of several; one tensor is needed. Join them with mt.concat or "
            "mt.stack, or take one after the other, with the rest fixed inside fn"
        )


def jacobian(fn: Function, x: Tensor | ArrayLike) -> Tensor:
    """The Jacobian of a function at a point: J[i, j] = ∂fn(x)[i] / ∂x[j].

    One reverse walk for each element of the result. Where x requires a gradient, or the function uses something
    else that does, the Jacobian is recorded and can be differentiated again, so that these functions nest.

    Parameters
    ----------
    fn : callable
        From a tensor to a tensor. Inside it, a gradient by its input needs ``create_graph=True``; by anything
        else, without it, the gradient is a number.
    x : Tensor or array_like
        The point; it is copied. Pass ``x.detach()`` for a result without history.

    Returns
    -------
    Tensor
        Of the shape of the result followed by that of x.

    Raises
    ------
    TypeError
        x is not one tensor or array of floats, or the function does not return a tensor.
    RuntimeError
        The result depends on a gradient by x that was taken inside the function without ``create_graph=True``.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.jacobian(lambda x: x * x, [1.0, 2.0])
    tensor([[2., 0.],
            [0., 4.]])
    """
    return _jacobian(_Derivative(fn, x, "jacobian"))


def _jacobian(d: _Derivative, of_slope: bool = False) -> Tensor:
    out = d.slope() if of_slope else d.call()
    records, rows = d.records(out), []
    for i in range(out.size):
        seed = np.zeros(out.size, dtype=out.dtype)
        seed[i] = 1
        found = d.by_point(out, seed.reshape(out.shape), records)
        rows.append(d.zeros() if found is None else found)
    shape = out.shape + d.leaf.shape
    if not records or not rows:
        return Tensor(np.array([row.numpy() for row in rows], dtype=d.leaf.dtype).reshape(shape))
    return d.finished(ops.reshape(ops.stack(rows), shape=shape))


def hessian(fn: Function, x: Tensor | ArrayLike) -> Tensor:
    """The Hessian of a scalar function at a point: H[i, j] = ∂² fn(x) / ∂x[i] ∂x[j].

    It is recorded as :func:`jacobian` is.

    Parameters
    ----------
    fn : callable
        From a tensor to a tensor with one element; as for :func:`jacobian`.
    x : Tensor or array_like
        The point; it is copied.

    Returns
    -------
    Tensor
        Of the shape of x twice over.

    Raises
    ------
    TypeError
        x is not one tensor or array of floats, or the function does not return a tensor.
    RuntimeError
        The function does not return a single element, or as for :func:`jacobian`.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.hessian(lambda x: (x**3).sum(), [1.0, 2.0])
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return _jacobian(_Derivative(fn, x, "hessian"), of_slope=True)


def hvp(fn: Function, x: Tensor | ArrayLike, v: Tensor | ArrayLike) -> Tensor:
    """The product of the Hessian of a scalar function with a vector, without the Hessian.

    It is recorded as :func:`jacobian` is, or where v requires a gradient.

    Parameters
    ----------
    fn : callable
        From a tensor to a tensor with one element; as for :func:`jacobian`.
    x : Tensor or array_like
        The point; it is copied.
    v : Tensor or array_like
        Of the shape of x.

    Raises
    ------
    TypeError
        x or v is not one tensor or array of numbers, or the function does not return a tensor.
    RuntimeError
        The function does not return a single element, or as for :func:`jacobian`.
    ValueError
        v has another shape than x.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.hvp(lambda x: (x**3).sum(), [1.0, 2.0], [1.0, 10.0])
    tensor([  6., 120.])
    """
    d = _Derivative(fn, x, "hvp")
    _check_single(v, "v", "hvp")
    vector = v if isinstance(v, Tensor) else Tensor(own_array(v, "hvp: v"))
    if vector.shape != d.leaf.shape:
        raise ValueError(f"hvp: v has shape {vector.shape}, x {d.leaf.shape}")
    vector = vector if vector.dtype == d.leaf.dtype else ops.astype(vector, dtype=d.leaf.dtype)
    slope = d.slope()
    records = d.records(slope) or (vector.requires_grad and d.outside)
    found = d.by_point(slope, vector, records)
    return d.zeros() if found is None else d.finished(found)
