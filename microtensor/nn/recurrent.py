"""Recurrent networks: cells, which make one step, and layers, which make a step for each element of a sequence.

A step is a function of the input and the last hidden state, which are multiplied by their weights before. The cell and
the layer of one kind share it.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, TypeAlias

from microtensor.checks import check_array, check_flag, check_float, check_size, check_sizes
from microtensor.core.primitive import label
from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter, zeros
from microtensor.nn import init
from microtensor.nn.docstrings import completed_by
from microtensor.nn.dropout import Dropout
from microtensor.nn.module import Module, settings_text
from microtensor.nn.normalization import LayerNorm
from microtensor.ops import concat, expand_dims, relu, reshape, sigmoid, split, squeeze, stack, swapaxes, tanh
from microtensor.random import generator as as_generator
from microtensor.support.modes import name_scope

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "LayerNormLSTMCell", "RNNCell"]

State: TypeAlias = tuple[Tensor, ...]
PARAMETERS = {"weight_ih": "W_ih", "weight_hh": "W_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
ACTIVATIONS = {"tanh": tanh, "relu": relu}
# So many steps are plain slices. That is simplest, and fastest for a first derivative, where they share one gradient.
FEW_STEPS = 64


class _Recurrent(Module):
    """Sizes, parameters and checks. A subclass has its number of gates, its states and its step."""

    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h_0",)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        sizes = check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = sizes

    def extra_repr(self) -> str:
        """The sizes and what differs from the defaults."""
        return settings_text(self, "input_size", "hidden_size")

    def _step(self, from_x: Tensor, from_h: Tensor, state: State) -> State:
        """The new state, the output first, from W_ih x + b_ih, W_hh h + b_hh and the state."""
        raise NotImplementedError

    def _make_parameters(self, features: int, suffix: str, bias: bool, rng: Any) -> None:
        rows, bound = self.gates * self.hidden_size, self.hidden_size**-0.5
        shapes = (rows, features), (rows, self.hidden_size), (rows,), (rows,)
        for (name, symbol), shape in zip(PARAMETERS.items(), shapes, strict=True):
            parameter = None
            if bias or len(shape) > 1:
                parameter = Parameter(zeros(shape), name=symbol)
                init.uniform_(parameter, -bound, bound, rng=rng)
            self.register_parameter(name + suffix, parameter)

    def _check_input(self, x: Tensor, axes: tuple[int, int], layout: str) -> None:
        check_float(x, self)
        if x.ndim not in axes or x.shape[-1] != self.input_size:
            raise ValueError(f"{self.title()}: input has shape {x.shape}; it must be {layout}")

    def _initial(self, hx: Any, shape: tuple[int, ...], dtype: Any) -> State:
        """The initial states, checked. Default: zeros."""
        if hx is None:
            return tuple(label(zeros(shape, dtype=dtype), name) for name in self.states)
        several = len(self.states) > 1
        if several != isinstance(hx, (tuple, list)) or (several and len(hx) != len(self.states)):
            wanted = f"a pair ({', '.join(self.states)})" if several else f"the tensor {self.states[0]}"
            raise TypeError(f"{self.title()}: the initial state is a {type(hx).__name__}; it must be {wanted}")
        given = tuple(hx) if several else (hx,)
        for name, state in zip(self.states, given, strict=True):
            check_array(state, self, name)
            if state.shape != shape:
                raise ValueError(f"{self.title()}: {name} has shape {state.shape}; it must be {shape} for this input")
        return given


class _Elman(_Recurrent):
    nonlinearity: str = "tanh"

    def extra_repr(self) -> str:
        """The settings of the network around, and the nonlinearity."""
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")

    def _choose(self, nonlinearity: str) -> None:
        if nonlinearity not in ACTIVATIONS:
            raise ValueError(f"{type(self).__name__}: nonlinearity is {nonlinearity!r}; it must be 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity

    def _step(self, from_x: Tensor, from_h: Tensor, state: State) -> State:
        return (label(ACTIVATIONS[self.nonlinearity](from_x + from_h), "h"),)


class _LongShortTerm(_Recurrent):
    gates = 4
    states = ("h_0", "c_0")

    def _step(self, from_x: Tensor, from_h: Tensor, state: State) -> State:
        i, f, g, o = split(from_x + from_h, self.hidden_size, axis=-1)
        i, f, o = label(sigmoid(i), "i"), label(sigmoid(f), "f"), label(sigmoid(o), "o")
        g = label(tanh(g), "g")
        c = label(f * state[1] + i * g, "c")
        return label(o * tanh(self._read(c)), "h"), c

    def _read(self, c: Tensor) -> Tensor:
        return c


class _Gated(_Recurrent):
    gates = 3

    def _step(self, from_x: Tensor, from_h: Tensor, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = split(from_x, self.hidden_size, axis=-1)
        h_r, h_z, h_n = split(from_h, self.hidden_size, axis=-1)
        r, z = label(sigmoid(x_r + h_r), "r"), label(sigmoid(x_z + h_z), "z")
        n = label(tanh(x_n + r * h_n), "n")
        return (label(n + z * (h - n), "h"),)


# --- cells: one step --------------------------------------------------------------------------------------


class _Cell(_Recurrent):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, rng: Any = None) -> None:
        super().__init__(input_size, hidden_size)
        self._make_parameters(input_size, "", bias, as_generator(rng))

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.bias_ih is not None else ", bias=False")

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """The state after one step: h, or (h, c)."""
        state = self._state_for(x, hx)
        from_x = _affine(x, _transposed(self.weight_ih), self.bias_ih)
        state = self._step(from_x, _affine(state[0], _transposed(self.weight_hh), self.bias_hh), state)
        return state if len(state) > 1 else state[0]

    def _state_for(self, x: Tensor, hx: Any) -> State:
        self._check_input(x, (1, 2), f"(N, {self.input_size}) or ({self.input_size},)")
        return self._initial(hx, (*x.shape[:-1], self.hidden_size), self.weight_hh.dtype)


class RNNCell(_Elman, _Cell):
    """A step of Elman's network: h′ = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Parameters
    ----------
    input_size, hidden_size : int
        x has shape (N, input_size) or (input_size,), h and h′ have (N, hidden_size) or (hidden_size,).
    bias : bool
        Whether there are b_ih and b_hh.
    nonlinearity : {'tanh', 'relu'}
    rng : int or numpy.random.Generator, optional
        For the initial values, uniform in ±1/√hidden_size as in PyTorch.

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not one tensor.

    References
    ----------
    Elman, *Finding Structure in Time*, 1990.

    Examples
    --------
    >>> import microtensor as mt
    >>> cell = mt.nn.RNNCell(3, 5)
    >>> h = cell(mt.ones((4, 3)))
    >>> cell(mt.ones((4, 3)), h).shape
    (4, 5)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", *, rng: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, rng=rng)
        self._choose(nonlinearity)


@completed_by(RNNCell)
class LSTMCell(_LongShortTerm, _Cell):
    """A step of long short-term memory. The state is a pair (h, c).

    W_ih x + b_ih + W_hh h + b_hh has four parts: i, f, g, o, in this order. σ is applied to i, f and o, and tanh to g.
    Then c′ = f ⊙ c + i ⊙ g and h′ = o ⊙ tanh(c′).

    Parameters
    ----------
    input_size, hidden_size : int
        x has shape (N, input_size) or (input_size,), h and c have (N, hidden_size) or (hidden_size,).

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not a pair.

    References
    ----------
    Hochreiter & Schmidhuber, *Long Short-Term Memory*, 1997; Gers, Schmidhuber & Cummins, *Learning to Forget*, 2000.

    Examples
    --------
    >>> import microtensor as mt
    >>> cell = mt.nn.LSTMCell(3, 5)
    >>> h, c = cell(mt.ones((4, 3)))
    >>> h, c = cell(mt.ones((4, 3)), (h, c))
    >>> h.shape, c.shape
    ((4, 5), (4, 5))
    """


@completed_by(RNNCell)
class GRUCell(_Gated, _Cell):
    """A step of the gated recurrent unit.

    With W_ih x + b_ih = (x_r, x_z, x_n) and W_hh h + b_hh = (h_r, h_z, h_n): r = σ(x_r + h_r), z = σ(x_z + h_z),
    n = tanh(x_n + r ⊙ h_n) and h′ = (1 − z) ⊙ n + z ⊙ h. As in PyTorch, r acts on W h; in the paper it acts on h.

    Parameters
    ----------
    input_size, hidden_size : int
        x has shape (N, input_size) or (input_size,), h and h′ have (N, hidden_size) or (hidden_size,).

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not one tensor.

    References
    ----------
    Cho et al., *Learning Phrase Representations using RNN Encoder–Decoder*, 2014.

    Examples
    --------
    >>> import microtensor as mt
    >>> cell = mt.nn.GRUCell(3, 5)
    >>> h = cell(mt.ones((4, 3)))
    >>> cell(mt.ones((4, 3)), h).shape
    (4, 5)
    """


class LayerNormLSTMCell(_LongShortTerm, _Cell):
    """A step of long short-term memory with three layer norms: of W_ih x, of W_hh h, and of c′ in the output.

    LN(W_ih x) + LN(W_hh h) has four parts: i, f, g, o. σ is applied to i, f and o, and tanh to g. Each LN takes its
    statistics over all 4 · hidden_size values of a sample. It has its own γ and β. These β are the biases. Then
    c′ = f ⊙ c + i ⊙ g and h′ = o ⊙ tanh(LN(c′)). The state c′ is returned without normalization. The statistics are
    computed for one sample at one step. So sequences may have any length, and no step depends on a later step.

    Parameters
    ----------
    input_size, hidden_size : int
        x has shape (N, input_size) or (input_size,), h and c have (N, hidden_size) or (hidden_size,).
    forget_bias : float
        The initial value of β of the forget gate, in ``norm_ih``. With 1 the cell keeps its state at the start.
    eps : float
        ε of the three norms.
    rng : int or numpy.random.Generator, optional
        For the initial weights, uniform in ±1/√hidden_size.

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not a pair.

    References
    ----------
    Ba, Kiros & Hinton, *Layer Normalization*, 2016, equations 20 to 22.

    Examples
    --------
    >>> import microtensor as mt
    >>> cell = mt.nn.LayerNormLSTMCell(3, 5, forget_bias=1.0)
    >>> state = None
    >>> for x in mt.ones((6, 4, 3)):
    ...     state = cell(x, state)
    >>> state[0].shape
    (4, 5)
    """

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 0.0, eps: float = 1e-5, *, rng: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, False, rng=rng)
        self.norm_ih = LayerNorm(4 * hidden_size, eps)
        self.norm_hh = LayerNorm(4 * hidden_size, eps)
        self.norm_c = LayerNorm(hidden_size, eps)
        beta = self.norm_ih.bias._array.copy()
        beta[hidden_size : 2 * hidden_size] = forget_bias
        self.norm_ih.bias.assign_(beta)

    def extra_repr(self) -> str:
        """The sizes."""
        return settings_text(self, "input_size", "hidden_size")

    def forward(self, x: Tensor, hx: Any = None) -> State:
        """The state (h, c) after one step."""
        state = self._state_for(x, hx)
        from_x = self.norm_ih(x @ _transposed(self.weight_ih))
        return self._step(from_x, self.norm_hh(state[0] @ _transposed(self.weight_hh)), state)

    def _read(self, c: Tensor) -> Tensor:
        out: Tensor = self.norm_c(c)
        return out


# --- layers: a cell along a sequence, in both directions, several deep ------------------------------------------


class _Layer(_Recurrent):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        who = type(self).__name__
        num_layers = check_size(num_layers, "num_layers", who)
        if dropout and num_layers == 1:
            # The line that makes the layer, which a constructor of the subclass is one step away from.
            level = 2 + (type(self).__init__ is not _Layer.__init__)
            warnings.warn(f"{who}: dropout acts between layers; with num_layers=1 it does nothing", stacklevel=level)
        self.num_layers = num_layers
        self.batch_first = check_flag(batch_first, "batch_first", who)
        self.bidirectional = check_flag(bidirectional, "bidirectional", who)
        # Only a generator that was asked for is kept: the default one may be seeded anew before it is drawn from.
        rng = None if rng is None else as_generator(rng)
        features = input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                self._make_parameters(features, suffix, bias, rng)
            features = hidden_size * (1 + self.bidirectional)
        self.dropout = Dropout(dropout, rng=rng)

    def extra_repr(self) -> str:
        parts = [settings_text(self, "input_size", "hidden_size", num_layers=1)]
        if self.bias_ih_l0 is None:
            parts.append("bias=False")
        parts += [f"{name}=True" for name in ("batch_first", "bidirectional") if getattr(self, name)]
        return ", ".join(parts)

    def _suffixes(self, layer: int) -> list[str]:
        """The suffixes of the names of a layer's parameters, one for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """The output of the last layer at every step, and the last state of every layer."""
        lengths = "N, L" if self.batch_first else "L, N"
        self._check_input(x, (2, 3), f"({lengths}, {self.input_size}) or (L, {self.input_size})")
        batched = x.ndim == 3
        if not batched:
            x = expand_dims(x, axis=1)
        elif self.batch_first:
            x = swapaxes(x, 0, 1)
        if not x.shape[0]:
            raise ValueError(f"{self.title()}: the sequence has no steps")
        shape = (self.num_layers * (1 + self.bidirectional), *x.shape[1 : 1 + batched], self.hidden_size)
        state = self._initial(hx, shape, self.weight_hh_l0.dtype)
        if not batched:
            state = tuple(expand_dims(part, axis=1) for part in state)
        ends: list[State] = []
        for layer in range(self.num_layers):
            if layer:
                x = self.dropout(x)
            outputs = []
            for suffix in self._suffixes(layer):
                start = tuple(label(part[len(ends)], name) for part, name in zip(state, self.states, strict=True))
                with name_scope(suffix[1:]):
                    output, end = self._along(x, start, suffix)
                outputs.append(output)
                ends.append(end)
            x = concat(outputs, axis=-1) if self.bidirectional else outputs[0]
        last = [stack(parts) for parts in zip(*ends, strict=True)]
        if not batched:
            x, *last = (squeeze(part, axis=1) for part in (x, *last))
        elif self.batch_first:
            x = swapaxes(x, 0, 1)
        return x, tuple(last) if len(last) > 1 else last[0]

    def _along(self, x: Tensor, state: State, suffix: str) -> tuple[Tensor, State]:
        """The outputs and the last state of one direction of one layer, for x of shape (L, N, features)."""
        w_ih, w_hh, b_ih, b_hh = (getattr(self, name + suffix) for name in PARAMETERS)
        length, batch, features = x.shape
        # All steps at once, as rows of one matrix.
        rows = _affine(reshape(x, shape=(length * batch, features)), _transposed(w_ih), b_ih)
        steps = list(enumerate(_cut(rows, length)))
        w_hh = _transposed(w_hh)
        outputs = []
        for t, from_x in reversed(steps) if suffix.endswith("reverse") else steps:
            with name_scope(f"t={t}"):
                state = self._step(from_x, _affine(state[0], w_hh, b_hh), state)
            outputs.append(state[0])
        return stack(outputs[::-1] if suffix.endswith("reverse") else outputs), state


def _transposed(weight: Tensor) -> Tensor:
    return label(weight.mT, f"{weight.name}ᵀ")


def _affine(x: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
    out = x @ transposed
    return out if bias is None else out + bias


def _cut(rows: Tensor, count: int) -> list[Tensor]:
    """Rows in `count` equal pieces. Many are cut by halves: in a second derivative, each adds an array of that size."""
    size = rows.shape[0] // count
    if not size:
        # Of an empty batch, every step is all there is.
        return [rows] * count
    if count <= FEW_STEPS:
        return split(rows, size)
    half = count // 2
    first, second = split(rows, (half * size, (count - half) * size))
    return _cut(first, half) + _cut(second, count - half)


class RNN(_Elman, _Layer):
    """Elman's recurrent network along a sequence, one or several layers deep; :class:`RNNCell` makes each step.

    The input has shape (L, N, input_size). With `batch_first` it is (N, L, input_size). Without a batch it is
    (L, input_size). The output has D · hidden_size features, where D is 2 if `bidirectional`, else 1. Call it as
    ``output, h_n = rnn(x, h_0)``. h_0 and h_n have shape (D · num_layers, N, hidden_size), also with `batch_first`.
    Default of h_0: zeros.

    Parameters
    ----------
    input_size, hidden_size : int
        The numbers of features of the input and of h.
    num_layers : int
        The number of layers. The input of a layer is the output of the one before.
    nonlinearity : {'tanh', 'relu'}
    bias : bool
        Whether there are b_ih and b_hh.
    batch_first : bool
        Whether input and output have the batch as axis 0.
    dropout : float
        The probability of dropping an output between two layers in training.
    bidirectional : bool
        Whether a second cell goes from the end to the start. The outputs of both are concatenated.
    rng : int or numpy.random.Generator, optional
        For the initial values, uniform in ±1/√hidden_size as in PyTorch, and for the dropout.

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not one tensor.

    References
    ----------
    Elman, *Finding Structure in Time*, 1990.

    Examples
    --------
    >>> import microtensor as mt
    >>> output, h_n = mt.nn.RNN(3, 5, num_layers=2)(mt.ones((7, 4, 3)))
    >>> output.shape, h_n.shape
    ((7, 4, 5), (2, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng=rng)
        self._choose(nonlinearity)


@completed_by(RNN)
class LSTM(_LongShortTerm, _Layer):
    """Long short-term memory along a sequence, one or several layers deep; :class:`LSTMCell` makes each step.

    Shapes are those of :class:`RNN`. Call it as ``output, (h_n, c_n) = lstm(x, (h_0, c_0))``. Default of the states:
    zeros.

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not a pair.

    References
    ----------
    Hochreiter & Schmidhuber, *Long Short-Term Memory*, 1997; Graves & Schmidhuber, *Framewise Phoneme
    Classification with Bidirectional LSTM*, 2005.

    Examples
    --------
    >>> import microtensor as mt
    >>> output, (h_n, c_n) = mt.nn.LSTM(3, 5, bidirectional=True)(mt.ones((7, 4, 3)))
    >>> output.shape, h_n.shape, c_n.shape
    ((7, 4, 10), (2, 4, 5), (2, 4, 5))
    """


@completed_by(RNN)
class GRU(_Gated, _Layer):
    """Gated recurrent units along a sequence, one or several layers deep; :class:`GRUCell` makes each step.

    Shapes are those of :class:`RNN`. Call it as ``output, h_n = gru(x, h_0)``. Default of h_0: zeros.

    Raises
    ------
    ValueError
        A wrong setting, or an input or state of another shape.
    TypeError
        The input is not floating point, or the state is not one tensor.

    References
    ----------
    Cho et al., *Learning Phrase Representations using RNN Encoder–Decoder*, 2014.

    Examples
    --------
    >>> import microtensor as mt
    >>> output, h_n = mt.nn.GRU(3, 5, batch_first=True)(mt.ones((4, 7, 3)))
    >>> output.shape, h_n.shape
    ((4, 7, 5), (1, 4, 5))
    """
