"""What a norm layer is called in PyTorch, Keras, flax and ONNX: settings, parameter names, and what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtensor.norms import AXES

if TYPE_CHECKING:
    from microtensor.nn.normalization.batch import BatchNorm
    from microtensor.nn.normalization.sample import GroupNorm, LayerNorm

# What γ, β and the running statistics are called there; a name that is not in it is the same.
NAMES = {
    "Keras": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    "flax": {"weight": "scale", "running_mean": "mean", "running_var": "var"},
}
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
    # Without β alone.
    torch += ["bias=False"] * (layer.bias is None and layer.affine)
    missing = [name for name, parameter in (("bias", layer.bias), ("scale", layer.weight)) if parameter is None]
    keras = "".join(f", {'center' if name == 'bias' else name}=False" for name in missing)
    flax = "".join(f", use_{name}=False" for name in missing)
    running = ["running_mean", "running_var"] if layer.track_running_stats else []
    calls = {
        "PyTorch": f"{layer.pytorch}({', '.join(torch)})",
        "Keras": f"BatchNormalization(axis=1, {old}{keras})",
        "flax": f"BatchNorm(axis=1, {old}{flax})",
    }
    onnx = f"BatchNormalization({old})", ["scale", "B", "input_mean", "input_var"]
    title = f"{type(layer).__name__}({layer.extra_repr()})"
    return _text(title, "batch_norm", calls, [*_scales(layer), *running], onnx, notes)


def of_layer_norm(layer: LayerNorm) -> str:
    """The description of a layer norm."""
    axes = tuple(range(-len(layer.normalized_shape), 0))
    axis, eps = str(axes[0]) if len(axes) == 1 else str(axes), f"epsilon={layer.eps}"
    title, names = f"LayerNorm({layer.extra_repr()})", _scales(layer)
    calls = {
        "PyTorch": title,
        "Keras": f"LayerNormalization(axis={axis}, {eps})",
        "flax": f"LayerNorm(reduction_axes={axis}, feature_axes={axis}, {eps})",
    }
    onnx = f"LayerNormalization(axis={axes[0]}, {eps})", [{"weight": "Scale", "bias": "B"}[name] for name in names]
    return _text(title, "layer_norm", calls, names, onnx, [EPSILON])


def of_group_norm(layer: GroupNorm) -> str:
    """The description of a group norm."""
    groups, eps = layer.num_groups, f"epsilon={layer.eps}"
    title, names = f"GroupNorm({layer.extra_repr()})", _scales(layer)
    calls = {
        "PyTorch": title,
        "Keras": f"GroupNormalization(groups={groups}, axis=1, {eps})",
        "flax": f"GroupNorm(num_groups={groups}, {eps})",
    }
    onnx = f"GroupNormalization(num_groups={groups}, {eps})", [name.replace("weight", "scale") for name in names]
    last = "flax has the channels last. ONNX has γ and β per channel from opset 21 on, before that per group."
    return _text(title, "group_norm", calls, names, onnx, [EPSILON, last])


def _scales(layer: BatchNorm | LayerNorm | GroupNorm) -> list[str]:
    return [name for name in ("weight", "bias") if getattr(layer, name) is not None]


def _text(
    title: str, norm: str, calls: dict[str, str], names: list[str], onnx: tuple[str, list[str]], notes: list[str]
) -> str:
    """The title, the formula, a line for each framework with its call and its names, and the notes."""
    row = AXES[norm]
    rows = [(there, call, [NAMES.get(there, {}).get(name, name) for name in names]) for there, call in calls.items()]
    lines = [f"  {there:<8} {call}{': ' * bool(own)}{', '.join(own)}" for there, call, own in [*rows, ("ONNX", *onnx)]]
    return "\n".join([title, f"{row.formula}: {row.sentence}.", *lines, *(f"- {note}" for note in notes)])
