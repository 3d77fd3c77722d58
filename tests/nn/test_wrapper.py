"""Layers around a function: what is declared is what the constructor takes, and what the function takes."""

import inspect
import pickle
import re

import pytest

import microtensor as mt
from microtensor import nn
from microtensor.nn.activation import Activation
from microtensor.nn.docstrings import completed_by
from microtensor.nn.wrapper import Wrapper

LAYERS = {name: getattr(nn, name) for name in nn.__all__}
AROUND = {name: kind for name, kind in LAYERS.items() if isinstance(kind, type) and issubclass(kind, Wrapper)}
# Their settings have another name or a check that the function has not.
OWN = {"Softplus", "Softmax", "LogSoftmax"}
LOSSES = {name for name in AROUND if name.endswith("Loss")}


class Scaled(Activation):
    """Sine of ω x, times a factor."""

    @staticmethod
    def function(x, omega, factor):
        """Sine."""
        return mt.sin(x * omega) * factor

    omega: float = 1.0
    factor: float = 1.0


class Louder(Scaled):
    function = Scaled.function
    factor: float = 2.0


class Fixed(nn.LeakyReLU):
    def __init__(self):
        super().__init__(0.5)


class FixedElu(Fixed):
    """Exponential, with a slope.

    Notes
    -----
    What the author notes.
    """

    @staticmethod
    def function(x, negative_slope):
        return mt.elu(x, negative_slope)


class Plain(nn.ReLU):
    gain: float = 2.0


def test_activations_and_losses_are_layers_around_a_function():
    assert set(AROUND) - LOSSES == {
        *("ELU", "GELU", "SELU", "Hardtanh", "LeakyReLU", "LogSoftmax", "Mish", "ReLU", "SiLU", "Sigmoid", "Softmax"),
        *("Softplus", "Tanh"),
    }
    assert len(LOSSES) == 10


@pytest.mark.parametrize("name", sorted(AROUND.keys() - OWN - {"ReLU", "Sigmoid", "Tanh"}))
def test_the_settings_are_those_of_the_function_in_name_order_and_default(name):
    inputs = 2 if name in LOSSES else 1
    functions = list(inspect.signature(AROUND[name].function).parameters.values())[inputs:]
    settings = list(inspect.signature(AROUND[name]).parameters.values())
    assert [(p.name, p.default) for p in settings] == [(p.name, p.default) for p in functions]


@pytest.mark.parametrize("name", AROUND)
def test_a_wrong_argument_names_the_layer(name):
    with pytest.raises(TypeError, match=rf"^{name}: .*positional"):
        AROUND[name](*range(9))
    with pytest.raises(TypeError, match=rf"^{name}: .*nonsense|^{name}: missing a required argument: 'dim'"):
        AROUND[name](nonsense=1)


@pytest.mark.parametrize("name", AROUND)
def test_the_docstring_has_a_sentence_the_settings_and_an_example_of_the_layer(name):
    above, _, rest = AROUND[name].__doc__.partition("\n")
    assert above.endswith((".", "−1."))
    for setting in inspect.signature(AROUND[name]).parameters:
        assert setting in rest
    assert rest.count("Examples\n--------") == 1
    assert f"mt.nn.{name}(" in rest
    assert not {"input", "target", "x"} & {line.split(" : ")[0] for line in rest.splitlines()}


@pytest.mark.parametrize("name", sorted(name for name, kind in LAYERS.items() if isinstance(kind, type)))
def test_the_docstring_of_a_layer_describes_each_setting_once(name):
    text = re.split(r"^(\w+)\n-{3,}\n", inspect.getdoc(LAYERS[name]), flags=re.MULTILINE)
    sections = dict(zip(text[1::2], text[2::2], strict=True))
    heads = re.findall(r"^(?=\S)([^:\n]+?)(?: : .*)?$", sections.get("Parameters", ""), flags=re.MULTILINE)
    described = [each.strip("*") for head in heads for each in head.split(", ")]
    assert sorted(described) == sorted(inspect.signature(LAYERS[name]).parameters)
    assert "ValueError, TypeError" not in sections.get("Raises", "")
    assert list(sections).count("Examples") == 1


def test_a_docstring_is_completed_by_that_of_another_class():
    class Longer:
        """Longer.

        Parameters
        ----------
        b, c : int
            Both.
        gone : int

        Raises
        ------
        ValueError
            Always.

        Examples
        --------
        >>> Longer(1, 2, 3)
        """

    @completed_by(Longer)
    class Shorter:
        """Shorter.

        Parameters
        ----------
        c : float
            By itself.
        """

        def __init__(self, a, b, c):
            pass

    assert Shorter.__doc__ == (
        "Shorter.\n\nParameters\n----------\nb : int\n    Both.\nc : float\n    By itself.\n\n"
        "Raises\n------\nValueError\n    Always.\n"
    )


def test_no_setting_is_left_on_the_class_where_it_would_hide_a_parameter():
    layer = nn.LeakyReLU(nn.Parameter(0.1))
    layer(mt.tensor([-2.0])).sum().backward()
    assert layer.negative_slope.grad.item() == -2.0
    assert not hasattr(nn.LeakyReLU, "negative_slope")


def test_a_subclass_may_declare_more_change_a_default_or_have_a_constructor_of_its_own():
    assert repr(Scaled(factor=3.0)) == "Scaled(omega=1.0, factor=3.0)"
    assert repr(Louder(2.0)) == "Louder(omega=2.0, factor=2.0)"
    assert Louder()(mt.tensor([1.0])).item() == 2 * mt.sin(mt.tensor(1.0)).item()
    assert repr(Fixed()) == "Fixed(negative_slope=0.5)"
    assert str(inspect.signature(Fixed)) == str(inspect.signature(FixedElu)) == "()"
    assert FixedElu()(mt.tensor([-1.0])).item() == mt.elu(mt.tensor(-1.0), 0.5).item()
    assert FixedElu.__doc__ == "Exponential, with a slope.\n\nNotes\n-----\nWhat the author notes.\n"
    assert Plain()(mt.tensor([-1.0])).item() == 0.0
    assert Plain.gain == 2.0


@pytest.mark.parametrize("layer", [Louder(0.5), Fixed(), nn.GELU("tanh"), nn.CrossEntropyLoss([1.0, 2.0])])
def test_copies_by_pickle_keep_the_settings(layer):
    copy = pickle.loads(pickle.dumps(layer))
    assert repr(copy) == repr(layer)
    assert list(copy.state_dict()) == list(layer.state_dict())


def test_what_a_room_exports_is_what_it_defines():
    for room in (
        nn.activation,
        nn.loss,
        nn.linear,
        nn.pooling,
        nn.convolution,
        nn.embedding,
        nn.attention,
        nn.recurrent,
    ):
        own = {n: v for n, v in vars(room).items() if isinstance(v, type) and v.__module__ == room.__name__}
        layers = {n for n, v in own.items() if issubclass(v, nn.Module) and n[0] != "_"} - {"Activation"}
        assert set(room.__all__) == layers <= set(nn.__all__)
    assert list(nn.__all__) == sorted(set(nn.__all__))
    assert list(nn.functional.__all__) == sorted(set(nn.functional.__all__))
    assert set(mt.losses.__all__) < set(nn.functional.__all__)
    assert {name for name in mt.norms.__all__ if name.islower()} < set(nn.functional.__all__)
