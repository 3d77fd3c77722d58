"""What a norm layer is called in PyTorch, Keras, flax and ONNX: settings, parameter names, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from microtensor.norms import AXES

if TYPE_CHECKING:
    from microtensor.nn.normalization.batch import BatchNorm
    from microtensor.nn.normalization.sample import GroupNorm, LayerNorm

Row = tuple[str, str, Sequence[str]]
EPSILON = (
    "eps is added to the variance everywhere; unless given it is 1e-05 here, in PyTorch and in ONNX, 0.001 in Keras "
    "and 1e-06 in flax."
)


def of_batch_norm(layer: BatchNorm) -> str:
    """The description of a batch norm."""
    eps, momentum = f"epsilon={layer.eps}", layer.momentum
    old = eps if momentum is None else f"momentum={round(1 - momentum, 12)}, {eps}"
    own = type(layer).__name__ == layer.pytorch
    notes = [
        "eps is added to the variance, under the root, everywhere.",
        "The batch is normalised with the biased variance everywhere; running_var is unbiased here and in PyTorch, "
        "biased elsewhere: multiply it by (n − 1) / n, n values per channel in a batch.",
        "Keras and flax have the channels last; axis=1 keeps them where they are.",
    ]
    if momentum is None:
        notes.append("momentum=None, the average of all batches, is PyTorch's too; elsewhere there is none.")
    else:
        notes.append(
            f"momentum={momentum} is the weight of the new batch here and in PyTorch, elsewhere the weight of the old "
            f"value is given: {round(1 - momentum, 12)}."
        )
    if not own:
        notes.append(f"The others have no {type(layer).__name__}: the names are those of the same prediction.")
    if not layer.track_running_stats:
        notes.append("Without running statistics, training mode has to stay on elsewhere but in PyTorch.")
    torch = [str(layer.num_features), f"eps={layer.eps}", f"momentum={momentum}"]
    torch += [f"{name}=False" for name in ("affine", "track_running_stats") if not getattr(layer, name)]
    scale = [name for name in ("weight", "bias") if getattr(layer, name) is not None]
    running = ["running_mean", "running_var"] if layer.track_running_stats else []
    rows: list[Row] = [
        ("PyTorch", f"{layer.pytorch}({', '.join(torch)})", scale + running),
        (
            "Keras",
            f"BatchNormalization(axis=1, {old}{'' if layer.affine else ', center=False, scale=False'})",
            _renamed(
                scale + running, weight="gamma", bias="beta", running_mean="moving_mean", running_var="moving_variance"
            ),
        ),
        (
            "flax",
            f"BatchNorm(axis=1, {old}{'' if layer.affine else ', use_bias=False, use_scale=False'})",
            _renamed(scale + running, weight="scale", running_mean="mean", running_var="var"),
        ),
        ("ONNX", f"BatchNormalization({old})", ["scale", "B", "input_mean", "input_var"]),
    ]
    return _text(f"{type(layer).__name__}({layer.extra_repr()})", "batch_norm", rows, notes)


def of_layer_norm(layer: LayerNorm) -> str:
    """The description of a layer norm."""
    axes = tuple(range(-len(layer.normalized_shape), 0))
    axis = str(axes[0]) if len(axes) == 1 else str(axes)
    names = [name for name in ("weight", "bias") if getattr(layer, name) is not None]
    rows: list[Row] = [
        ("PyTorch", f"LayerNorm({layer.extra_repr()})", names),
        (
            "Keras",
            f"LayerNormalization(axis={axis}, epsilon={layer.eps})",
            _renamed(names, weight="gamma", bias="beta"),
        ),
        (
            "flax",
            f"LayerNorm(reduction_axes={axis}, feature_axes={axis}, epsilon={layer.eps})",
            _renamed(names, weight="scale"),
        ),
        ("ONNX", f"LayerNormalization(axis={axes[0]}, epsilon={layer.eps})", _renamed(names, weight="Scale", bias="B")),
    ]
    notes = [EPSILON]
    return _text(f"LayerNorm({layer.extra_repr()})", "layer_norm", rows, notes)


def of_group_norm(layer: GroupNorm) -> str:
    """The description of a group norm."""
    groups, eps = layer.num_groups, layer.eps
    names = [name for name in ("weight", "bias") if getattr(layer, name) is not None]
    rows: list[Row] = [
        ("PyTorch", f"GroupNorm({layer.extra_repr()})", names),
        (
            "Keras",
            f"GroupNormalization(groups={groups}, axis=1, epsilon={eps})",
            _renamed(names, weight="gamma", bias="beta"),
        ),
        ("flax", f"GroupNorm(num_groups={groups}, epsilon={eps})", _renamed(names, weight="scale")),
        ("ONNX", f"GroupNormalization(num_groups={groups}, epsilon={eps})", _renamed(names, weight="scale")),
    ]
    notes = [
        EPSILON,
        "flax has the channels last. ONNX has γ and β for each channel from opset 21 on, before that for each group.",
    ]
    return _text(f"GroupNorm({layer.extra_repr()})", "group_norm", rows, notes)


def _renamed(names: Sequence[str], **new: str) -> list[str]:
    return [new.get(name, name) for name in names]


def _text(title: str, norm: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    row = AXES[norm]
    calls = [f"  {framework:<8} {call}{': ' * bool(names)}{', '.join(names)}" for framework, call, names in rows]
    return "\n".join([title, f"{row.formula}: {row.sentence}.", *calls, *(f"- {note}" for note in notes)])
