"""States of Keras and flax converted to states of this package's layers, and back.

Keras and flax have other names for γ and β, the running statistics and the weights. Their kernels have the axes
(…, in, out). Those of PyTorch and this package have (out, in, …). The functions here change both. What they cannot
change must be changed in the model:

- In Keras and flax the channels are the last axis. Move the channels of the input to axis 1. Before a Flatten behind a
  convolution, reorder the features from (height, width, channel) to (channel, height, width).
- ε and momentum are settings of the layers. ε is 1e-3 in Keras, and 1e-5 in flax (1e-6 in its LayerNorm). In both,
  momentum is the weight of the *old* value: their 0.99 is ``momentum=1 - 0.99`` here.
- The kernel of a transposed convolution is (…, out, in) in Keras and (…, in, out) in flax, which also flips its window.
  In a state of flax only the name tells such a layer from a convolution. Layers with linen's names, such as
  ``ConvTranspose_0``, are found. Give the names of the others as `transposed`. Their padding "VALID" is ``padding=0``
  here.

Recurrent layers and attention cannot be converted: their gates and heads have another order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from microtensor.support.arrays import Array, own_array

__all__ = ["from_flax", "from_keras", "to_flax", "to_keras"]

Entries: TypeAlias = Iterable[tuple[str, Any]]
Change: TypeAlias = Callable[[str, str, Array], Entries]

# What PyTorch's names are called there, in a norm; a "table" is the weight of an embedding.
KERAS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "table": "embeddings",
}
FLAX = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var", "table": "embedding"}


def from_keras(state: Mapping[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Array]:
    """The state for ``load_state_dict`` from the variables of a Keras model.

    Parameters
    ----------
    state : mapping
        From paths to arrays: ``{v.path: v.numpy() for v in model.variables}``. In Keras 2 it is ``v.name``.
    names : mapping, optional
        From Keras's names of layers to the names here. A layer that is not in it keeps its name, with dots instead of
        slashes.

    Raises
    ------
    ValueError
        A variable has no counterpart here, or a name in `names` belongs to no layer. The message lists all of them.
    TypeError
        A value is not an array of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> state = {"sequential/dense/kernel": np.ones((3, 2)), "sequential/dense/bias": np.zeros(2)}
    >>> mt.nn.Linear(3, 2).load_state_dict(mt.convert.from_keras(state, {"sequential/dense": ""}))
    <All keys matched successfully>
    """
    return _to_ours(_leaves(state), KERAS, names or {}, "from_keras")


def from_flax(
    tree: Mapping[str, Any], names: Mapping[str, str] | None = None, transposed: Collection[str] = ()
) -> dict[str, Array]:
    """The state for ``load_state_dict`` from the variables of a flax model. Errors: see :func:`from_keras`.

    Parameters
    ----------
    tree : mapping
        Nested: linen's ``{"params": …, "batch_stats": …}``, or nnx's ``nnx.to_pure_dict(nnx.state(model))``.
    names : mapping, optional
        From flax's names of layers, such as ``"encoder/Dense_0"``, to the names here. The others keep their names, with
        dots instead of slashes.
    transposed : collection of str
        flax's names of ConvTranspose layers with ``transpose_kernel=False``. Layers called ``ConvTranspose_0``,
        ``ConvTranspose_1``, … need not be listed.

    Examples
    --------
    >>> import numpy as np
    >>> import microtensor as mt
    >>> mt.convert.from_flax({"params": {"Dense_0": {"kernel": np.ones((3, 2))}}})["Dense_0.weight"].shape
    (2, 3)
    """
    collections = tree.keys() & {"params", "batch_stats"}
    if not collections:
        return _to_ours(_leaves(tree), FLAX, names or {}, "from_flax", transposed)
    if other := sorted(tree.keys() - collections):
        raise ValueError(f"from_flax: nothing was converted: no layer here has the collections {other}")
    leaves = (leaf for name in sorted(collections) for leaf in _leaves(tree[name]))
    return _to_ours(leaves, FLAX, names or {}, "from_flax", transposed)


def to_keras(
    state: Mapping[str, Any], names: Mapping[str, str] | None = None, embeddings: Collection[str] = ()
) -> dict[str, Array]:
    """The variables of a Keras model by path, from a ``state_dict()``. Use them as ``v.assign(result[v.path])``.

    A weight with one axis, or with as many axes as its bias, is taken for the γ of a norm. Any other is taken for a
    kernel. In Keras's RMSNormalization, γ is called ``scale``; here it is always ``gamma``. Errors: see
    :func:`from_keras`.

    Parameters
    ----------
    state : mapping
    names : mapping, optional
        From the names of layers here to Keras's names: ``{"0": "sequential/dense"}``. The others keep their names, with
        slashes instead of dots.
    embeddings : collection of str
        The names of the embedding layers. Their weight is a table, whose axes stay as they are.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.convert.to_keras(mt.nn.Linear(3, 2).state_dict(), {"": "dense"})["dense/kernel"].shape
    (3, 2)
    """
    return _to_theirs(state, KERAS, names or {}, embeddings, "to_keras")


def to_flax(
    state: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    embeddings: Collection[str] = (),
    transposed: Collection[str] = (),
) -> dict[str, Any]:
    """The variables of a flax (linen) model, ``{"params": …, "batch_stats": …}``, from a ``state_dict()``.

    Parameters
    ----------
    state, names, embeddings
        As :func:`to_keras`.
    transposed : collection of str
        The names of the layers here that are a ConvTranspose in flax. Layers that flax calls ``ConvTranspose_0``,
        ``ConvTranspose_1``, … need not be listed.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.convert.to_flax(mt.nn.LayerNorm(2).state_dict(), {"": "LayerNorm_0"})
    {'params': {'LayerNorm_0': {'scale': array([1., 1.]), 'bias': array([0., 0.])}}}
    """
    tree: dict[str, Any] = {}
    for path, value in _to_theirs(state, FLAX, names or {}, embeddings, "to_flax", transposed).items():
        *layer, leaf = path.split("/")
        place = tree.setdefault("batch_stats" if leaf in ("mean", "var") else "params", {})
        for part in layer:
            place = place.setdefault(part, {})
        place[leaf] = value
    return tree


def _leaves(tree: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        here = f"{path}/{name}".lstrip("/").removesuffix(":0")
        yield from _leaves(value, here) if isinstance(value, Mapping) else [(here, value)]


def _to_ours(
    leaves: Entries, theirs: Mapping[str, str], names: Mapping[str, str], who: str, transposed: Collection[str] = ()
) -> dict[str, Array]:
    # Keras's RMSNormalization says scale, too.
    ours = {there: here for here, there in theirs.items()} | {"kernel": "kernel", "bias": "bias", "scale": "weight"}

    def change(layer: str, leaf: str, value: Array) -> Entries:
        match ours.get(leaf):
            case "kernel" if value.ndim >= 3 and theirs is FLAX and _is_transposed(layer, transposed):
                yield "weight", _turned(value.transpose(-2, -1, *range(value.ndim - 2)))
            case "kernel" if value.ndim >= 2:
                yield "weight", value.transpose(-1, -2, *range(value.ndim - 2))
            case "weight" | "table":
                yield "weight", value
            case "bias" | "running_var" as name:
                yield name, value
            case "running_mean":
                yield "running_mean", value
                # Nobody else counts the batches, and only momentum=None asks how many they were.
                yield "num_batches_tracked", np.array(0)
            case _:
                raise ValueError(f"no layer here has such a variable of shape {value.shape}")

    return _renamed(leaves, "/", ".", change, names, {*names, *transposed}, who)


def _is_transposed(layer: str, named: Collection[str]) -> bool:
    return layer in named or layer.rpartition("/")[2].partition("_")[0] == "ConvTranspose"


def _turned(weight: Array) -> Array:
    """The weight with its window flipped: all axes from 2 on."""
    return np.flip(weight, tuple(range(2, weight.ndim))).copy()


def _to_theirs(
    state: Mapping[str, Any],
    theirs: Mapping[str, str],
    names: Mapping[str, str],
    embeddings: Collection[str],
    who: str,
    transposed: Collection[str] = (),
) -> dict[str, Array]:
    axes = {key: np.ndim(value) for key, value in state.items()}

    def change(layer: str, leaf: str, value: Array) -> Entries:
        weight, bias = (axes.get(f"{layer}.{name}".lstrip(".")) for name in ("weight", "bias"))
        is_norm = weight in (None, 1, bias)
        is_transposed = layer in transposed or _is_transposed(names.get(layer, layer.replace(".", "/")), ())
        match leaf:
            case "weight" if layer in embeddings:
                yield theirs["table"], value
            case "weight" if not is_norm and value.ndim >= 3 and theirs is FLAX and is_transposed:
                yield "kernel", _turned(value).transpose(*range(2, value.ndim), 0, 1)
            case "weight" if not is_norm:
                yield "kernel", value.transpose(*range(2, value.ndim), 1, 0)
            case "bias" if not is_norm:
                yield "bias", value
            case "weight" | "bias" | "running_mean" | "running_var":
                yield theirs[leaf], value
            case "num_batches_tracked":
                pass
            case _:
                raise ValueError("it has no counterpart there")

    return _renamed(state.items(), ".", "/", change, names, {*names, *embeddings, *transposed}, who)


def _renamed(
    entries: Entries, before: str, after: str, change: Change, names: Mapping[str, str], unmet: set[str], who: str
) -> dict[str, Array]:
    """All entries, changed and under their new paths; an error that lists all that do not fit."""
    renamed: dict[str, Array] = {}
    problems: list[str] = []
    for path, given in entries:
        value = own_array(given, f"{who}: {path}")
        layer, _, leaf = path.rpartition(before)
        unmet.discard(layer)
        prefix = names.get(layer, layer.replace(before, after))
        try:
            for name, changed in change(layer, leaf, value):
                key = f"{prefix}{after}{name}" if prefix else name
                if key in renamed:
                    raise ValueError(f"{key} is taken by another")
                renamed[key] = changed
        except ValueError as error:
            problems.append(f"{path}: {error}")
    problems += [f"{layer}: there is no such layer" for layer in unmet]
    if problems:
        raise ValueError(f"{who}: nothing was converted: {'; '.join(sorted(problems))}")
    return renamed
