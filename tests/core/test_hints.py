"""What errors tell to write for the spellings of PyTorch and NumPy: every line of the tables runs."""

import inspect
import json
import math
import types

import numpy as np
import pytest

import microtensor as mt
from microtensor import hints
from microtensor.core.primitive import Primitive

TAIL = "; `import microtensor.torch as torch` speaks PyTorch"
TABLES = {"TENSOR": hints.TENSOR, "MODULE": hints.MODULE, "FUNCTIONAL": hints.FUNCTIONAL, "MODEL": hints.MODEL}
PLACES = {"TENSOR": mt.ones((2, 3)), "MODULE": mt, "FUNCTIONAL": mt.nn.functional, "MODEL": mt.nn.Linear(3, 2)}
EVERY = [(table, name) for table, names in TABLES.items() for name in names]


def names():
    """What the code of the tables may use."""
    x = mt.tensor([[0.1, 0.5, 0.9], [0.3, 0.2, 0.7]], requires_grad=True)
    y = mt.tensor([[0.4, 0.6, 0.1], [0.8, 0.3, 0.5]])
    i = mt.tensor([[0], [2]])
    model = mt.nn.Linear(3, 2)
    return {"x": x, "y": y, "i": i, "model": model, "F": mt.nn.functional, "mt": mt, "np": np, "math": math}


@pytest.mark.parametrize(("table", "name"), EVERY)
def test_a_missing_name_tells_code_that_runs(table, name, monkeypatch):
    monkeypatch.setattr(mt.random, "_default", None)
    place = PLACES[table]
    with pytest.raises(AttributeError) as raised:
        getattr(place, name)
    message = str(raised.value)
    assert f"has no attribute {name!r}" in message
    assert message.endswith(TAIL)
    assert not hasattr(place, name)
    assert getattr(place, name, None) is None
    code = message.removesuffix(TAIL).split("; here it is ")[1]
    assert code == TABLES[table][name]
    with np.printoptions():
        for line in code.split(" or "):
            exec(line, names())


@pytest.mark.parametrize("name", [name for name in hints.TENSOR if name not in hints.MODULE])
def test_a_tensor_says_so_in_its_class_and_does_not_list_it(name):
    assert not hasattr(mt.Tensor, name)
    assert name not in dir(mt.ones(2))


def test_what_exists_is_listed():
    assert {"reshape", "data", "backward", "T", "shape"} <= set(dir(mt.ones(2)))


def test_an_attribute_of_a_subclass_takes_the_place_of_a_hint():
    class Own(mt.Tensor):
        def view(self):
            return 3

    x = Own([1.0, 2.0])
    x.dim = 5
    assert (x.view(), x.dim) == (3, 5)
    assert {"view", "dim"} <= set(dir(x))


def test_the_meaning_of_the_lines_that_are_used_most():
    found = names()
    for name, wanted in {
        "view": (3, 2),
        "permute": (3, 2),
        "unsqueeze": (1, 2, 3),
        "expand": (4, 2, 3),
        "gather": (2, 1),
        "topk": (2, 2),
        "mm": (2, 2),
    }.items():
        assert eval(hints.TENSOR[name], found).shape == wanted
    np.testing.assert_array_equal(eval(hints.TENSOR["topk"], found).numpy(), [[0.9, 0.5], [0.7, 0.3]])
    np.testing.assert_array_equal(eval(hints.TENSOR["gather"], found).numpy(), [[0.1], [0.7]])
    np.testing.assert_allclose(eval(hints.TENSOR["log10"], found).numpy(), np.log10(found["x"].numpy()))
    np.testing.assert_allclose(
        eval(hints.FUNCTIONAL["logsigmoid"], found).numpy(), np.log(found["x"].sigmoid().numpy())
    )


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("batch_norm", "mt.norms.batch_norm"),
        ("layer_norm", "mt.norms.layer_norm"),
        ("Linear", "mt.nn.Linear"),
        ("Sequential", "mt.nn.Sequential"),
        ("Adam", "mt.optim.Adam"),
        ("SGD", "mt.optim.SGD"),
        ("normal", "mt.random.normal"),
        ("nll_loss", "mt.losses.nll_loss"),
        ("dropout", "mt.nn.functional.dropout"),
        ("DataLoader", "mt.data.DataLoader"),
        ("xavier_uniform_", "mt.nn.init.xavier_uniform_"),
        ("StepLR", "mt.optim.lr_scheduler.StepLR"),
    ],
)
def test_a_name_of_another_room_is_told(name, place):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'; here it is {place}$"):
        getattr(mt, name)
    assert eval(place).__name__ == name


@pytest.mark.parametrize("name", ["nonsense", "__wrapped__", "_private", "viewx"])
def test_names_that_nobody_knows_get_no_hint(name):
    for place in (mt, mt.ones(2), mt.nn.Linear(2, 2), mt.nn.functional, mt.nn):
        with pytest.raises(AttributeError, match=f"attribute '{name}'$"):
            getattr(place, name)


# --- names of arguments -----------------------------------------------------------------------------------

FUNCTIONS = {
    name: getattr(mt, name) for name in mt.__all__ if isinstance(getattr(mt, name), (Primitive, types.FunctionType))
}
SPELT = [
    (name, alias, next((new for new in news if new in inspect.signature(f).parameters), None))
    for name, f in FUNCTIONS.items()
    # PyTorch and NumPy have no function of that name.
    if name != "standardize"
    for alias, news in hints.KEYWORDS.items()
    if alias not in inspect.signature(f).parameters
]
TOLD = [
    (name, alias, new) for name, alias, new in SPELT if new in ("axis", "keepdims", "correction", "shape", "arrays")
]


@pytest.mark.parametrize(("name", "alias", "new"), TOLD)
def test_a_keyword_of_pytorch_tells_ours(name, alias, new):
    function = FUNCTIONS[name]
    first = [mt.ones(3)] * sum(
        p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values()
    )
    with pytest.raises(TypeError) as raised:
        function(*first, **{alias: 0})
    assert name in str(raised.value)
    assert str(raised.value).endswith(f"; here it is {new}={TAIL}")


def test_the_functions_that_take_an_axis_are_all_there():
    assert {name for name, alias, _ in TOLD if alias == "dim"} >= {
        *("sum", "mean", "var", "std", "max", "min", "prod", "argmax", "argmin", "any", "all", "cumsum", "softmax"),
        *("log_softmax", "logsumexp", "norm", "concat", "stack", "split", "squeeze", "expand_dims", "flip", "roll"),
        *("sort", "take", "take_along_axis", "repeat"),
    }


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(dim=1),
        lambda x: x.mean(dim=1, keepdim=True),
        lambda x: x.var(unbiased=False),
        lambda x: x.std(ddof=1),
        lambda x: x.softmax(dim=1),
        lambda x: x.argmax(dim=1),
        lambda x: x.squeeze(dim=0),
        lambda x: x.flatten(start_dim=1),
        lambda x: mt.exp(x, out=x),
        lambda x: mt.relu(x, inplace=True),
        lambda x: mt.leaky_relu(x, inplace=True),
        lambda x: mt.arange(3, requires_grad=True),
        lambda x: mt.random.normal(size=(2, 3)),
        lambda x: mt.random.normal((2, 3), generator=None),
        lambda x: mt.nn.ReLU(inplace=True),
        lambda x: mt.nn.Linear(3, 2, device="cpu"),
        lambda x: mt.nn.Linear(3, 2, dtype="float32"),
        lambda x: mt.nn.MSELoss(size_average=False),
        lambda x: mt.losses.mse_loss(x, x, size_average=False),
        lambda x: mt.zeros(2, 3),
        lambda x: mt.ones(2, 3, 4),
    ],
)
def test_calls_in_pytorchs_spelling_are_told_ours(call):
    with pytest.raises(TypeError) as raised:
        call(mt.ones((2, 3)))
    assert str(raised.value).endswith(TAIL)
    assert any(word in str(raised.value) for word in ("here it is", "leave ", "a shape is one argument"))


def test_size_is_a_number_that_tells_where_the_sizes_are():
    x = mt.ones((2, 3))
    assert (x.size, x.size + 1, str(x.size), json.dumps(x.size)) == (6, 7, "6", "6")
    assert type(x.size + 0) is int
    with pytest.raises(TypeError, match=r"size is a number, 6, and cannot be called; here it is x\.shape;.*PyTorch$"):
        x.size()
    with pytest.raises(TypeError, match=r"here it is x\.shape\[-1\];"):
        x.size(-1)
    assert (x.shape, x.shape[-1]) == ((2, 3), 3)


def test_other_errors_are_as_they_were():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'nope'$"):
        mt.flatten(mt.ones(3), nope=1)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'nope'; the call is sum\(.*\)$"):
        mt.sum(mt.ones(3), nope=1)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'nope'$"):
        mt.nn.Linear(3, 2, nope=1)

    class Placed(mt.nn.Module):
        def __init__(self, device="cpu", **more):
            super().__init__()
            self.device, self.more = device, more

    assert Placed(device="here", inplace=True).more == {"inplace": True}


def test_functions_keep_their_signatures():
    assert list(inspect.signature(mt.concat).parameters) == ["arrays", "axis"]
    assert list(inspect.signature(mt.ones(2).flatten).parameters) == ["start_axis", "end_axis"]
