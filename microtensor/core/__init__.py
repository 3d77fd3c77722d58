"""The core: four files to be read in this order. Each needs only the files before it, and ``support/``.

1. ``primitive.py``: what an operation is, and the record of a call.
2. ``ops.py``: the primitives that normalizations are made of, with their derivative rules.
3. ``backprop.py``: the reverse walk, from a result to the gradients of its leaves.
4. ``tensor.py``: the tensor, with Python's operators.

Everything else in the package is built on these four, and a reader may leave it out. Below are three routes through
the code. Each names the files, and the lines of all functions that run.

(a) How ``loss.backward()`` works: ``(mt.tensor([3.0, 4.0]) * x).sum().backward()``:

    support/arrays.py    23-31, 34-45, 48-70, 93-95, 138-144, 220-230
    support/errors.py    121-124
    core/primitive.py    90-95, 110-116, 239-280
    core/ops.py          143-145, 183, 289-291, 299-300, 306
    core/backprop.py     72-106, 109-127, 130-210, 260-264, 280-289, 292-307, 310-313, 316-357, 360-361, 370-381
    core/tensor.py       32-34, 42-44, 98-113, 153-156, 252-282

(b) How the gradient of a norm arises: ``mt.norms.standardize(x, axis=0).sum().backward()``:

    support/arrays.py    34-45, 93-95, 138-144, 156-159, 169-183, 220-230
    support/axes.py      42-57, 101-118, 136-138, 141-153, 156-170
    support/modes.py     19-22, 66-67, 75-77, 79-80, 195-199, 204-208
    core/primitive.py    90-95, 110-116, 139-143, 239-280, 282-292
    core/ops.py          143-145, 151, 166, 168, 197, 199, 233, 247, 289-291, 299-300, 306, 321-328, 331-336,
                         360-364, 367-369
    core/backprop.py     72-106, 109-127, 130-210, 260-264, 280-289, 292-307, 310-313, 316-357, 360-361, 370-381
    core/tensor.py       32-34, 42-44, 168-171, 173-176, 183-186
    norms/standard.py    20-66, 69-79

(c) How a picture arises: ``viz.render(mt.Graph.from_tensor(y), format="svg")``, the main stations:

    inspect/history.py 25-66           history: the recorded results, in the order of the program
    inspect/history.py 294-326         carried_back: what each rule gives, where a view shows gradients
    inspect/graph/reading.py 230-246   Reader.graph: nodes, edges and scopes, as plain data
    viz/__init__.py 53-188             render: which view, in which format
    viz/dot.py 136-153                 _Picture.source: the graph in Graphviz's language
    viz/engine.py 64-124               layout: Graphviz finds the places
    viz/svg.py 21-35                   finish: the drawing gets its style
"""
