"""Standardising removes the units of the data, but not the correlations. Whitening removes both, but costs more.

Standardising improves the condition number κ of the Hessian. κ decides the number of steps of gradient descent (LeCun,
Bottou, Orr & Müller, *Efficient BackProp*, 1998). It restricts no parameter. Removing the correlations too costs much
more, so batch norm keeps them (Ioffe & Szegedy, *Batch Normalization*, 2015, section 2). Huang, Yang, Lang & Deng,
*Decorrelated Batch Normalization*, 2018, remove them.

The example is linear regression, ½ mean (Aw − y)², by steps of 2/(λ_min + λ_max), started from the best constant. The
spectrum of AᵀA/n predicts the whole course, also where it would take too long to run. Standardising is not always the
best of the cheap ways. On the digits, centring alone is faster down to 1e-3 of the gap, but far slower down to 1e-6.
This is not a law either: started from w = 0, centring needs thousands of steps for the 1e-3 too.

    python examples/08_whitening.py
    microtensor viz examples/08_whitening.py -o loss.svg -- --graph
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Array, digits
from experiment import AMBER, BLUE, GREY, RED, Checks, arguments, plots, progress, save, table

import microtensor as mt
from microtensor import norms

NO_EPS = float(np.finfo(float).tiny)
WAYS: dict[str, Callable[[mt.Tensor], mt.Tensor]] = {
    "raw": lambda x: x,
    "centred": lambda x: x - mt.mean(x, axis=0),
    "standardised": lambda x: norms.standardize(x, axis=0, eps=NO_EPS),
    "whitened": lambda x: norms.whiten(x, training=True, eps=NO_EPS, iterations=45),
}
COLOURS = dict(zip(WAYS, (GREY, RED, AMBER, BLUE), strict=True))
EXPECTED = {
    ("made-up", "κ"): ("2.7e5 to 1.5e6", "1.3e5", "109 to 112", "1"),
    ("made-up", "steps to 0.001"): (">190,000", ">190,000", "169 to 186", "1"),
    ("digits", "κ"): ("63,350", "5,526", "136", "1"),
    ("digits", "steps to 0.001"): ("1,568", "133", "184", "1"),
    ("digits", "steps to 1e-06"): (">3,000", ">3,000", "419", "1"),
}
Data = tuple[Array, Array]


class Problem(NamedTuple):
    """The matrix A and y of ½ mean (Aw − y)²; the eigenvalues λ of AᵀA/n, and the share of the gap along each."""

    a: Array
    y: Array
    eigenvalues: Array
    shares: Array

    @property
    def condition(self) -> float:
        """κ = λ_max / λ_min."""
        return float(self.eigenvalues[-1] / self.eigenvalues[0])

    @property
    def rate(self) -> float:
        """The best constant step, 2 / (λ_min + λ_max)."""
        return float(2 / (self.eigenvalues[0] + self.eigenvalues[-1]))

    def gap(self, step: Any) -> Array:
        """The rest of loss − least loss after some steps, relative to the start: Σ shares (1 − rate λ)^(2 step)."""
        left: Array = self.shares @ np.abs(1 - self.rate * self.eigenvalues)[:, None] ** (2 * np.atleast_1d(step))
        return left

    def steps_to(self, goal: float) -> int:
        """How many steps bring the gap to a goal."""
        low, high = 0, 10**8
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.gap(middle) <= goal else (middle + 1, high)
        return low


def problem(way: Callable[[mt.Tensor], mt.Tensor], data: Data) -> Problem:
    """Regression with an intercept on features prepared in one of the ways."""
    features, y = data
    a = np.column_stack([way(mt.tensor(features)).numpy(), np.ones(len(y))])
    eigenvalues, vectors = np.linalg.eigh(a.T @ a / len(y))
    residual = vectors.T @ a.T @ (y - y.mean()) / len(y)
    shares = residual**2 / eigenvalues
    return Problem(a, y, eigenvalues, shares / shares.sum())


def synthetic(seed: int) -> Data:
    """500 points of 10 features with correlations of .9, scales from 0.1 to 10 and means off zero."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(500, 10)) @ np.linalg.cholesky(0.9 + 0.1 * np.eye(10)).T
    scale = np.logspace(-1, 1, 10)
    return scale * (latent + 3 * rng.normal(size=10)), latent @ rng.normal(size=10) + 0.1 * rng.normal(size=500)


def is_it_a_3() -> Data:
    """The 53 pixels of 8×8 digits that vary, and whether the digit is a 3."""
    images, labels = digits()
    pixels = images / 16
    return pixels[:, pixels.std(axis=0) > 0.02], (labels == 3).astype(float)


def batch_loss(a: mt.Tensor, w: mt.Tensor, y: mt.Tensor) -> mt.Tensor:
    """½ mean (Aw − y)² of each of several problems."""
    return mt.mean(mt.square(a @ w - y), axis=(1, 2)) / 2


def descend(problems: list[Problem], steps: int) -> Array:
    """The gap of every problem at every step, relative to the first gap. All problems run together."""
    a, y = (mt.tensor(np.stack(arrays)) for arrays in zip(*((p.a, p.y[:, None]) for p in problems), strict=True))
    rates = mt.tensor([[[p.rate]] for p in problems])
    least = np.array([np.square(p.y - p.a @ np.linalg.lstsq(p.a, p.y)[0]).mean() / 2 for p in problems])
    start = np.zeros((len(problems), a.shape[2], 1))
    start[:, -1, 0] = [p.y.mean() for p in problems]
    w, gaps = mt.tensor(start, requires_grad=True), []
    for _ in progress(range(steps + 1), "descending"):
        losses = batch_loss(a, w, y)
        gradient = mt.grad(mt.sum(losses), w)
        gaps.append(losses.numpy() - least)
        with mt.no_grad():
            w -= rates * gradient
    relative: Array = np.array(gaps).T / gaps[0][:, None]
    return relative


def extent(numbers: Sequence[float]) -> str:
    """From the least to the largest."""
    low, high = (f"{number:,.0f}" for number in (min(numbers), max(numbers)))
    return low if low == high else f"{low} to {high}"


def cost(features: int) -> float:
    """The time to whiten a batch of 256 by the usual five iterations, divided by the time to standardise it."""
    x = mt.random.normal((256, features), rng=0)
    seconds = []
    for prepare in (WAYS["standardised"], lambda x: norms.whiten(x, training=True)):
        once = []
        for _ in range(7):
            began = time.perf_counter()
            prepare(x)
            once.append(time.perf_counter() - began)
        seconds.append(min(once))
    return seconds[1] / seconds[0]


def draw(path: Path, courses: dict[str, tuple[list[Problem], Array]], costs: dict[int, float]) -> None:
    """The gap at each step, as predicted and as measured, and the cost of whitening."""
    drawn = plots(1, 3, (13, 4.6))
    if drawn is None:
        return
    figure, ((*gaps, prices),) = drawn
    far = np.unique([0, *np.geomspace(1, 1e7, 400).astype(int)])
    for axes, (title, course) in zip(gaps, courses.items(), strict=True):
        for (way, colour), p, gap in zip(COLOURS.items(), *course, strict=True):
            walked = np.unique([0, *np.geomspace(1, len(gap) - 1, 12).astype(int)])
            axes.plot(far, p.gap(far), color=colour, label=f"{way}, κ = {p.condition:,.0f}")
            axes.plot(walked, gap[walked], "o", ms=4, color=colour)
        axes.set(title=title, xscale="symlog", yscale="log", xlabel="step", xlim=(0, 1e7), ylim=(1e-8, 2))
        axes.legend(loc="lower left", bbox_to_anchor=(0.02, 0), fontsize=8, handlelength=1)
    gaps[0].set(ylabel="loss above the least, at first 1")
    prices.plot(list(costs), list(costs.values()), "o-", color=BLUE)
    prices.set(title="The price of whitening a batch of 256", xlabel="features", ylabel="time, standardising = 1")
    prices.set(xscale="log", yscale="log", ylim=1, xticks=list(costs), xticklabels=list(costs))
    prices.minorticks_off()
    save(
        figure,
        "Lines: what the eigenvalues predict; dots: descent. Standardising leaves the κ of the correlations.",
        path,
    )


def main() -> mt.Tensor:
    """Condition numbers, descent on both problems, and the cost of whitening."""
    args = arguments(__doc__, seeds=3)
    made_up = [[problem(way, synthetic(seed)) for way in WAYS.values()] for seed in range(args.seeds)]
    threes = [problem(way, is_it_a_3()) for way in WAYS.values()]
    a, y, *_ = made_up[0][2]
    w = mt.tensor(np.linspace(0.0, 1.0, 11)[None, :, None], requires_grad=True, name="w")
    small = mt.sum(batch_loss(mt.tensor(a[None, :16], name="A"), w, mt.tensor(y[None, :16, None], name="y")))
    if args.graph:
        return small
    checks = Checks()

    descents = [descend(course, 2000 if args.quick else 20000) for course in made_up]
    courses = {"Made-up data": (made_up[0], descents[0]), "Digits: is it a 3?": (threes, descend(threes, 3000))}
    rows: dict[str, Sequence[str]] = {}
    for name, problems, goals in (("made-up", made_up, (1e-3,)), ("digits", [threes], (1e-3, 1e-6))):
        found = {"κ": [[p.condition for p in course] for course in problems]}
        found |= {f"steps to {goal:g}": [[p.steps_to(goal) for p in course] for course in problems] for goal in goals}
        for what, numbers in found.items():
            rows[f"{name}, {what}  expected"] = EXPECTED[name, what]
            rows[f"{name}, {what}  obtained"] = [extent(column) for column in zip(*numbers, strict=True)]
    table("steps of gradient descent", list(WAYS), rows)
    costs = {features: cost(features) for features in (16, 32, 64, 128, 256, 512)}
    print("time to whiten / to standardise, 16 to 512 features: ", end="")
    print(f"{costs[16]:.0f} to {costs[512]:.0f} times (expected 6 to 60-160)\n")

    everyone = [p for course in (*made_up, threes) for p in course]
    walked = [gap for course in (*descents, courses["Digits: is it a 3?"][1]) for gap in course]
    worst = {way: max(p.condition for p in everyone[i :: len(WAYS)]) for i, way in enumerate(WAYS)}
    longest = {way: max(p.steps_to(1e-3) for p in everyone[i :: len(WAYS)]) for i, way in enumerate(WAYS)}
    strayed = max(np.abs(gap - p.gap(np.arange(len(gap)))).max() for p, gap in zip(everyone, walked, strict=True))
    checks.check("κ: standardised < 200, whitened < 1.01", worst["standardised"] < 200 and worst["whitened"] < 1.01)
    cheap = longest["standardised"] <= 300 and longest["whitened"] <= 2
    checks.check("steps to 1e-3: standardised at most 300, whitened at most 2", cheap)
    checks.check("made-up data, raw: more than 20,000", min(course[0].steps_to(1e-3) for course in made_up) > 20000)
    checks.check(f"descent is where the eigenvalues say, to 1e-9 of the first gap ({strayed:.0e})", strayed <= 1e-9)
    draw(args.output, courses, costs)
    checks.finish()
    return small


if __name__ == "__main__":
    loss = main()
