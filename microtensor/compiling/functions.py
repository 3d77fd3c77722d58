"""Functions such as exp as text for the loops of machine code: with no branch and no call, several elements at a time.

NumPy's and PyTorch's functions are of this kind too; ``math.exp`` is called for one element after the other. An
argument is reduced to a small range, as in Cody & Waite, *Software Manual for the Elementary Functions*, 1980, where a
polynomial is close to the function. tests/golden/make_functions.py computes the polynomials.

No error exceeds twice that of PyTorch's function. In float32 these are, in units in the last place: exp 1.1, expm1 1.6,
tanh 0.9, erf 1.2, log 0.8, log1p 1.4, softplus 1.7.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# What the loops have in this way.
FAST = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sigmoid", "softplus")

# n is the nearest integer to x / ln 2, and r the rest: eˣ = 2ⁿ eʳ. Added to `magic`, n stands in the lowest bits.
_REDUCED = """\
    k = {0} * real({over_log2}) + real({magic})
    n = k - real({magic})
    r = ({0} - n * real({log2_high})) - n * real({log2_low})
    w = r + r * r * {EXP:r}
"""
_TEXT = """
def power_of_two(k):
    return bits((real(k).view(bits) << {mantissa}) + {one}).view(real)


def signed(y, x):
    return bits((real(y).view(bits) & {unsigned}) | (real(x).view(bits) & ~{unsigned})).view(real)


# Of a number whose exponential is a normal number.
def plain_exp(x):
{reduced_x}\
    return (one + w) * power_of_two(k)


# 2ⁿ is a product of two factors, because it may be ∞, or too small for a normal number.
def exp(x):
    c = where(x < real({least}), real({least}), where(x > real({most}), real({most}), x))
{reduced_c}\
    half = n * real(0.5) + real({magic})
    rest = (n - (half - real({magic}))) + real({magic})
    return (one + w) * power_of_two(half) * power_of_two(rest)


def expm1(x):
    c = where(x < real({lowest}), real({lowest}), where(x > real({most}), real({most}), x))
{reduced_c}\
    s = power_of_two(k - one)
    y = (s * w + (s - real(0.5))) * real(2)
    return where(abs(x) < real({tiny}), x, y)


# tanh x = 1 − 2 / (e²ˣ + 1). What is lost where the sum and the difference are rounded is put back.
def tanh(x):
    a, z = abs(x), x * x
    near = a + a * z * {TANH:z}
    c = where(a > real(20), real(40), a + a)
{reduced_c}\
    s = power_of_two(k)
    e = s * w
    d = e + (s + one)
    q = real(2) / d
    y = one - q
    far = y + (((one - y) - q) + real(0.5) * q * q * (e - (d - (s + one))))
    return signed(where(a < real(0.625), near, far), x)


# From 1 on, 1 − exp(−x²) p(1 / (x + 2)).
def erf(x):
    a, z = abs(x), x * x
    near = a + a * {ERF:z}
    b = where(a > real({last}), real({last}), a)
    t = one / (b + real(2))
    far = one - plain_exp(-(b * b)) * {TAIL:t}
    return signed(where(a < one, near, far), x)


# ln((u + c) · 2ᵉ), where c is far below u. With u = (1 + f) · 2ⁿ, s = f / (2 + f) and h = f²/2 it is
# n ln 2 + ln(1 + f), and ln(1 + f) = f − h + s (h + s² p(s²)).
def sum_log(u, c, e):
    i = real(u).view(bits)
    m = bits((i & {fraction}) | {one}).view(real)
    n = bits(((i & {exponent}) >> {mantissa}) + {whole}).view(real) - real({offset})
    large = m > real({root})
    m = where(large, m * real(0.5), m)
    n = where(large, n + one, n)
    c = c * bits({inverse} - (i & {exponent})).view(real)
    f = (m - one) + where(large, c * real(0.5), c)
    s = f / (real(2) + f)
    z = s * s
    h = real(0.5) * f * f
    n = n + e
    y = n * real({log2_high}) + (f - (h - (s * (h + z * {LOG:z}) + n * real({log2_low}))))
    y = where(u == real(np.inf), u, where(u == real(0), real(-np.inf), y))
    return where(u >= real(0), y, real(np.nan))


def log(x):
    small = x < real({normal})
    return sum_log(where(small, x * real({up}), x), real(0), where(small, real({down}), real(0)))


def log1p(x):
    u = one + x
    c = where(x < one, x - (u - one), one - (u - x))
    return where(abs(x) < real({tiny}), x, sum_log(u, c, real(0)))


def sigmoid(x):
    return one / (one + exp(-x))


def softplus(x):
    return where(x < real(0), real(0), x) + log1p(exp(-abs(x)))
"""


class _Polynomial(list[float]):
    """Coefficients from that of 1 on; formatted, the polynomial of the variable that the format names."""

    def __format__(self, variable: str) -> str:
        text = f"real({self[-1]!r})"
        for c in self[-2::-1]:
            text = f"({text} * {variable} + real({c!r}))"
        return text


def source_of(dtype: np.dtype[Any], before: str = "") -> str:
    """The functions for a dtype, each with a line `before` it. They use the names ``real``, ``bits`` and ``one``."""
    info = np.finfo(dtype)
    bits, bias = int(info.nmant), 1 - int(info.minexp)
    # With so few bits that its product with n is exact.
    high = math.floor(math.log(2) * 2 ** (bits - info.iexp)) / 2 ** (bits - info.iexp)
    wide = dtype.char == "d"
    given = {
        "mantissa": bits,
        "one": bias << bits,
        "unsigned": (1 << (info.bits - 1)) - 1,
        "fraction": (1 << bits) - 1,
        "exponent": (2 * bias + 1) << bits,
        "inverse": (2 * bias) << bits,
        "whole": (bias + bits) << bits,
        "offset": 2.0**bits + bias,
        "magic": 1.5 * 2.0**bits,
        "over_log2": 1 / math.log(2),
        "log2_high": high,
        "log2_low": (math.log(2) - high) + _LOG2_REST,
        "root": math.sqrt(2),
        "normal": float(info.smallest_normal),
        "up": 2.0 ** (bits + 2),
        "down": -(bits + 2.0),
        "least": -746.0 if wide else -104.0,
        "most": 710.0 if wide else 89.0,
        "lowest": -40.0 if wide else -20.0,
        "tiny": 1e-17 if wide else 1e-9,
        "last": 6.0 if wide else 4.0,
    } | {name: _Polynomial(terms) for name, terms in POLYNOMIALS[dtype.name].items()}
    reduced = {f"reduced_{x}": _REDUCED.format(x, **given) for x in "xc"}
    return _TEXT.format(**given, **reduced).replace("\ndef ", f"\n{before}def ")


# ln 2 minus its value in float64.
_LOG2_REST = 2.3190468138462996e-17
# Written by tests/golden/make_functions.py: the coefficients of 1, x, x², … of each polynomial.
# fmt: off
POLYNOMIALS = {'float32': {'EXP': [0.5, 0.1666657702559799, 0.041666554662050534, 0.008363173074513711,
                     0.001392617611993558],
             'LOG': [0.6666666655449709, 0.40000121839806124, 0.28550820815960665, 0.23330467216303835],
             'TANH': [-0.33333333149374506, 0.13333300146188914, -0.0539584616274522,
                      0.021762502907359264, -0.008323187058278775, 0.002269501684162354],
             'ERF': [0.12837916706154343, -0.3761263846802871, 0.11283782495236845,
                     -0.026865430727670243, 0.005221031807858023, -0.0008484080405535107,
                     0.00011265959025606609, -9.667044571486996e-06],
             'TAIL': [8.057060209374502e-06, 0.5637465222605395, 1.139040253535677, 1.8261171235795846,
                      4.1499346030547795, -5.27178620824552, 31.57071111496228, -88.91612149497224,
                      101.68133443273796, -43.71994340711654]},
 'float64': {'EXP': [0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326141,
                     0.0013888888888883752, 0.00019841269874800493, 2.4801587325533363e-05,
                     2.7557255425746435e-06, 2.7557273661348637e-07, 2.510520637395701e-08,
                     2.0914679376583935e-09],
             'LOG': [0.666666666666667, 0.39999999999899505, 0.28571428625975487, 0.2222221113479508,
                     0.18182889125261723, 0.15331721600556042, 0.14616449685043406],
             'TANH': [-0.3333333333333333, 0.1333333333333296, -0.05396825396781054,
                      0.021869488515352347, -0.008863235024306106, 0.003592120760870841,
                      -0.0014557676940659455, 0.000589622148687206, -0.0002374675659822325,
                      9.23274970808537e-05, -3.092912547386467e-05, 6.354340814859719e-06],
             'ERF': [0.1283791670955126, -0.3761263890318375, 0.11283791670954879, -0.026866170645076792,
                     0.0052239776248180145, -0.000854832698083379, 0.0001205533111164271,
                     -1.4925595266831182e-05, 1.6461000484121368e-06, -1.6350312701054695e-07,
                     1.4659775274047436e-08, -1.1372848856791674e-09, 5.957176147748911e-11],
             'TAIL': [-2.3585086223305642e-08, 0.564191702770897, 1.1282898808900577, 1.9770061656575117,
                      2.77808319883345, 3.260197627055993, -6.297087139151726, 41.44118196262575,
                      -324.985262991332, 1572.5501348896155, -6217.025580009104, 19465.90134660232,
                      -45167.272303337464, 75374.85704999088, -88329.34593707678, 69434.94504235237,
                      -33063.86718242781, 7241.832068299164]}}
