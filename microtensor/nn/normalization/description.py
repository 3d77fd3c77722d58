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
    "eps is added to the variance everywhere; the default is 1e-05 here, in PyTorch and in ONNX, 0.001 in Keras "
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
    axis, eps = str(axes[0]) if len(axes) == 1 else str(axes), f"epsilon={layer.eps}"
    calls = {
        "Keras": f"LayerNormalization(axis={axis}, {eps})",
        "flax": f"LayerNorm(reduction_axes={axis}, feature_axes={axis}, {eps})",
        "ONNX": f"LayerNormalization(axis={axes[0]}, {eps})",
    }
    return _of_sample_norm(layer, "LayerNorm", "layer_norm", calls, {"weight": "Scale", "bias": "B"}, [EPSILON])


def of_group_norm(layer: GroupNorm) -> str:
    """The description of a group norm."""
    groups, eps = layer.num_groups, f"epsilon={layer.eps}"
    calls = {
        "Keras": f"GroupNormalization(groups={groups}, axis=1, {eps})",
        "flax": f"GroupNorm(num_groups={groups}, {eps})",
        "ONNX": f"GroupNormalization(num_groups={groups}, {eps})",
    }
    last = "flax has the channels last. ONNX has γ and β per channel from opset 21 on, before that per group."
    return _of_sample_norm(layer, "GroupNorm", "group_norm", calls, {"weight": "scale"}, [EPSILON, last])


def _of_sample_norm(
    layer: LayerNorm | GroupNorm,
    kind: str,
    norm: str,
    calls: dict[str, str],
    onnx: dict[str, str],
    notes: Sequence[str],
) -> str:
    title = f"{kind}({layer.extra_repr()})"
    names = [name for name in ("weight", "bias") if getattr(layer, name) is not None]
    others = {"Keras": {"weight": "gamma", "bias": "beta"}, "flax": {"weight": "scale"}, "ONNX": onnx}
    rows: list[Row] = [("PyTorch", title, names)]
    rows += [(framework, call, _renamed(names, **others[framework])) for framework, call in calls.items()]
    return _text(title, norm, rows, notes)


def _renamed(names: Sequence[str], **new: str) -> list[str]:
    return [new.get(name, name) for name in names]


def _text(title: str, norm: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    row = AXES[norm]
    calls = [f"  {framework:<8} {call}{': ' * bool(names)}{', '.join(names)}" for framework, call, names in rows]
    return "\n".join([title, f"{row.formula}: {row.sentence}.", *calls, *(f"- {note}" for note in notes)])
