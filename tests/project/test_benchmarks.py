"""The benchmarks run, report in the form they promise, name a missing peer, and refuse a wrong gradient."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.places import ROOT

PEERS = ("torch", "torch-native", "autograd", "mygrad")
NORMS = ("bn-small", "bn-large", "bn-images", "ln-sequence", "ln-rows", "gn")

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks/ is not part of the source distribution", allow_module_level=True)

from benchmarks import clock, fresh, growth, measure, report  # noqa: E402
from benchmarks.agreement import DisagreementError, check  # noqa: E402
from benchmarks.libraries import LIBRARIES, Compiled, Microtensor, RefusedError, load  # noqa: E402
from benchmarks.workloads import HELD, TIMED  # noqa: E402

# Without numba, compiled functions run in NumPy and say so once.
pytestmark = pytest.mark.filterwarnings("ignore:compile. programs run in NumPy")
ONES = np.ones(3, np.float32)


class Twin(Microtensor):
    """A peer that is always installed: ourselves, under another name."""

    name = "torch"


class Wrong(Twin):
    """A peer that forgets to differentiate through something."""

    def differentiated(self, *arguments):
        y, *gradients = super().differentiated(*arguments)
        return [y, *(gradient * 1.01 for gradient in gradients)]


class Refusing(Compiled):
    """Compile, when it can do nothing."""

    def function(self, formula, parts=()):
        def run(*inputs):
            raise RefusedError("it depends on the weather")

        return run


def quietly(text):
    return text


def blocked(monkeypatch):
    for package in {LIBRARIES[name].package for name in PEERS}:
        monkeypatch.setitem(sys.modules, package, None)


def named(name):
    return next(w for w in TIMED if w.name == name)


def measured(*chosen, peers=(Twin,)):
    libraries = [kind() for kind in (Microtensor, *peers)]
    return measure.measure(chosen, quick=True, loader=lambda _: (libraries, {}), progress=quietly)


@pytest.mark.slow
def test_every_timed_workload_runs_and_agrees_and_is_compiled_or_refused_with_a_reason():
    run = measured(*(w.name for w in TIMED), peers=(Twin, Compiled))
    for result, told in zip(run.results, report.as_json(run)["results"], strict=True):
        assert result.medians.keys() ^ {"microtensor", "torch"} == (set() if result.refused else {"compiled"})
        assert all(value > 0 for value in (*result.medians.values(), *result.first))
        assert len(result.first) == (not result.refused)
        for target in told["targets"]:
            assert target["must"] is None or target["aim"] <= target["must"]
            assert target["met"] == "", "promises are about the full sizes"
    assert [result.name for result in run.results] == [w.name for w in TIMED]
    # What the promises about compile are about, and what else it can do since it exists.
    assert {r.name for r in run.results if not r.refused} >= {*NORMS, "chain", "gelu", "softmax", "log-softmax"}
    table = report.tables(run)
    assert all(w.title in table for w in TIMED)


def test_the_command_writes_json_and_names_missing_peers(tmp_path):
    # A file of that name on the path hides an installed package, so that this holds on every machine.
    for package in {LIBRARIES[name].package for name in PEERS}:
        (tmp_path / f"{package}.py").write_text("raise ImportError('blocked')\n")
    file = tmp_path / "found.json"
    chosen = ("chain", "memory-chain", "import", "memory-import")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--only", *chosen, "--json", file],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert set(found) == {"quick", "rounds", "machine", "versions", "missing", "results", "growth"}
    assert found["missing"] == dict.fromkeys(PEERS, "blocked")
    assert found["versions"].keys() - {"numba"} == {"numpy", "microtensor"}
    assert {"date", "processor", "cores", "python", "BLAS", "threads", "dtype"} <= found["machine"].keys()
    results = {result["name"]: result for result in found["results"]}
    assert results.keys() == set(chosen)
    ours, imported = {"microtensor", "compiled"}, {"microtensor", "numpy"}
    assert [result["medians"].keys() for result in found["results"]] == [ours, imported, ours, imported]
    assert results["memory-import"]["medians"]["numpy"] > 1
    assert results["memory-chain"]["medians"]["microtensor"] >= 0
    assert all(f"Left out: {name} (blocked)" in done.stdout for name in PEERS)


def test_a_long_chain_is_timed_in_processes_of_its_own(monkeypatch):
    monkeypatch.setattr(clock, "interleaved", lambda *_: pytest.fail("timed in this process"))
    asked = []
    monkeypatch.setattr(fresh, "seconds", lambda workload, name, size: asked.append((name, size)) or 2.0)
    result = measure.apart(named("chain-long"), [Microtensor(), Twin()], 1)
    assert asked == [("microtensor", "full"), ("torch", "full")] * measure.PROCESSES
    assert result.medians == {"microtensor": 2.0, "torch": 2.0}
    monkeypatch.undo()
    assert 0 < fresh.seconds("chain-long", "microtensor", "quick") < 60


def test_rounds_and_first_calls_run_in_processes_of_their_own(tmp_path):
    times = fresh.rounds("chain", ["microtensor"], 2)
    assert [len(samples) for samples in times.values()] == [2]
    assert 0 < fresh.first("gelu", "compiled", str(tmp_path)) < 60


def test_a_first_call_finds_an_empty_cache_and_then_the_same_one_filled(monkeypatch):
    caches = []
    monkeypatch.setattr(fresh, "first", lambda workload, name, cache: caches.append(cache) or len(caches))
    monkeypatch.setattr(fresh, "rounds", lambda workload, names, count: {name: [1.0] for name in names})
    result = measure.apart(named("bn-small"), [Microtensor(), Compiled()], 1)
    assert caches[0] == caches[1]
    assert result.first == [1, 2]
    assert result.medians.keys() == {"microtensor", "compiled"}


def test_what_compile_refuses_has_a_reason_and_no_time():
    run = measured("chain", peers=(Refusing,))
    (result,) = run.results
    assert result.medians.keys() == {"microtensor"}
    assert result.refused == "it depends on the weather"
    row = next(line for line in report.tables(run).splitlines() if line.startswith(f"| {result.title} |"))
    assert [cell.strip() for cell in row.split("|")][-3:-1] == ["refused", "–"]
    assert f"- {result.title}: it depends on the weather." in report.tables(run)


def test_a_refused_program_is_not_asked_for_again(monkeypatch):
    def refuse(*_):
        raise RefusedError("too long")

    monkeypatch.setattr(fresh, "first", refuse)
    monkeypatch.setattr(fresh, "rounds", lambda workload, names, count: {name: [1.0] for name in names})
    result = measure.apart(named("bn-small"), [Microtensor(), Compiled()], 1)
    assert (result.refused, result.medians) == ("too long", {"microtensor": 1.0})


def test_the_composition_never_runs_under_the_name_of_the_program():
    library = Compiled()
    function = library.function(lambda x: -x if x.sum() > 0 else x)
    with pytest.raises(RefusedError, match="reads the values"):
        function(library.leaf(np.ones(3, np.float32)))


def test_a_program_that_is_not_ready_in_time_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(fresh, "PATIENCE", 0.01)
    with pytest.raises(RefusedError, match=r"not ready after 0\.01 s"):
        fresh.first("bn-small", "compiled", str(tmp_path))


def test_nobody_has_to_convert_the_cotangent_in_each_pass():
    # A backward pass copies an array that it is given. autograd and MyGrad take one as it is.
    for library in (Microtensor(), Compiled()):
        assert isinstance(library.constant(ONES), library.module.Tensor)


def test_growth_leaves_out_who_would_take_too_long(monkeypatch):
    def seconds(workload, name, size):
        if name == "compiled" and size > 1000:
            raise RefusedError("not ready")
        return size * 1e-6

    monkeypatch.setattr(growth.fresh, "seconds", seconds)
    found = growth.grown(growth.CURVES[0], ["microtensor", "autograd", "torch-native", "compiled"], 4, 3)
    assert {name: list(times) for name, times in found.items()} == {
        "microtensor": [1000, 10_000, 100_000, 1_000_000],
        "autograd": [1000, 10_000, 100_000],
        "compiled": [1000],
    }


@pytest.mark.slow
def test_the_picture_of_growth_is_the_same_for_the_same_numbers(tmp_path):
    pytest.importorskip("matplotlib")
    found = {curve.workload: {"microtensor": dict.fromkeys(curve.sizes, 0.1)} for curve in growth.CURVES}
    for name in "ab":
        growth.draw(found, "some machine", tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_page_tells_what_is_slower_and_how_far_the_processes_spread():
    bn = named("bn-small")
    processes = [
        {"microtensor": [4.0], "compiled": [c], "torch-native": [1.0], "torch": [3.0]} for c in (0.8, 1.2, 1.1)
    ]
    held = [{"microtensor": [30.0], "compiled": [20.4]}]
    results = [
        measure.Result(bn.name, bn.title, "s", bn.targets, processes, first=[1.5, 0.25]),
        measure.Result("memory-bn", "memory, rows", "MiB", (), held),
    ]
    curves = {"chain": {"microtensor": {1000: 0.1}}}
    run = measure.Run(False, 3, {"processor": "P"}, {"numpy": "2"}, {"mygrad": "blocked"}, results, curves, 12.3)
    page = report.page(run, "growth.svg")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 8
    assert [bn.title, "1.00 s", "3.00", "–", "–", "4.00", "1.10", "1.5 s; 0.25 s"] in rows
    assert ["rows", "30", "20", "–", "–", "–", "–"] in rows
    assert [bn.title, "compiled / torch-native", "1.10", "0.80 to 1.20", "1", "0.65", "NO"] in rows
    for text in (
        "- processor P.",
        "- numpy 2.",
        "- Left out: mygrad (blocked).",
        f"`compiled` is slower than `torch-native` in 1 of 1 workloads, most in {bn.title} 1.10.",
        f"`microtensor` is slower than `torch` in 1 of 1 workloads, most in {bn.title} 1.33.",
        "3 of 3 promises are not kept",
        "(growth.svg)",
        "in 12 minutes",
    ):
        assert text in page


def test_the_page_in_the_docs_is_a_whole_run():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert f"Made by `{report.COMMAND}`" in page
    assert "Quick" not in page
    assert [w.title for w in TIMED if f"| {w.title} " not in page] == []
    assert (ROOT / "docs" / "benchmarks.svg").exists()
    for file in ("README.md", "benchmarks/README.md"):
        assert "docs/benchmarks.md" in (ROOT / file).read_text(encoding="utf-8")


def test_a_missing_peer_is_left_out_with_the_reason(monkeypatch):
    blocked(monkeypatch)
    found, missing = load(list(LIBRARIES))
    assert [library.name for library in found] == ["microtensor", "compiled"]
    assert missing.keys() == set(PEERS)
    assert all(missing.values())


def test_without_ourselves_there_is_nothing_to_measure(monkeypatch):
    monkeypatch.setitem(sys.modules, "microtensor", None)
    with pytest.raises(ImportError):
        load(["microtensor"])


@pytest.mark.parametrize("workload", ["chain", "bn-images", "mlp"])
def test_a_wrong_gradient_is_never_timed(workload, monkeypatch):
    monkeypatch.setattr(clock, "interleaved", lambda *_: pytest.fail("timed all the same"))
    with pytest.raises(DisagreementError, match=f"{workload}: gradient 0 is off by"):
        measured(workload, peers=(Wrong,))


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([ONES], "1 gradients, peer has 0"),
        ([ONES, np.ones(2, np.float32)], "gradient 0 .* peer has .2,. float32"),
        ([ONES, np.ones(3)], "gradient 0 .* float64"),
        ([ONES, np.array([1, 1, 1.01], np.float32)], "gradient 0 is off by 9.9e-03"),
        ([ONES, np.array([1, 1, np.nan], np.float32)], "off by nan"),
        ([np.array([1, 1, 1.01], np.float32), ONES], "the result is off by 9.9e-03"),
    ],
)
def test_what_counts_as_disagreement(theirs, message):
    with pytest.raises(DisagreementError, match=message):
        check("norm", "peer", [ONES, ONES], theirs)


def test_rounding_is_no_disagreement():
    check("norm", "peer", [np.ones(3, np.float32)], [np.array([1, 1, 1 + 1e-5], np.float32)])
    check("norm", "peer", [np.zeros(3, np.float32)], [np.zeros(3, np.float32)])


def test_promises_are_judged_at_full_size():
    chain = next(w for w in TIMED if w.name == "chain")
    times = {"microtensor": [0.5], "torch": [1.0], "autograd": [1.5], "mygrad": [1.0]}
    result = measure.Result(chain.name, chain.title, "s", chain.targets, [times])
    run = measure.Run(False, 1, {}, {}, {}, [result])
    assert [target["met"] for target in report.as_json(run)["results"][0]["targets"]] == ["aim", "must", "NO"]


def test_names_are_distinct_and_peers_known():
    assert len(set(measure.names())) == len(TIMED) + len(HELD) + 3
    for workload in (*TIMED, *HELD):
        assert set(workload.libraries) <= set(LIBRARIES)
        assert {target.peer for target in workload.targets} <= {*workload.libraries, ""}
