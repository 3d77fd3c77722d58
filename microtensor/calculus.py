"""Jacobians, Hessians and products with them, of functions of tensors; the reverse walk, arranged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from microtensor.backprop import grad
from microtensor.tensor import Tensor


def _leaf(x: Tensor | ArrayLike, who: str) -> Tensor:
    leaf = Tensor(x, requires_grad=False)
    if leaf.dtype.kind != "f":
        raise TypeError(f"{who}: the input has dtype {leaf.dtype}; convert it first with .astype(float)")
    return leaf.requires_grad_()


def _call(fn: Callable[[Tensor], Tensor], leaf: Tensor, who: str) -> Tensor:
    out = fn(leaf)
    if not isinstance(out, Tensor):
        raise TypeError(f"{who}: the function returned a {type(out).__name__}, not a tensor")
    return out


def jacobian(fn: Callable[[Tensor], Tensor], x: Tensor | ArrayLike) -> Tensor:
    """The Jacobian of a function at a point: J[i, j] = ∂fn(x)[i] / ∂x[j].

    One reverse walk for each element of the result.

    Parameters
    ----------
    fn : callable
        From a tensor to a tensor.
    x : Tensor or array_like
        The point; it is copied.

    Returns
    -------
    Tensor
        Of the shape of the result followed by that of x.

    Raises
    ------
    TypeError
        x is not floating point, or the function does not return a tensor.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.jacobian(lambda x: x * x, [1.0, 2.0])
    tensor([[2., 0.],
            [0., 4.]])
    """
    leaf = _leaf(x, "jacobian")
    out = _call(fn, leaf, "jacobian")
    rows = np.zeros((out.size, *leaf.shape), dtype=leaf.dtype)
    if out.requires_grad:
        for i in range(out.size):
            seed = np.zeros(out.size, dtype=out.dtype)
            seed[i] = 1
            found = grad(out, leaf, seed.reshape(out.shape), allow_unused=True)
            if found is not None:
                rows[i] = found.numpy()
    return Tensor(rows.reshape(out.shape + leaf.shape))


def hessian(fn: Callable[[Tensor], Tensor], x: Tensor | ArrayLike) -> Tensor:
    """The Hessian of a scalar function at a point: H[i, j] = ∂² fn(x) / ∂x[i] ∂x[j].

    Parameters
    ----------
    fn : callable
        From a tensor to a tensor with one element.
    x : Tensor or array_like
        The point; it is copied.

    Returns
    -------
    Tensor
        Of the shape of x twice over.

    Raises
    ------
    TypeError
        x is not floating point, or the function does not return a tensor.
    RuntimeError
        The function does not return a single element.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.hessian(lambda x: (x**3).sum(), [1.0, 2.0])
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """

    def gradient(leaf: Tensor) -> Tensor:
        return _gradient(fn, leaf, "hessian")

    return jacobian(gradient, x)


def hvp(fn: Callable[[Tensor], Tensor], x: Tensor | ArrayLike, v: Tensor | ArrayLike) -> Tensor:
    """The product of the Hessian of a scalar function with a vector, without the Hessian.

    Parameters
    ----------
    fn : callable
        From a tensor to a tensor with one element.
    x : Tensor or array_like
        The point; it is copied.
    v : Tensor or array_like
        Of the shape of x.

    Raises
    ------
    TypeError
        x is not floating point, or the function does not return a tensor.
    RuntimeError
        The function does not return a single element.
    ValueError
        v has another shape than x.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.hvp(lambda x: (x**3).sum(), [1.0, 2.0], [1.0, 10.0])
    tensor([  6., 120.])
    """
    leaf = _leaf(x, "hvp")
    vector = np.asarray(v.numpy() if isinstance(v, Tensor) else v, dtype=leaf.dtype)
    if vector.shape != leaf.shape:
        raise ValueError(f"hvp: v has shape {vector.shape}, x {leaf.shape}")
    slope = _gradient(fn, leaf, "hvp")
    found: Any = grad(slope, leaf, vector, allow_unused=True) if slope.requires_grad else None
    return Tensor(np.zeros(leaf.shape, leaf.dtype)) if found is None else found


def _gradient(fn: Callable[[Tensor], Tensor], leaf: Tensor, who: str) -> Tensor:
    """The gradient of a scalar function, recorded; zeros where it does not depend on the input."""
    out = _call(fn, leaf, who)
    found: Any = grad(out, leaf, create_graph=True, allow_unused=True) if out.requires_grad else None
    return Tensor(np.zeros(leaf.shape, leaf.dtype)) if found is None else found
