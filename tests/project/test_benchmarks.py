"""The benchmarks run, report in the form they promise, name a missing peer, and refuse a wrong gradient."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.places import ROOT

PEERS = ("torch", "torch-native", "autograd", "mygrad")

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks/ is not part of the source distribution", allow_module_level=True)

from benchmarks import clock, growth, measure, report  # noqa: E402
from benchmarks.agreement import DisagreementError, check  # noqa: E402
from benchmarks.libraries import LIBRARIES, Microtensor, load  # noqa: E402
from benchmarks.workloads import HELD, TIMED  # noqa: E402


class Twin(Microtensor):
    """A peer that is always installed: ourselves, under another name."""

    name = "torch"


class Wrong(Twin):
    """A peer that forgets to differentiate through something."""

    def numpy(self, gradient):
        return super().numpy(gradient) * 1.01


def quietly(text):
    return text


def blocked(monkeypatch):
    for package in {LIBRARIES[name].package for name in PEERS}:
        monkeypatch.setitem(sys.modules, package, None)


def measured(*chosen, peer=Twin):
    return measure.measure(chosen, quick=True, loader=lambda _: ([Microtensor(), peer()], {}), progress=quietly)


@pytest.mark.slow
def test_every_timed_workload_runs_and_agrees():
    # What runs in processes of its own has no stand-in for a peer.
    timed = [w for w in TIMED if not w.fresh]
    assert len(timed) > 10
    run = measured(*(w.name for w in timed))
    found = report.as_json(run)
    assert [result["name"] for result in found["results"]] == [w.name for w in timed]
    for result in found["results"]:
        assert set(result) == {"name", "title", "unit", "medians", "ratios", "targets"}
        assert result["medians"].keys() == {"microtensor", "torch"}
        assert result["ratios"].keys() == {"torch"}
        assert all(value > 0 for value in (*result["medians"].values(), *result["ratios"].values()))
        for target in result["targets"]:
            assert target["aim"] <= target["must"]
            assert target["met"] == "", "promises are about the full sizes"
    table = report.table(run)
    assert all(w.title in table for w in timed)


def test_the_command_writes_json_and_names_missing_peers(tmp_path):
    # A file of that name on the path hides an installed package, so that this holds on every machine.
    for package in {LIBRARIES[name].package for name in PEERS}:
        (tmp_path / f"{package}.py").write_text("raise ImportError('blocked')\n")
    file = tmp_path / "found.json"
    chosen = ("chain", "memory-norms", "import", "memory-import")
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
    assert set(found) == {"quick", "rounds", "machine", "versions", "missing", "results"}
    assert found["missing"] == dict.fromkeys(PEERS, "blocked")
    assert found["versions"].keys() == {"numpy", "microtensor"}
    assert {"processor", "python", "threads", "dtype"} <= found["machine"].keys()
    results = {result["name"]: result for result in found["results"]}
    assert results.keys() == set(chosen)
    assert [result["ratios"].keys() for result in found["results"]] == [set(), {"numpy"}, set(), {"numpy"}]
    assert results["import"]["ratios"]["numpy"] > 0
    assert results["memory-import"]["medians"]["numpy"] > 1
    assert results["memory-norms"]["medians"]["microtensor"] >= 0
    assert all(f"left out: {name} (blocked)" in done.stdout for name in PEERS)


def test_a_long_chain_is_timed_in_processes_of_its_own(monkeypatch):
    monkeypatch.setattr(clock, "interleaved", lambda *_: pytest.fail("timed in this process"))
    monkeypatch.setitem(LIBRARIES, "torch", Twin)
    asked = []
    monkeypatch.setattr(measure.fresh, "seconds", lambda name, *_: asked.append(name) or 2.0)
    (result,) = measured("chain-long").results
    assert asked == ["microtensor", "torch"]
    assert result.ratios == {"torch": 1.0}
    monkeypatch.undo()
    assert 0 < measure.fresh.seconds("microtensor", "chain-long", "quick") < 60


def test_growth_leaves_out_who_would_take_too_long(monkeypatch):
    monkeypatch.setattr(growth.fresh, "seconds", lambda name, workload, size: size * 1e-6)
    found = growth.grown(growth.CURVES[0], ["microtensor", "autograd", "torch-native"], shrink=100)
    assert {name: list(times) for name, times in found.items()} == {
        "microtensor": [10, 100, 1000, 10000],
        "autograd": [10, 100, 1000],
    }
    monkeypatch.undo()
    assert growth.fresh.seconds("microtensor", "memory-bn", 10) > 0


def test_the_table_for_a_page_has_a_column_for_each_library():
    results = [
        measure.Result("a", "first", "s", {"microtensor": 0.002, "torch": 0.001}, ()),
        measure.Result("b", "second", "MiB", {"microtensor": 3.0, "mygrad": 6.0}, ()),
    ]
    run = measure.Run(False, 1, {"processor": "P"}, {"numpy": "2"}, {}, results)
    assert report.markdown(run).splitlines() == [
        "processor P; numpy 2.",
        "",
        "| workload | microtensor | torch | mygrad |",
        "| --- | ---: | ---: | ---: |",
        "| first | 2 ms | 2.00 |  |",
        "| second | 3.0 MiB |  | 0.50 |",
    ]


def test_a_missing_peer_is_left_out_with_the_reason(monkeypatch):
    blocked(monkeypatch)
    found, missing = load(list(LIBRARIES))
    assert [library.name for library in found] == ["microtensor"]
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
        measured(workload, peer=Wrong)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([], "1 gradients, peer has 0"),
        ([np.ones(2, np.float32)], "peer has .2,. float32"),
        ([np.ones(3)], "float64"),
        ([np.array([1, 1, 1.01], np.float32)], "off by 9.9e-03"),
        ([np.array([1, 1, np.nan], np.float32)], "off by nan"),
    ],
)
def test_what_counts_as_disagreement(theirs, message):
    with pytest.raises(DisagreementError, match=message):
        check("norm", "peer", [np.ones(3, np.float32)], theirs)


def test_rounding_is_no_disagreement():
    check("norm", "peer", [np.ones(3, np.float32)], [np.array([1, 1, 1 + 1e-5], np.float32)])
    check("norm", "peer", [np.zeros(3, np.float32)], [np.zeros(3, np.float32)])


def test_promises_are_judged_at_full_size():
    chain = next(w for w in TIMED if w.name == "chain")
    medians = {"microtensor": 0.5, "torch": 1.0, "autograd": 1.5, "mygrad": 1.0}
    result = measure.Result(chain.name, chain.title, "s", medians, chain.targets)
    run = measure.Run(False, 1, {}, {}, {}, [result])
    assert [target["met"] for target in report.as_json(run)["results"][0]["targets"]] == ["aim", "must", "NO"]


def test_names_are_distinct_and_peers_known():
    assert len(set(measure.names())) == len(TIMED) + len(HELD) + 2
    for workload in (*TIMED, *HELD):
        assert set(workload.libraries) <= set(LIBRARIES)
        assert {target.peer for target in workload.targets} <= {*workload.libraries, ""}
