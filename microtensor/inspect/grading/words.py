"""Factors of paths in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from microtensor.inspect.grading.factors import NAMED, PowerLaw, named, numbers
from microtensor.inspect.grading.learner import axes_text
from microtensor.inspect.grading.paths import NormPaths
from microtensor.inspect.grading.report import listed, percent
from microtensor.support.arrays import Array

MEANINGS = {
    "N": "N: a factor 1/N is missing",
    "1/N": "1/N: it is divided by N once too often",
    "N/(N − 1)": "N/(N − 1), as when it is divided by N − 1 and not by N",
    "(N − 1)/N": "(N − 1)/N, as when it is divided by N and not by N − 1",
}
RATIO = "(σ with ε / σ without it)"
HALF = ", as when the ½ of the root is forgotten: d√v = dv/(2√v)"


def only_because(shown: str, entering: Sequence[str]) -> str:
    """A gradient that follows rightly from wrong ones."""
    verb = "is" if len(entering) == 1 else "are"
    return f"{shown} is wrong only because {listed(list(entering))} {verb}: it follows from {listed(list(entering))}"


def alike(shown: str, other: str) -> str:
    """A gradient that is wrong as another one is."""
    return f"{shown} is wrong in the same way as {other}"


def several_norms(shown: str, between: Sequence[str | None]) -> str:
    """Norms that are not told apart."""
    names = [name for name in between if name]
    how = f'return a dictionary with "{names[0]}" too' if names else "give the tensor between them a name in forward"
    return (
        f"{shown} is wrong, and there are several norms on the way to it, which are not told apart; to grade each by "
        f"itself, {how}, and its gradient as backward computes it"
    )


def norm_at(paths: NormPaths, name: str | None) -> str:
    """Which of several norms it is."""
    return f", in the norm of {name}" if name else f", in the norm of a tensor of shape {paths.z.shape}"


def too_few(paths: NormPaths) -> str:
    """Sets of one or two values."""
    return (
        f"it is wrong, but with {paths.count} values per set ({axes_text(paths.axes)}) the paths cannot be told apart; "
        "grade it with at least 3 values per set to see which path is wrong"
    )


def parallel(paths: NormPaths) -> str:
    """Paths that point the same way."""
    return (
        f"it is wrong, but the paths are so nearly parallel here that they cannot be told apart; grade it with more "
        f"than {paths.count} values per set, and at least 3"
    )


def no_fit(subject: str, residue: float) -> str:
    """A gradient that is no combination of the paths."""
    return f"{subject}: {percent(residue)} of it, measured by the largest path, fits no path"


def _paths(names: Sequence[str]) -> tuple[str, str]:
    """Several paths as the subject of a sentence, and its verb."""
    through = [f"through the {name}" for name in names if name != "direct"]
    if len(names) == 1:
        return ("the direct path" if not through else f"the path {through[0]}"), "is"
    direct = ["the direct path"] if "direct" in names else []
    path = "the path" if len(through) == 1 else "the paths"
    return listed([*direct, *([f"{path} {listed(through)}"] if through else [])]), "are"


def _groups(names: Sequence[str], values: Sequence[float], tolerance: float) -> list[tuple[float, list[str]]]:
    """The paths that have the same factor, without those that are not seen."""
    found: list[tuple[float, list[str]]] = []
    for name, value in zip(names, values, strict=True):
        if np.isnan(value):
            continue
        for number, members in found:
            if abs(number - value) <= tolerance * max(1.0, abs(number)):
                members.append(name)
                break
        else:
            found.append((float(value), [name]))
    return found


def of_factors(subject: str, paths: NormPaths, factors: Array, where: str, tolerance: float) -> list[str]:
    """What factors that hold for all sets say. `where` are the inputs at which they were found."""
    tolerance = max(NAMED, tolerance)
    groups = _groups(paths.names, factors.tolist(), tolerance)
    told = [said for number, names in groups if (said := _said(paths, number, names, tolerance))]
    constant = [number for number, _ in groups]
    if len(groups) == 2 and abs(constant[0] - 1) <= tolerance and abs(constant[1]) <= tolerance:
        missing = groups[1][1]
        if len(missing) == len(paths.names) - 1:
            held = "the statistics are" if paths.shifts else f"the {paths.names[1]} is"
            told = [f"{held} held constant: {_paths(missing)[0]} {_paths(missing)[1]} missing"]
    elif len(groups) == 1 and len(groups[0][1]) > 1:
        told = [f"all of it {_amount(paths, constant[0], tolerance)}"] if told else []
    unseen = [name for name, factor in zip(paths.names, factors, strict=True) if np.isnan(factor)]
    if unseen:
        told.append(f"{_paths(unseen)[0]} {_paths(unseen)[1]} not seen here: next to nothing goes through")
    return [f"{subject}: {'; '.join(told)}{_count(paths, where)}"] if told else []


def _count(paths: NormPaths, where: str = "") -> str:
    # With one set, a factor that depends on the values cannot be told from a number.
    alone = f" in one set, {where}" if where and paths.z.size == paths.count else " per set"
    return f" (N = {paths.count} values{alone}, {axes_text(paths.axes)})"


def _said(paths: NormPaths, number: float, names: Sequence[str], tolerance: float) -> str:
    """What is wrong with paths of one factor; empty when nothing is."""
    if abs(number - 1) <= tolerance:
        return ""
    which, verb = _paths(names)
    return f"{which} {_amount(paths, number, tolerance, verb, names[0] != 'direct' and len(names) == 1)}"


def _amount(paths: NormPaths, number: float, tolerance: float, verb: str = "is", half: bool = False) -> str:
    """By how much something is wrong. `half`: whether a 2 may come from the root of the variance."""
    has, they = ("has", "it") if verb == "is" else ("have", "they")
    if abs(number) <= tolerance:
        return f"{verb} missing"
    if abs(number + 1) <= tolerance:
        return f"{has} the wrong sign"
    sign, size = f"{has} the wrong sign, and " if number < 0 else "", abs(number)
    meanings = []
    for name in named(size, numbers(paths.count, paths.z.shape), tolerance):
        divisor = name.removeprefix("N/").partition(",")[0]
        axes = [axis for axis, n in enumerate(paths.z.shape) if str(n) == divisor]
        if name in MEANINGS:
            meanings.append(MEANINGS[name])
        elif axes:
            meanings.append(f"N/{divisor}, as when it is divided by {divisor}, the size of {axes_text(axes)}, not by N")
    times = "twice" if abs(size - 2) <= tolerance else "half" if abs(size - 0.5) <= tolerance else f"{size:.6g} times"
    reasons = f"; {size:.6g} is {', or '.join(meanings)}" if meanings else ""
    root = HALF if half and times == "twice" else ""
    return f"{sign}{verb} {times} as large as {they} should be{root}{reasons}"


def of_laws(
    subject: str, paths: NormPaths, laws: Sequence[PowerLaw], argument: str, where: str, tolerance: float
) -> list[str]:
    """What factors that differ from set to set say."""
    tolerance = max(NAMED, tolerance)
    if _forgets_epsilon(laws, tolerance):
        return of_epsilon(subject, paths, np.ones(len(laws)), laws[-1].excess, where, tolerance)
    groups: list[tuple[PowerLaw, list[str]]] = []
    for name, law in zip(paths.names, laws, strict=True):
        same = [members for other, members in groups if _alike(law, other, tolerance)]
        if same:
            same[0].append(name)
        else:
            groups.append((law, [name]))
    told = []
    for law, names in groups:
        which, verb = ("all of it", "is") if len(names) == len(laws) else _paths(names)
        if law.plain:
            told.append(_said(paths, law.number, names, tolerance))
        else:
            told.append(f"{which} {_varying(law, argument, tolerance, verb)}")
    if not any(told):
        return []
    sigma = "√(variance + ε)" if paths.divisor is None else "what forward divides by"
    note = f"; σ is {sigma} in each set" if any(law.spread for law in laws) else ""
    return [f"{subject}: {'; '.join(filter(None, told))}{note}{_count(paths)}"]


def _varying(law: PowerLaw, argument: str, tolerance: float, verb: str) -> str:
    """A factor that differs from set to set."""
    they = "it" if verb == "is" else "they"
    powers = [("σ", law.spread), (argument, law.weight), (RATIO, 2 * law.excess)]
    used = [(symbol, power) for symbol, power in powers if power]
    number = [] if abs(law.number - 1) <= tolerance else [f"{law.number:.6g}"]
    times = " · ".join([*number, *(_power(symbol, power) for symbol, power in used)])
    text = f"{verb} {times} times as large as {they} should be"
    if len(used) == 1 and used[0][0] != RATIO and not number:
        text += f": a factor {_power(used[0][0], -used[0][1])} is missing"
    return text


def _power(symbol: str, power: float) -> str:
    size = abs(power)
    raised = (
        symbol if size == 1 else f"√{symbol}" if size == 0.5 else f"{symbol}²" if size == 2 else f"{symbol}^{size:g}"
    )
    return raised if power > 0 else f"1/{raised}"


def _alike(a: PowerLaw, b: PowerLaw, tolerance: float) -> bool:
    powers = (a.spread, a.weight, a.excess) == (b.spread, b.weight, b.excess)
    return powers and abs(a.number - b.number) <= tolerance * max(1.0, abs(a.number))


def _forgets_epsilon(laws: Sequence[PowerLaw], tolerance: float) -> bool:
    *others, last = laws
    plain = all(abs(law.number - 1) <= tolerance and not (law.spread or law.weight) for law in laws)
    return plain and last.excess in (1.0, 1.5) and all(law.excess == 0.5 for law in others)


def of_ones(subject: str, paths: NormPaths, argument: str, factors: Array, where: str, tolerance: float) -> list[str]:
    """The gradient is that for an argument of ones."""
    rest = of_factors("beside that", paths, factors, where, tolerance)
    return ["; ".join([f"{subject}: {argument} is missing: it is the gradient for a {argument} of ones", *rest])]


def of_epsilon(subject: str, paths: NormPaths, factors: Array, power: float, where: str, tolerance: float) -> list[str]:
    """The gradient is that for ε = 0; without ε the last path is (1 + ε/σ²) to some power as large."""
    rest = of_factors("beside that", paths, factors, where, tolerance)
    largest = 0.0 if paths.excess is None else float((paths.excess**power - 1).max())
    formula = ", 3ε/2σ²" if power == 1.5 else ""
    text = "right but for ε, which backward leaves out" if not rest else "backward leaves ε out"
    size = f"{where.capitalize()} that is at most {largest:.1e} of it{formula}"
    return ["; ".join([f"{subject}: {text}. {size}", *rest])]


def of_axes(
    subject: str, paths: NormPaths, axes: Sequence[int], which: str, factors: Array, tolerance: float
) -> list[str]:
    """The sums, or the statistics as a whole, run over other axes."""
    runs = {"both": "the sums run", "statistics": "the statistics run"}
    run = runs.get(which, f"the sum in the path through the {which} runs")
    text = f"{subject}: {run} over {axes_text(axes)}, not over {axes_text(paths.axes)}"
    tolerance = max(NAMED, tolerance)
    count = int(np.prod([paths.z.shape[a] for a in axes]))
    divided = count / paths.count
    right = [np.isnan(f) or min(abs(f - 1), abs(f - divided)) <= tolerance * max(1.0, divided) for f in factors]
    return [text] if all(right) else [f"{text}, and the paths are wrong by further factors"]


def of_single(shown: str, gradient: Array, right: Array, shapes: dict[str, tuple[int, ...]], path: float = 0.0) -> str:
    """What is wrong with a gradient that no norm explains.

    Parameters
    ----------
    shown : str
        What backward calls it.
    gradient, right : array
        What it is, and what it should be.
    shapes : dict
        The shapes of tensors whose sizes a factor may be, by what they are called.
    path : float
        The size of the largest path.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.inspect.grading.words import of_single
    >>> of_single("dbeta", np.array([0.25, -0.5]), np.array([2.0, -4.0]), {"the result": (8, 2)})
    'dbeta is 0.125 times as large as it should be; it is 1/8, and 8 is the size of axis 0 of the result'
    """
    size = float(np.vdot(right, right))
    factor = float(np.vdot(right, gradient)) / size if size else 0.0
    if not np.any(gradient):
        return f"{shown} is 0, and should not be"
    if np.sqrt(size) <= 1e-9 * path or not size:
        return f"{shown} is not 0, and should be{' but for rounding' if size else ''}"
    turned = np.swapaxes(gradient, -1, -2) if gradient.ndim > 2 else gradient
    if turned.shape == right.shape and np.linalg.norm(turned - right) <= 1e-9 * np.linalg.norm(right):
        return f"{shown} is the transpose of what it should be"
    if np.linalg.norm(gradient - factor * right) > 1e-9 * np.linalg.norm(gradient):
        return f"{shown} is wrong, and not by a single factor"
    if abs(factor + 1) <= NAMED:
        return f"{shown} has the wrong sign"
    times = {2.0: "twice", 0.5: "half"}.get(round(abs(factor), 9), f"{abs(factor):.6g} times")
    sign = "has the wrong sign, and " if factor < 0 else ""
    reasons: dict[float, str] = {}
    for name, shape in shapes.items():
        places = [(n, f"the size of {axes_text([axis])} of {name}") for axis, n in enumerate(shape)]
        for n, place in [*places, (math.prod(shape), f"the number of values of {name}")]:
            for number, text in ((n, f"{n} is {place}"), (1 / n if n else 0, f"it is 1/{n}, and {n} is {place}")):
                if n > 1 and abs(abs(factor) - number) <= NAMED:
                    reasons.setdefault(number, text)
    return "; ".join([f"{shown} {sign}is {times} as large as it should be", *reasons.values()])
