"""What Python and other libraries ask of a tensor: formats, rounding, lists, copies, DLPack, the Array API."""

import asyncio
import inspect
import pickle

import numpy as np
import pytest

import microtensor as mt

SINGLE = [mt.tensor(1.23456), mt.tensor([1.23456]), mt.tensor([[1.23456]], requires_grad=True)]


@pytest.mark.parametrize("x", SINGLE)
@pytest.mark.parametrize("spec", [".3f", "10.2e", "g", ">12", "+.1%"])
def test_a_tensor_of_one_number_is_formatted_as_the_number(x, spec):
    assert format(x, spec) == format(x.item(), spec)
    assert f"{x}" == str(x)


def test_a_format_of_several_numbers_says_how_they_are_shown():
    with pytest.raises(TypeError, match=r"shape \(2, 2\) has 4 numbers, and '.3f' is the format of one; write np\.arr"):
        format(mt.ones((2, 2)), ".3f")
    assert f"{mt.ones(2)}" == "tensor([1., 1.])"
    assert f"{mt.tensor([3, 4]).sum():03d}" == "007"


@pytest.mark.parametrize("x", SINGLE)
def test_round_gives_a_python_number(x):
    assert (round(x, 2), round(x), type(round(x))) == (1.23, 1, int)
    with pytest.raises(TypeError, match=r"shape \(3,\); mt\.round\(x, 2\) rounds every element"):
        round(mt.ones(3), 2)


def test_lists_hold_python_numbers():
    x = mt.tensor([[1.0, 2.5], [3.0, 4.0]], requires_grad=True)
    assert x.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert (type(mt.tensor(3).tolist()), type(mt.tensor([1, 2], dtype="int8").tolist()[0])) == (int, int)
    assert mt.tensor([True]).tolist() == [True]


@pytest.mark.parametrize("name", ["copy", "clone"])
def test_gradients_flow_through_a_copy(name):
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    y = getattr(x, name)()
    assert y.node is not None
    np.testing.assert_array_equal(mt.grad((y * y).sum(), x).numpy(), [2.0, 4.0])
    free = getattr(mt.tensor([1.0, 2.0]), name)()
    x.data = [3.0, 4.0]
    free += 1
    np.testing.assert_array_equal(free.numpy(), [2.0, 3.0])
    np.testing.assert_array_equal(y.numpy(), [1.0, 2.0])


class Asking:
    """Asks a tensor for a copy, as ``from_dlpack(x, copy=True)`` does."""

    def __init__(self, x, copy):
        self.x, self.copy = x, copy

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**{**options, "copy": self.copy})

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "bool"])
@pytest.mark.parametrize("copy", [None, True])
def test_dlpack_hands_out_a_copy(dtype, copy):
    x = mt.tensor([[1, 0], [1, 1]]).astype(dtype)
    # NumPy before 2.1 has no option copy.
    given = np.from_dlpack(x) if copy is None else np.from_dlpack(Asking(x, copy))
    np.testing.assert_array_equal(given, x.numpy())
    assert given.dtype == x.dtype
    assert not np.shares_memory(given, x.numpy())
    assert x.__dlpack_device__() == np.ones(2).__dlpack_device__()


def test_dlpack_loses_no_gradient_and_shares_no_value():
    x = mt.tensor([1.0], requires_grad=True)
    with pytest.raises(BufferError, match=r"requires a gradient.*x\.detach\(\)"):
        np.from_dlpack(x)
    with pytest.raises(BufferError, match="gets a copy of a tensor"):
        x.detach().__dlpack__(copy=False)


def test_the_namespace_is_the_package():
    x = mt.tensor([1.0])
    assert x.__array_namespace__() is mt
    assert x.__array_namespace__(api_version="2023.12") is mt
    with pytest.raises(ValueError, match=r"api_version is '1999\.12'; it must be None or one of 2021\.12"):
        x.__array_namespace__(api_version="1999.12")
    assert x.device == "cpu"
    assert mt.zeros(2, device=x.device).shape == (2,)


# --- modes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [mt.no_grad, mt.enable_grad, mt.detect_anomaly, mt.trace_lines])
def test_a_decorator_needs_no_brackets(switch):
    def told(x, *, y=2):
        """What it does."""
        return mt.is_grad_enabled(), x + y

    bare, called = switch(told), switch()(told)
    assert bare(1) == called(1) == (switch is not mt.no_grad, 3)
    assert (bare.__name__, bare.__doc__) == ("told", "What it does.")
    assert inspect.signature(bare) == inspect.signature(told)
    assert mt.is_grad_enabled()
    with pytest.raises(TypeError, match=f"{switch.__name__}: got 3"):
        switch(3)


def test_generators_coroutines_and_methods_need_none_either():
    @mt.no_grad
    def steps():
        yield mt.is_grad_enabled()
        yield mt.is_grad_enabled()

    @mt.no_grad
    async def later():
        return mt.is_grad_enabled()

    class Model:
        @mt.no_grad
        def predict(self):
            return mt.is_grad_enabled()

    assert list(steps()) == [False, False]
    assert asyncio.run(later()) is False
    assert Model().predict() is False


def test_modes_are_as_before_otherwise():
    with mt.no_grad(), mt.enable_grad():
        assert mt.is_grad_enabled()
    with mt.no_grad() as mode:
        assert isinstance(mode, mt.no_grad)
        assert not mt.is_grad_enabled()
    assert mt.name_scope("a").name == "a"


# --- the front door ---------------------------------------------------------------------------------------


def test_a_graph_is_made_of_a_tensor():
    y = (mt.tensor([1.0, 2.0], requires_grad=True) * 2).sum()
    graph = mt.Graph(y)
    assert graph == mt.Graph.from_tensor(y)
    assert mt.Graph(y, gradients=False) == mt.Graph.from_tensor(y, gradients=False)
    assert mt.viz.render(graph, "json") == mt.viz.render(mt.Graph.from_tensor(y), "json")
    assert pickle.loads(pickle.dumps(graph)) == graph
