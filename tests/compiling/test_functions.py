"""exp and the like in the loops: errors over the whole range, infinities, NaN and signs, and whether they are vectors.

The same text runs over arrays of NumPy, and as machine code, where products and sums are fused.
"""

import re
from decimal import Context, Decimal, localcontext
from functools import partial

import numpy as np
import pytest

from microtensor.compiling.functions import FAST, source_of
from microtensor.ops import error_function
from tests.compiling.backends import needs_numba

DTYPES = (np.float32, np.float64)
# The largest errors of PyTorch 2.13's own functions on a CPU, in units in the last place. Ours may be twice as large.
PYTORCH = {
    np.float32: {
        "exp": 0.558,
        "expm1": 1.0,
        "log": 0.88,
        "log1p": 1.0,
        "tanh": 0.513,
        "erf": 0.744,
        "sigmoid": 2.47,
        "softplus": 1.5,
    },
    np.float64: {
        "exp": 0.525,
        "expm1": 1.0,
        "log": 0.717,
        "log1p": 1.0,
        "tanh": 0.752,
        "erf": 0.66,
        "sigmoid": 2.28,
        "softplus": 1.66,
    },
}
EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": error_function.erf,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
}


def over_arrays(dtype):
    """All of them of an array, as rows."""
    bits = np.dtype(f"i{np.dtype(dtype).itemsize}").type
    names = {"np": np, "real": dtype, "bits": bits, "one": dtype(1), "where": np.where}
    exec(source_of(np.dtype(dtype)), names)
    return lambda x: np.array([names[name](x) for name in FAST])


def in_machine_code(dtype):
    """The same by one function with a loop for each. It is compiled once."""
    import numba

    from microtensor.compiling.numba_build import BEFORE, HEAD
    from microtensor.compiling.numba_source import with_constants

    bits = f"int{8 * np.dtype(dtype).itemsize}"
    head = HEAD.format(real=np.dtype(dtype).name, bits=bits) + with_constants(source_of(np.dtype(dtype), BEFORE))
    names = {}
    loops = [f"    for i in range(x.size):\n        y[{k}, i] = {name}(x[i])\n" for k, name in enumerate(FAST)]
    exec(head + "def run(x, y):\n" + "".join(loops), names)
    return numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})(names["run"])


@pytest.fixture(scope="module")
def compiled():
    return {dtype: in_machine_code(dtype) for dtype in DTYPES}


@pytest.fixture(scope="module", params=["arrays", pytest.param("machine code", marks=needs_numba)])
def functions(request):
    """All of them by dtype: they take an array and return a row for each."""
    if request.param == "arrays":
        return {dtype: over_arrays(dtype) for dtype in DTYPES}

    def call(loops, x):
        y = np.empty((len(FAST), x.size), x.dtype)
        loops(x, y)
        return y

    found = request.getfixturevalue("compiled")
    return {dtype: partial(call, found[dtype]) for dtype in DTYPES}


@pytest.fixture(scope="module")
def over_the_range(functions):
    """Every 9,001st number of float32, more of them where the functions change their formulas, and the values."""
    patterns = np.arange(0, 2**32, 9001, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([patterns.view(np.float32), np.linspace(-3, 3, 150_001, dtype=np.float32)])
    with np.errstate(all="ignore"):
        return x, dict(zip(FAST, functions[np.float32](x), strict=True))


def in_units(found, exact, dtype):
    """Errors in units in the last place of the exact value."""
    info = np.finfo(dtype)
    exponents = np.floor(np.log2(np.maximum(np.abs(exact), float(info.smallest_subnormal))))
    return np.abs((found.astype(exact.dtype) - exact) / np.exp2(np.maximum(exponents, info.minexp) - info.nmant))


def precise(name, x):
    """The value in 40 digits, rounded to the sum of two floats: a float, and what it lacks."""
    with localcontext(Context(prec=40)):
        v = Decimal(float(x))
        if name == "erf":
            term, total, n = v, v, 0
            while abs(term) > abs(total) * Decimal("1e-38") and v:
                n += 1
                term = -term * v * v / n
                total += term / (2 * n + 1)
            y = total * 2 / Decimal("3.141592653589793238462643383279502884197").sqrt()
        elif name in ("log", "log1p"):
            small = name == "log1p" and abs(v) < Decimal("1e-8")
            y = v - v * v / 2 + v * v * v / 3 if small else (v if name == "log" else 1 + v).ln()
        elif name == "exp":
            y = v.exp()
        elif name == "expm1":
            y = v.exp() - 1 if abs(v) > Decimal("1e-8") else v + v * v / 2 + v * v * v / 6
        elif name == "tanh":
            y = 1 - 2 / ((2 * v).exp() + 1) if abs(v) > Decimal("1e-8") else v - v * v * v / 3
        elif name == "sigmoid":
            y = 1 / (1 + (-v).exp())
        else:
            y = (1 + v.exp()).ln() if v > -60 else v.exp()
        high = float(y)
        return high, float(y - Decimal(high))


@pytest.mark.parametrize("name", FAST)
def test_errors_in_float32_are_at_most_twice_those_of_pytorch(over_the_range, name):
    x, found = over_the_range[0], over_the_range[1][name]
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
        rounded = exact.astype(np.float32)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
        if name != "sigmoid":
            np.testing.assert_array_equal(found[np.isinf(rounded)], rounded[np.isinf(rounded)])
            np.testing.assert_array_equal(np.isinf(found), np.isinf(rounded))
        numbers = ~np.isnan(exact)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(rounded[numbers]))
        # Where e⁻ˣ is ∞, sigmoid is 0, as in the composition.
        finite = np.isfinite(rounded) & ((np.abs(exact) > 1.2e-38) | (name != "sigmoid"))
        errors = in_units(found[finite], exact[finite], np.float32)
    assert errors.max() <= 2 * PYTORCH[np.float32][name]


@pytest.mark.parametrize("name", FAST)
def test_errors_in_float64_are_at_most_twice_those_of_pytorch(functions, name):
    draws = np.random.default_rng(0)
    ends = {"erf": 5.0, "tanh": 20.0, "log": 700.0, "log1p": 700.0}.get(name, 700.0)
    x = np.concatenate(
        [
            draws.uniform(-2, 2, 800),
            draws.uniform(-ends, ends, 400),
            draws.choice([1, -1], 200) * 2.0 ** draws.uniform(-1050, 1, 200),
        ]
    )
    x = np.abs(x) if name == "log" else x[x > -1] if name == "log1p" else x
    pairs = [precise(name, v) for v in x]
    high, low = np.array(pairs).T
    found = functions[np.float64](x)[FAST.index(name)]
    assert found.dtype == np.float64
    errors = np.abs((found - high) - low) / np.spacing(np.abs(high))
    assert errors.max() <= 2 * PYTORCH[np.float64][name]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAST)
def test_infinities_nan_zeros_and_the_ends_of_the_range(functions, name, dtype):
    info = np.finfo(dtype)
    ends = [info.max, -info.max, info.smallest_subnormal, -info.smallest_subnormal, info.tiny, 1e-30, -1e-30, -1.0, 1.0]
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, *ends], dtype)
    with np.errstate(all="ignore"):
        expected, found = EXACT[name](x.astype(np.float64)).astype(dtype), functions[dtype](x)[FAST.index(name)]
    np.testing.assert_allclose(found, expected, rtol=4 * float(info.eps), atol=0)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponentials_too_small_for_a_normal_number_are_rounded_once(functions, dtype):
    info = np.finfo(dtype)
    x = np.linspace(np.log(float(info.smallest_subnormal)) - 1, np.log(float(info.tiny)) + 1, 2001).astype(dtype)
    wide = np.exp(x.astype(np.longdouble if dtype is np.float64 else np.float64))
    with np.errstate(all="ignore"):
        errors = in_units(functions[dtype](x)[FAST.index("exp")], wide, dtype)
    assert errors.max() <= 1.2


@needs_numba
@pytest.mark.parametrize("dtype", DTYPES)
def test_machine_code_takes_several_elements_at_a_time(compiled, dtype):
    kind = {np.float32: "float", np.float64: "double"}[dtype]
    compiled[dtype](np.ones(3, dtype), np.ones((len(FAST), 3), dtype))
    (code,) = compiled[dtype].inspect_llvm().values()
    stores = re.findall(rf"store <\d+ x {kind}>", code)
    assert len(stores) >= len(FAST)
    assert re.findall(r"call .*@(?:\w*exp|\w*log|\w*erf|\w*tanh)\w*\(", code) == []
