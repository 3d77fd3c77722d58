"""Showing things on the spot: a picture in a notebook, a tree of text in a terminal; drawing is loaded when needed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from microtensor.support import showing

if TYPE_CHECKING:
    from microtensor.inspect.graph import Graph
    from microtensor.nn import Module
    from microtensor.tensor import Tensor
    from microtensor.viz.dot import View


def show(
    shown: Tensor | Graph | Module, *, view: View = "forward", depth: int | None = None, interactive: bool = False
) -> None:
    """Show a graph or a network: in a notebook as a picture, in a terminal as a tree.

    Without a layout engine a notebook has the tree, too.

    Parameters
    ----------
    shown : Tensor, Graph or Module
        A tensor stands for its graph; a module is listed with its parameters.
    view : {"forward", "backward", "combined"}
        What is computed, the gradients that come back, or both, with the range of the values.
    depth : int, optional
        Fold scopes nested this deep or deeper; unless given, a graph of over 300 nodes is folded to fewer.
    interactive : bool
        In a notebook, the page on which the computation can be walked through, in a sandboxed frame.

    Raises
    ------
    TypeError
        There is no picture of such a thing.
    ValueError
        There is no such view, or the depth is negative.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.display import show
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> show(x.mean())
    mean      scalar
    x  input  (2,)
    """
    from microtensor.viz import notebook

    notebook.show(shown, view=view, depth=depth, interactive=interactive)


def _mimebundle(
    shown: Tensor | Graph | Module, include: Collection[str] | None = None, exclude: Collection[str] | None = None
) -> dict[str, str]:
    from microtensor.viz.notebook import mimebundle

    return mimebundle(shown, include, exclude)


def _text(graph: Graph) -> str:
    from microtensor.viz.tree import to_tree

    return to_tree(graph)


# What tensors, modules and graphs, which know nothing of pictures, are shown by.
showing.register(mimebundle=_mimebundle, text=_text, show=show)
