"""Weights that are computed at each call of a layer: weight norm, spectral norm, weight standardization."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from microtensor import norms
from microtensor.checks import check_eps, check_size
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter
from microtensor.nn.module import Module
from microtensor.norms.weights import as_matrix, weight_length
from microtensor.ops import equal
from microtensor.random import generator
from microtensor.support.modes import no_grad

M = TypeVar("M", bound=Module)


class Reparametrization:
    """How a weight is computed from the tensors of a module. The settings are attributes."""

    # What the module holds in place of the weight, such as weight_g. Empty: it still holds the weight.
    parts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)

    def weight(self, module: Module, name: str, training: bool) -> Tensor:
        """The weight."""
        raise NotImplementedError


class _Forward:
    """Takes the place of a module's ``forward``: it computes the weights, then calls the method of the class.

    It is an object and not a function, so that the module can be copied and pickled.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.weights: dict[str, Reparametrization] = {}

    def rebound(self, module: Module) -> _Forward:
        """The same for a shallow copy of the module."""
        out = _Forward(module)
        out.weights = dict(self.weights)
        return out

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        module = self.module
        computed = {name: how.weight(module, name, module.training) for name, how in self.weights.items()}
        # In the instance's own dictionary, where an attribute is looked up before the tables of the module.
        module.__dict__.update(computed)
        try:
            return type(module).forward(module, *inputs, **options)
        finally:
            # A result with history could not be copied with the module, and would keep the graph alive.
            for name, weight in computed.items():
                if self.weights[name].parts:
                    module.__dict__[name] = weight.detach()
                else:
                    del module.__dict__[name]


def _attach(module: Module, name: str, how: Reparametrization) -> None:
    hook = module.__dict__.get("forward")
    if not isinstance(hook, _Forward):
        hook = _Forward(module)
        module.__dict__["forward"] = hook
    hook.weights[name] = how


def _put(module: Module, name: str, how: Reparametrization, *parts: Tensor) -> None:
    """Replace a parameter by its parts: parameters, which are frozen if it is, and buffers."""
    weight = getattr(module, name)
    module._forget(name)
    for part, value in zip(how.parts, parts, strict=True):
        if isinstance(value, Parameter):
            value.requires_grad_(weight.requires_grad)
            setattr(module, f"{name}_{part}", value)
        else:
            module.register_buffer(f"{name}_{part}", value)
    module.__dict__[name] = weight.detach()
    _attach(module, name, how)


def _removed(module: M, name: str, kind: type[Reparametrization], who: str) -> M:
    """Replace the parts by the weight as a parameter, which is learnt if one of them is; returns the module."""
    hook = module.__dict__.get("forward")
    how = hook.weights.get(name) if isinstance(hook, _Forward) else None
    if not isinstance(hook, _Forward) or not isinstance(how, kind):
        raise ValueError(f"{who}: {name!r} of {type(module).__name__} is not computed this way; nothing to remove")
    del hook.weights[name]
    if not hook.weights:
        del module.__dict__["forward"]
    with no_grad():
        weight = Parameter(how.weight(module, name, False), name="W")
    parts = [f"{name}_{part}" for part in how.parts]
    weight.requires_grad_(any(getattr(module, part).requires_grad for part in parts or [name]))
    for part in parts:
        module._forget(part)
    setattr(module, name, weight)
    return module


def _parameter(module: Module, name: str, least: int, who: str) -> Parameter:
    """The parameter of that name, which must not be computed already."""
    parameter = module._parameters.get(name)
    hook = module.__dict__.get("forward")
    if isinstance(hook, _Forward) and name in hook.weights:
        raise ValueError(f"{who}: {name!r} of {type(module).__name__} is already computed; remove that first")
    if parameter is None:
        raise ValueError(f"{who}: {type(module).__name__} has no parameter {name!r}; it has {list(module._parameters)}")
    if parameter.ndim < least:
        raise ValueError(f"{who}: {name!r} has shape {parameter.shape}; it must have at least {least} axes")
    return parameter


class _WeightNorm(Reparametrization):
    parts = ("g", "v")
    dim: int | None

    def weight(self, module: Module, name: str, training: bool) -> Tensor:
        return norms.weight_norm(getattr(module, f"{name}_v"), getattr(module, f"{name}_g"), self.dim)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Weight normalization of a layer: w = g v / ‖v‖, where the length g and the direction v are parameters.

    The parameter `name` is replaced by ``name_g`` and ``name_v``, as in PyTorch's ``torch.nn.utils``. Between calls the
    attribute `name` shows the last value. Make the optimiser after this call.

    Parameters
    ----------
    module : Module
    name : str
        The parameter.
    dim : int, optional
        The axis of the outputs. Each output has its own length. None: one length for all.

    Raises
    ------
    ValueError
        There is no such parameter, it is already a computed weight, or all weights of an output are zero.

    References
    ----------
    Salimans & Kingma, *Weight Normalization*, 2016.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.utils.weight_norm(mt.nn.Linear(3, 2))
    >>> {name: value.shape for name, value in layer.state_dict().items()}
    {'bias': (2,), 'weight_g': (2, 1), 'weight_v': (2, 3)}
    """
    who = "weight_norm"
    weight = _parameter(module, name, 0 if dim is None else 1, who)
    with no_grad():
        length = weight_length(weight, dim)
    if equal(length, 0).any():
        raise ValueError(f"{who}: {name!r} has an output with only zero weights; such an output has no direction")
    _put(module, name, _WeightNorm(dim=dim), Parameter(length, name="g"), Parameter(weight, name="v"))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo :func:`weight_norm`: the weight is a parameter again, with its present value; returns the module.

    Raises
    ------
    ValueError
        There is no weight norm of that name.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.utils.weight_norm(mt.nn.Linear(3, 2))
    >>> list(mt.nn.utils.remove_weight_norm(layer).state_dict())
    ['bias', 'weight']
    """
    return _removed(module, name, _WeightNorm, "remove_weight_norm")


class _SpectralNorm(Reparametrization):
    parts = ("orig", "u", "v")
    n_power_iterations: int
    eps: float
    dim: int

    def weight(self, module: Module, name: str, training: bool) -> Tensor:
        original, u, v = (getattr(module, f"{name}_{part}") for part in ("orig", "u", "v"))
        return norms.spectral_norm(original, u, v, self.n_power_iterations if training else 0, self.eps, self.dim)


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    rng: Any = None,
) -> M:
    """Spectral normalization of a layer: W / σ, where power iteration estimates σ, the largest singular value.

    The parameter `name` becomes ``name_orig``, beside the buffers ``name_u`` and ``name_v``, as in PyTorch's
    ``torch.nn.utils``. In training u and v take `n_power_iterations` steps per call. In prediction they stay.

    Parameters
    ----------
    module : Module
    name : str
        The parameter.
    n_power_iterations : int
        The number of steps per call, at least 1.
    eps : float
        u and v are divided by at least this length.
    dim : int, optional
        The axis of the outputs. Default: 0, and 1 for transposed convolutions.
    rng : int or numpy.random.Generator, optional
        For the first u and v, which are random directions of length 1.

    Raises
    ------
    ValueError
        There is no such parameter, it is already a computed weight, it has fewer than two axes, or a setting is wrong.

    References
    ----------
    Miyato, Kataoka, Koyama & Yoshida, *Spectral Normalization*, 2018.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.utils.spectral_norm(mt.nn.Linear(3, 2), rng=0)
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    who = "spectral_norm"
    check_eps(eps, who)
    check_size(n_power_iterations, "n_power_iterations", who)
    weight = _parameter(module, name, 2, who)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    with no_grad():
        rows, columns = as_matrix(weight, dim).shape
    draws = generator(rng)
    u, v = (Tensor(x / (x @ x) ** 0.5, dtype=weight.dtype) for x in map(draws.standard_normal, (rows, columns)))
    how = _SpectralNorm(n_power_iterations=n_power_iterations, eps=eps, dim=dim)
    _put(module, name, how, Parameter(weight, name="W"), u, v)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo :func:`spectral_norm`: the weight is a parameter again, with its present value; returns the module.

    Raises
    ------
    ValueError
        There is no spectral norm of that name.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.utils.spectral_norm(mt.nn.Linear(3, 2))
    >>> list(mt.nn.utils.remove_spectral_norm(layer).state_dict())
    ['bias', 'weight']
    """
    return _removed(module, name, _SpectralNorm, "remove_spectral_norm")


class _WeightStandardize(Reparametrization):
    eps: float

    def weight(self, module: Module, name: str, training: bool) -> Tensor:
        # From the table: the attribute may be covered by the result.
        return norms.weight_standardize(module._parameters[name], self.eps)  # type: ignore[arg-type]


def weight_standardize(module: M, name: str = "weight", eps: float = 1e-5) -> M:
    """Weight standardization of a layer: (W − μ) / √(σ² + ε) for each output. W stays the parameter.

    The keys of the state stay as they are.

    Parameters
    ----------
    module : Module
    name : str
        The parameter.
    eps : float
        ε, added to the variance.

    Raises
    ------
    ValueError
        There is no such parameter, it is already a computed weight, or it has one weight per output.

    References
    ----------
    Qiao, Wang, Liu, Shen & Yuille, *Weight Standardization*, 2019.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.utils.weight_standardize(mt.nn.Linear(2, 1, bias=False), eps=1e-12)
    >>> round(abs(layer(mt.tensor([[1.0, 0.0]])).item()), 6)
    1.0
    """
    weight = _parameter(module, name, 2, "weight_standardize")
    with no_grad():
        norms.weight_standardize(weight, eps)
    _attach(module, name, _WeightStandardize(eps=eps))
    return module


def remove_weight_standardize(module: M, name: str = "weight") -> M:
    """Undo :func:`weight_standardize`: the standardised weight becomes the parameter; returns the module.

    Raises
    ------
    ValueError
        There is no weight standardization of that name.

    Examples
    --------
    >>> import microtensor as mt
    >>> layer = mt.nn.utils.weight_standardize(mt.nn.Linear(3, 2))
    >>> abs(round(mt.nn.utils.remove_weight_standardize(layer).weight.mean().item(), 6))
    0.0
    """
    return _removed(module, name, _WeightStandardize, "remove_weight_standardize")
