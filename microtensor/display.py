"""Shows things at once: a picture in a notebook, a tree of text in a terminal. Drawing is loaded when it is needed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from microtensor import showing

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor
    from microtensor.inspect.graph import Graph
    from microtensor.nn import Module
    from microtensor.viz.dot import View
    from microtensor.viz.layout import Direction
    from microtensor.viz.notation import Notation


def show(
    shown: Tensor | Graph | Module,
    *,
    view: View | Literal["paths"] = "forward",
    depth: int | None = None,
    interactive: bool = False,
    direction: Direction = "tb",
    notation: Notation = "code",
) -> None:
    """Show a graph or a network: in a notebook as a picture, in a terminal as a tree.

    Without a layout engine, a notebook shows the tree as well.

    Parameters
    ----------
    shown : Tensor, Graph or Module
        Of a tensor its graph is shown, of a module its parts with their parameters.
    view : {"forward", "backward", "combined", "paths"}
        "forward" shows what is computed, "backward" the gradients that come back, "combined" both, with the range of
        the values. "paths" shows the gradient of the only input, path by path, as :func:`microtensor.paths` has it; it
        needs a tensor, and `depth` and `interactive` change nothing.
    depth : int, optional
        Fold scopes nested this deep or deeper. Default: a graph of over 300 nodes is folded to fewer.
    interactive : bool
        Whether a notebook shows the page on which one walks through the computation, in a sandboxed frame.
    direction : {"tb", "lr"}
        Whether a picture runs from top to bottom or from left to right.
    notation : {"code", "greek", "book"}
        The names of the program; or Greek letters for their words, such as γ for gamma; or as in *Deep Learning*, with
        H and H′ for x and x̂.

    Raises
    ------
    TypeError
        `shown` is something else, or no tensor where the view is "paths".
    ValueError
        There is no such view, direction or notation, or the depth is negative. Or several tensors could be the input of
        the paths.

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

    notebook.show(shown, view=view, depth=depth, interactive=interactive, direction=direction, notation=notation)


def _mimebundle(
    shown: Tensor | Graph | Module, include: Collection[str] | None = None, exclude: Collection[str] | None = None
) -> dict[str, str]:
    from microtensor.viz.notebook import mimebundle

    return mimebundle(shown, include, exclude)


def _text(graph: Graph) -> str:
    from microtensor.viz.tree import to_tree

    return to_tree(graph)


# Tensors, modules and graphs know nothing of pictures. These functions show them.
showing.register(mimebundle=_mimebundle, text=_text, show=show)
