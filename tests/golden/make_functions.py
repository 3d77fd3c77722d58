"""Writes the polynomials of microtensor/compiling/functions.py: near-minimax fits on Chebyshev points, to 60 digits.

Run by hand, ``python tests/golden/make_functions.py`` (needs mpmath). It replaces what stands after the last comment of
the file. The tests measure the error of each function.
"""

from pathlib import Path
from pprint import pformat

import mpmath as mp

FILE = Path(__file__).parents[2] / "microtensor" / "compiling" / "functions.py"
MARK = "# Written by tests/golden/make_functions.py: the coefficients of 1, x, x², … of each polynomial.\n"
mp.mp.dps = 60


def exponential(r):
    """EXP: (eʳ − 1 − r) / r²."""
    return mp.hyp1f1(1, 3, r) / 2


def logarithm(z):
    """LOG, with z = s²: what is left of ln((1 + s) / (1 − s)) = 2s + s³ p(s²)."""
    s = mp.sqrt(z)
    return mp.nsum(lambda k: 2 * z**k / (2 * k + 3), [0, mp.inf]) if z < 1e-6 else (2 * mp.atanh(s) / s - 2) / z


def tangent(z):
    """TANH, with z = x²: tanh x = x + x³ p(x²)."""
    x = mp.sqrt(z)
    return (mp.tanh(x) / x - 1) / z


def error(z):
    """ERF, with z = x²: erf x = x + x p(x²)."""
    return 2 / mp.sqrt(mp.pi) * mp.hyp1f1(0.5, 1.5, -z) - 1


def tail(t):
    """TAIL, with t = 1 / (x + 2): exp(x²) erfc x."""
    x = 1 / t - 2
    return mp.exp(x**2) * mp.erfc(x)


# The function, its range as a function of where erf ends, and the degree for each dtype.
half = mp.log(2) / 2
FITS = {
    "EXP": (exponential, lambda last: (-half, half), {"float32": 4, "float64": 10}),
    "LOG": (logarithm, lambda last: (0, (mp.sqrt(2) - 1) ** 2 / (mp.sqrt(2) + 1) ** 2), {"float32": 3, "float64": 6}),
    "TANH": (tangent, lambda last: (0, mp.mpf("0.4")), {"float32": 5, "float64": 11}),
    "ERF": (error, lambda last: (0, 1), {"float32": 7, "float64": 12}),
    "TAIL": (tail, lambda last: (mp.mpf(1) / (last + 2), mp.mpf(1) / 3), {"float32": 9, "float64": 17}),
}


def fitted(function, span, degree):
    return [float(c) for c in reversed(mp.chebyfit(function, list(span), degree + 1))]


def main():
    found = {
        dtype: {name: fitted(function, span(last), degree[dtype]) for name, (function, span, degree) in FITS.items()}
        for dtype, last in (("float32", 4), ("float64", 6))
    }
    text = FILE.read_text(encoding="utf-8").partition(MARK)[0]
    lines = pformat(found, width=105, compact=True, sort_dicts=False)
    FILE.write_text(f"{text}{MARK}# fmt: off\nPOLYNOMIALS = {lines}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
