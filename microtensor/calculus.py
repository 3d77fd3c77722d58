"""Derivatives as values: gradients, Jacobians, Hessians and products with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from microtensor import ops
from microtensor.core.backprop import run, seed_of, toposort
from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.support.arrays import Array, own_array
from microtensor.support.modes import current_mode, enable_grad

Function = Callable[[Tensor], Tensor]
# The inputs by which jacobian, hessian or hvp differentiate now, with the name of that function.
points: ContextVar[dict[Tensor, str]] = ContextVar("microtensor_points", default={})


def vjp(
    output: Tensor, cotangent: Tensor | ArrayLike | None = None, *, create_graph: bool = False
) -> dict[Tensor, Tensor]:
    """The vector-Jacobian product: the gradient of Σ cotangent · output by every leaf, as a dictionary.

    Nothing is changed: no ``.grad`` is written and the graph is not freed.

    Parameters
    ----------
    output : Tensor
    cotangent : array_like, optional
        The shape of `output`. Default: 1, for an output with one element.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated.

    Raises
    ------
    RuntimeError, TypeError, ValueError
        As :meth:`microtensor.Tensor.backward`.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> mt.vjp(x * x, [1.0, 1.0])[x]
    tensor([2., 4.])
    """
    check_tensor(output, "vjp", "output")
    return _returned({output: seed_of(output, cotangent, "vjp", "cotangent")}, None, create_graph)


def _returned(seeds: dict[Tensor, Any], wanted: set[Tensor] | None, create_graph: bool) -> dict[Tensor, Tensor]:
    """The gradients by tensor.

    A gradient by the input of a running jacobian, hessian or hvp is linked to that input. If its own derivative would
    be lost, an error is raised.
    """
    tracer: Any = current_mode().tracer
    found = run(seeds, wanted, create_graph=create_graph or tracer is not None)
    if tracer is not None and not create_graph:
        # A trace records the walk, but these gradients have no history.
        found = {x: g.detach() for x, g in found.items()}
    for x, who in points.get().items():
        if x in found and not create_graph:
            found[x] = ops.lost_gradient(found[x], x, refuse=partial(refuse_lost, x, who, seeds))
            found[x].__class__ = _LostGradient
    return found


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradient of `outputs` with respect to `inputs`, leaves or intermediate results.

    Nothing is changed: no ``.grad`` is written and the graph is not freed.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor or iterable of Tensor
        For a dictionary of tensors, pass its values.
    grad_outputs : array_like or sequence, optional
        One cotangent per output. Default: 1, for outputs with one element.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated again.
    allow_unused : bool
        Return None for an input that the outputs do not depend on, instead of raising RuntimeError.

    Returns
    -------
    Tensor or tuple of Tensor
        As many as `inputs`: one tensor for one tensor, a tuple for a sequence.

    Raises
    ------
    RuntimeError
        No recorded path leads to an input and `allow_unused` is off. Other errors: see
        :meth:`microtensor.Tensor.backward`.
    TypeError
        An output or an input is not a tensor; the message says which.
    ValueError
        The number of cotangents differs from the number of outputs, or a shape differs.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor(2.0, requires_grad=True)
    >>> slope = mt.grad(x**3, x, create_graph=True)
    >>> slope.item(), mt.grad(slope, x).item()
    (12.0, 12.0)
    """
    roots = check_tensors(outputs, "grad", "output")
    targets = check_tensors(inputs, "grad", "input")
    cotangents = _cotangents(grad_outputs, isinstance(outputs, Tensor), len(roots))
    seeds: dict[Tensor, Any] = {}
    for root, cotangent in zip(roots, cotangents, strict=True):
        seed = seed_of(root, cotangent, "grad", "grad_outputs")
        seeds[root] = seeds[root] + seed if root in seeds else seed
    found = _returned(seeds, set(targets), create_graph)
    missing = [i for i, x in enumerate(targets) if x not in found]
    if missing and not allow_unused:
        raise _unused(targets, missing)
    gradients = tuple(found.get(x) for x in targets)
    return gradients[0] if isinstance(inputs, Tensor) else gradients


def _unused(targets: list[Tensor], missing: list[int]) -> RuntimeError:
    """The error for inputs without a gradient, with the likely cause."""
    constant = [i for i in missing if not targets[i].requires_grad]
    why = (
        f"inputs {constant} do not require a gradient; call requires_grad_() before the outputs are computed"
        if constant
        else "they are unused, or used only detached, under mt.no_grad(), before requires_grad_(), or in an operation "
        "that has no derivative"
    )
    return RuntimeError(
        f"grad: the outputs do not depend on inputs {missing} through recorded operations: {why}. Pass "
        "allow_unused=True to get None for them"
    )


def check_tensor(x: Any, who: str, what: str) -> None:
    """Raises TypeError unless x is a tensor. The message names its type and what to write."""
    if isinstance(x, Tensor):
        return
    if callable(x):
        hint = f"call it, and pass the {'tensor that it returns' if what != 'input' else 'tensors themselves'}"
    elif what.startswith("input"):
        hint = "pass the tensor whose gradient is wanted, made with mt.tensor(..., requires_grad=True)"
    else:
        hint = "pass a result computed from tensors, without .numpy(), .item() or float()"
    raise TypeError(f"{who}: {what} is a {type(x).__name__}, not a tensor; {hint}")


def check_tensors(given: Any, who: str, what: str) -> list[Tensor]:
    """One tensor, or an iterable of them in order, as a list.

    Raises
    ------
    TypeError
        It is something else; the message names the type, the position and what to write.
    """
    if isinstance(given, Tensor):
        return [given]
    kind = type(given).__name__
    if isinstance(given, Mapping):
        raise TypeError(f"{who}: {what}s is a {kind}, not a tensor or a list of tensors; pass list({what}s.values())")
    if isinstance(given, (set, frozenset)):
        raise TypeError(f"{who}: {what}s is a {kind}, which has no order; pass a list of tensors")
    if hasattr(type(given), "parameters"):
        raise TypeError(f"{who}: {what}s is a {kind}, not a tensor; pass its parameters, as in list(net.parameters())")
    if isinstance(given, (str, bytes, np.ndarray)) or not isinstance(given, Iterable):
        check_tensor(given, who, what)
    tensors = list(given)
    for i, x in enumerate(tensors):
        check_tensor(x, who, f"{what} {i}")
    return tensors


def _cotangents(given: Any, single: bool, count: int) -> list[Any]:
    """The cotangents of `grad`, one per output.

    Raises
    ------
    TypeError
        They are not a list.
    ValueError
        There are not as many cotangents as outputs.
    """
    if given is None or single:
        return [given] * count
    if isinstance(given, (Mapping, str)) or not isinstance(given, Iterable):
        raise TypeError(
            f"grad: grad_outputs is a {type(given).__name__}; pass a list of one cotangent per output, in order"
        )
    cotangents = list(given)
    if len(cotangents) != count:
        raise ValueError(f"grad: {count} outputs but {len(cotangents)} cotangents in grad_outputs")
    return cotangents


class _LostGradient(Tensor):
    """A gradient by the input of a running jacobian, hessian or hvp. NumPy may read it: it is then a plain number."""

    __slots__ = ()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return self.detach().__array__(dtype, copy)


def refuse_lost(x: Tensor, who: str, seeds: dict[Tensor, Any] | None = None) -> None:
    """Raise RuntimeError because a gradient by x was not recorded, unless `seeds` show that it is constant."""
    try:
        again = run(seeds, {x}, create_graph=True)[x] if seeds else x
        constant = again is not x and not any(
            tensor is x or any(read is x for read in tensor.node.inputs)
            for tensor in (toposort([again]) if again.requires_grad else [])
            if tensor.node is not None
        )
    except Exception:
        constant = False
    if not constant:
        raise RuntimeError(
            f"{who}: the function computes with a gradient by its own input that was taken without create_graph=True, "
            "so the derivative of that gradient would be lost; pass create_graph=True to that mt.grad, mt.vjp or "
            "backward, or use gradient.detach() if it is meant as a constant"
        )


class _Point(Tensor):
    """The input of a derivative: a new copy of x, to which nothing else refers."""

    __slots__ = ("who",)

    who: str

    # A backward pass inside the function leaves a plain number here: the derivative of that gradient is lost.
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
    """The steps of one derivative of `fn` at x. :meth:`call` calls `fn`."""

    def __init__(self, fn: Function, x: Tensor | ArrayLike, who: str) -> None:
        if not callable(fn):
            raise TypeError(f"{who}: fn is a {type(fn).__name__}; it must be a function from a tensor to a tensor")
        _check_single(x, "x", who)
        self.fn = fn
        self.who = who
        self.leaf = _Point(x if isinstance(x, Tensor) else own_array(x, f"{who}: x"))
        self.leaf.who = who
        if self.leaf.dtype.kind != "f":
            raise TypeError(f"{who}: the input has dtype {self.leaf.dtype}; convert it first with .astype(float)")
        self.leaf.requires_grad_()
        self.outside = current_mode().recording
        # Made now, so that it is older than everything that the function records.
        self.link: Node | None = None
        if isinstance(x, Tensor) and x.requires_grad and self.outside:
            self.link = ops.reshape(x, shape=x.shape).node

    def call(self) -> Tensor:
        """The value of the function at the point, recorded in every mode."""
        token = points.set({**points.get(), self.leaf: self.who})
        try:
            with enable_grad():
                out = self.fn(self.leaf)
        finally:
            points.reset(token)
        if not isinstance(out, Tensor):
            raise TypeError(f"{self.who}: the function returned a {type(out).__name__}; it must return a tensor")
        return out

    def by_point(self, out: Tensor, cotangent: Any = None, create_graph: bool = False) -> Tensor | None:
        """The gradient of `out` by the point; None if `out` does not depend on it."""
        if not out.requires_grad:
            return None
        found: Tensor | None = grad(out, self.leaf, cotangent, create_graph=create_graph, allow_unused=True)
        return found

    def slope(self) -> Tensor:
        """The gradient of a function that returns one element, recorded."""
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
        # The inputs of finished derivatives do not count.
        leaves = (x for x in used if x.requires_grad and x.is_leaf and x is not self.leaf)
        return any(not isinstance(x, _Point) or x in points.get() for x in leaves)

    def finished(self, result: Tensor) -> Tensor:
        """The result, linked to x."""
        if self.link is not None:
            self.leaf._node = self.link
        return result


def _check_single(x: Any, what: str, who: str) -> None:
    """Raises TypeError for several tensors where it must be one."""
    if isinstance(x, (Mapping, set)) or (isinstance(x, (list, tuple)) and any(isinstance(a, Tensor) for a in x)):
        raise TypeError(
            f"{who}: {what} is a {type(x).__name__} of several tensors; it must be one tensor. Join them with "
            "mt.concat or mt.stack, or differentiate by one of them at a time"
        )


def jacobian(fn: Function, x: Tensor | ArrayLike) -> Tensor:
    """The Jacobian of a function at a point: J[i, j] = ∂fn(x)[i] / ∂x[j].

    It takes one reverse walk per element of the result. If x or another tensor in the function requires a gradient,
    the Jacobian is recorded. It can then be differentiated again, and calls can be nested.

    Parameters
    ----------
    fn : callable
        A function from a tensor to a tensor. A gradient by its own input must be taken with ``create_graph=True``.
        A gradient by another tensor, taken without it, counts as a constant.
    x : Tensor or array_like
        The point; it is copied. Pass ``x.detach()`` for a result without history.

    Returns
    -------
    Tensor
        Its shape is the shape of the result followed by the shape of x.

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
        return Tensor(np.array([row._array for row in rows], dtype=d.leaf.dtype).reshape(shape))
    return d.finished(ops.reshape(ops.stack(rows), shape=shape))


def hessian(fn: Function, x: Tensor | ArrayLike) -> Tensor:
    """The Hessian of a scalar function at a point: H[i, j] = ∂² fn(x) / ∂x[i] ∂x[j].

    The result has a history in the same cases as that of :func:`jacobian`.

    Parameters
    ----------
    fn : callable
        A function from a tensor to a tensor with one element; see :func:`jacobian`.
    x : Tensor or array_like
        The point; it is copied.

    Returns
    -------
    Tensor
        Its shape is the shape of x, twice.

    Raises
    ------
    TypeError
        x is not one tensor or array of floats, or the function does not return a tensor.
    RuntimeError
        The function does not return a single element. Other errors: see :func:`jacobian`.

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

    The result has a history in the same cases as that of :func:`jacobian`, and also if v requires a gradient.

    Parameters
    ----------
    fn : callable
        A function from a tensor to a tensor with one element; see :func:`jacobian`.
    x : Tensor or array_like
        The point; it is copied.
    v : Tensor or array_like
        The shape of x.

    Raises
    ------
    TypeError
        x or v is not one tensor or array of numbers, or the function does not return a tensor.
    RuntimeError
        The function does not return a single element. Other errors: see :func:`jacobian`.
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
        raise ValueError(f"hvp: v has shape {vector.shape}; it must have the shape of x, {d.leaf.shape}")
    vector = vector if vector.dtype == d.leaf.dtype else ops.astype(vector, dtype=d.leaf.dtype)
    slope = d.slope()
    records = d.records(slope) or (vector.requires_grad and d.outside)
    found = d.by_point(slope, vector, records)
    return d.zeros() if found is None else d.finished(found)
