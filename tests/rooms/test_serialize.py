"""Checkpoints: round trips bit by bit, every damage noticed, a file always old or new, and PyTorch's own files."""

import errno
import io
import json
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from random import Random

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import microtensor as mt
from microtensor import nn
from microtensor.nn.attention import TransformerEncoderLayer
from microtensor.nn.convolution import Conv2d, ConvTranspose2d
from microtensor.nn.embedding import Embedding
from microtensor.nn.normalization import BatchNorm2d, GroupNorm, RMSNorm
from microtensor.nn.pooling import Flatten
from microtensor.nn.recurrent import LSTM
from microtensor.serialize import CheckpointError, load, save
from tests.places import GOLDEN

SUFFIXES = [".npz", ".safetensors"]
STATE = {"w": np.arange(6.0).reshape(2, 3), "n": np.int64(7), "lr": 0.1, "names": ["a", None, (True, -1)]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def identical(a, b):
    """The same structure, types, dtypes, layouts and bits."""
    if isinstance(a, np.ndarray):
        same = type(b) is np.ndarray and (a.dtype, a.shape, a.flags.fnc) == (b.dtype, b.shape, b.flags.fnc)
        return same and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(identical, a, b))
    return type(a) is type(b) and (a == b or a != a)


def problem(path):
    """What load says of a file that it refuses; it never offers to run what is inside."""
    with pytest.raises(CheckpointError) as raised:
        load(path)
    assert isinstance(raised.value, ValueError)
    assert raised.value.path == str(path)
    assert str(raised.value) == f"cannot load {path}: {raised.value.problem}"
    assert "pickle" not in str(raised.value)
    return raised.value.problem


def network():
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Sequential(nn.Linear(8, 6, bias=False), nn.LayerNorm(6))
    )


# --- round trips ------------------------------------------------------------------------------------------

numbers = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)


@st.composite
def arrays(draw):
    """Arrays of every dtype and byte order, 0-d and empty ones, in C and Fortran order, reversed and strided."""
    array = draw(hnp.arrays(numbers, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    view = draw(st.sampled_from(["C", "F", "T", "reversed", "strided", "broadcast"]))
    if view in ("C", "F"):
        return np.asarray(array, order=view)
    if view == "broadcast":
        return np.broadcast_to(array, (2, *array.shape))
    if view == "T" or not array.ndim:
        return array.T
    return array[::-1] if view == "reversed" else array[..., ::2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_bit_by_bit(tmp_path_factory, suffix):
    path = tmp_path_factory.mktemp("round") / f"a{suffix}"

    @given(st.dictionaries(st.text(st.characters(codec="utf-8")), arrays(), max_size=4))
    def check(state):
        save(path, state)
        loaded = load(path)
        assert loaded.keys() == state.keys()
        for key, array in state.items():
            if suffix == ".npz":
                assert loaded[key].dtype == array.dtype
                assert loaded[key].flags.f_contiguous or not array.flags.f_contiguous
            assert loaded[key].shape == array.shape
            assert loaded[key].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
            assert loaded[key].astype(array.dtype).tobytes() == array.tobytes()
            assert loaded[key].flags.writeable

    check()


keys = st.text() | st.integers()
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | arrays().map(np.ascontiguousarray)
states = st.recursive(
    values,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=8,
)


def test_structures_come_back_as_they_were(tmp_path_factory):
    path = tmp_path_factory.mktemp("round") / "a.npz"

    @given(st.dictionaries(st.text(), states, max_size=3))
    def check(state):
        save(path, state)
        assert identical(load(path), state)

    check()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tensors_scalars_and_other_mappings_become_arrays_and_dictionaries(tmp_path, suffix):
    path = str(tmp_path / f"a{suffix}")
    w = mt.tensor([[1.0, 2.0]], requires_grad=True, name="W")
    save(path, OrderedDict(w=w, twice=w * 2, n=np.float32(3)))
    expected = {"w": np.array([[1.0, 2.0]]), "twice": np.array([[2.0, 4.0]]), "n": np.array(3, np.float32)}
    assert identical({key: load(path)[key] for key in expected}, expected)
    save(path, {})
    assert load(path) == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_comes_back(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    model, other, x = network(), network(), mt.random.normal((9, 5), rng=0)
    model(x)
    save(path, model.state_dict())
    other.load_state_dict(load(path))
    np.testing.assert_array_equal(other.eval()(x).numpy(), model.eval()(x).numpy())
    wrong = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2))
    before = wrong.state_dict()
    with pytest.raises(
        ValueError, match=r"0\.bias has shape .*; 0\.weight has shape .*; 1\.bias has shape .*; unexpected 1\.run"
    ):
        wrong.load_state_dict(load(path))
    assert identical(wrong.state_dict(), before)


def test_keys_that_resemble_each_other_stay_apart(path):
    state = {
        "a.b": 0,
        "a": {"b": 1},
        "a/b": 2,
        "γ": 3,
        "β": 4,
        "../../x": 5,
        "": 6,
        "nul\0": 7,
        "\ud800": 8,
        "k" * 999: 9,
    }
    state = {key: {"b": np.array(1)} if key == "a" else np.array(value) for key, value in state.items()}
    state["mixed"] = {0: np.array(10), "0": np.array(11)}
    save(path, state)
    assert identical(load(path), state)
    with zipfile.ZipFile(path) as archive:
        assert all(re.fullmatch(r"[\w.~-]{1,120}", name, re.ASCII) for name in archive.namelist())


def test_numpy_reads_the_arrays_by_their_keys(path):
    save(path, {"0.weight": np.ones((2, 3)), "epoch": 3})
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["0.weight"], np.ones((2, 3)))
        manifest = json.loads(archive["__microtensor__"])
    assert (manifest["format"], manifest["arrays"]) == (1, {"0.weight": {"dtype": "<f8", "shape": [2, 3]}})


def test_the_same_state_gives_the_same_bytes(path):
    save(path, STATE)
    first = path.read_bytes()
    save(path, STATE)
    assert path.read_bytes() == first


def test_the_arguments_are_left_alone(path):
    state = {"w": np.arange(3, dtype=">f4")}
    save(path, state)
    assert identical(state, {"w": np.arange(3, dtype=">f4")})


# --- what cannot be saved ---------------------------------------------------------------------------------

loop: dict = {}
loop["again"] = {"loop": loop}
deep: list = []
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("suffix", "state", "error", "said"),
    [
        (
            ".npz",
            {"a": {"b": [1, {2}]}},
            TypeError,
            "save: state['a']['b'][1] is of type set; a checkpoint holds tensors",
        ),
        (".npz", {"a": 1j}, TypeError, "state['a'] is of type complex"),
        (".npz", {"a": np.array([None])}, TypeError, "state['a']: dtype object is not a boolean, integer or float"),
        (".npz", {"a": np.zeros(2, np.longdouble)}, TypeError, "of up to 64 bits"),
        (".npz", {"a": np.zeros(2, "f4,i4")}, TypeError, "state['a']: dtype"),
        (".npz", {"a": np.ma.zeros(2)}, TypeError, "state['a'] is a masked array, whose mask would be lost"),
        (".npz", {1: 2}, TypeError, "save: state has the key 1; keys must be strings"),
        (".npz", {"a": {1.5: 2}}, TypeError, "save: state['a'] has the key 1.5; keys must be strings and integers"),
        (".npz", {"a": {True: 2}}, TypeError, "save: state['a'] has the key True"),
        (".npz", {"n": [10**5000]}, ValueError, "save: state['n'][0] is an integer of 16610 bits; it must"),
        (".npz", loop, ValueError, "nested too deeply, or contains itself"),
        (".npz", {"deep": deep}, ValueError, "nested too deeply, or contains itself"),
        (".npz", [1], TypeError, "save: the state is of type list; it must be a mapping"),
        (
            ".npz",
            {"a": [np.ones(())] * 65_534},
            ValueError,
            "65534 arrays are more than the 65533 that a file can hold",
        ),
        (".safetensors", {1: np.ones(2)}, TypeError, "save: state has the key 1; keys must be strings"),
        (".safetensors", {"a": 0.1}, TypeError, "state['a'] is of type float; .safetensors holds arrays only"),
        (".safetensors", {"a": np.ones(2, complex)}, TypeError, "dtype complex128 is not a boolean"),
        (".safetensors", {"__metadata__": np.ones(2)}, ValueError, "reserved by the format"),
        (".safetensors", {"\ud800": np.ones(2)}, ValueError, "surrogates not allowed"),
    ],
    ids=range(19),
)
def test_states_that_cannot_be_stored_leave_the_old_file(tmp_path, suffix, state, error, said):
    path = tmp_path / f"a{suffix}"
    save(path, {"old": np.ones(2)})
    with pytest.raises(error, match=re.escape(said)):
        save(path, state)
    assert identical(load(path), {"old": np.ones(2)})
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["a.pt", "a", "a.npz.tmp", ".npz"])
def test_other_suffixes(tmp_path, name):
    for call in (lambda: save(tmp_path / name, {}), lambda: load(tmp_path / name)):
        with pytest.raises(ValueError, match=r"must end in \.npz or \.safetensors; PyTorch writes"):
            call()
    assert not os.listdir(tmp_path)


def test_a_path_is_needed():
    with pytest.raises(TypeError, match="BytesIO"):
        save(io.BytesIO(), {})


def test_without_the_package_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    path = tmp_path / "a.safetensors"
    path.touch()
    for call in (lambda: save(path, {"a": np.ones(2)}), lambda: load(path)):
        with pytest.raises(ImportError, match=re.escape('pip install "microtensor[safetensors]"')):
            call()
    assert path.read_bytes() == b""


# --- what is no checkpoint --------------------------------------------------------------------------------


@pytest.mark.parametrize("flips", [1, pytest.param(8, marks=pytest.mark.slow)], ids=["one_of_each_byte", "all"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_flipped_bit_is_noticed_or_does_no_harm(tmp_path, suffix, flips):
    path = tmp_path / f"a{suffix}"
    state = {"w": np.arange(3.0), "b": np.array([True, False])}
    save(path, state if suffix == ".safetensors" else {**state, "more": {0: [0.5, "text"]}})
    whole, expected = path.read_bytes(), load(path)
    # safetensors has no checksum: behind its header any bits are numbers.
    end = len(whole) if suffix == ".npz" else 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for position in range(end):
        for flip in (*(1 << (position + bit) % 8 for bit in range(flips)), 0xFF):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :])
            try:
                loaded = load(path)
            except CheckpointError:
                refused += 1
            else:
                assert suffix == ".safetensors" or identical(loaded, expected), (position, flip)
    assert refused > end * (flips + 1) / 9


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_truncation_is_noticed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, {"w": np.arange(3.0), "b": np.array([True, False])})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        problem(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in problem(path) or suffix == ".safetensors"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100, b"{}" * 50, pickle.dumps({"w": 1}), b"\x93NUMPY" * 20])
def test_other_files(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    said = problem(path)
    if suffix == ".npz":
        assert said == ("it is empty" if not content else "it is truncated, or is no checkpoint")


@given(content=st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory, content):
    for suffix in SUFFIXES:
        path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
        path.write_bytes(content)
        problem(path)


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(text, data=b""):
    """A .npy member with a header of one's own."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + data


def forge(path, members=None, manifest=None, compression=zipfile.ZIP_STORED, **changes):
    """A checkpoint of two numbers, made by hand, with some of it changed."""
    whole = {
        "format": 1,
        "arrays": {"w": {"dtype": "<f8", "shape": [2]}},
        "state": {"dict": [["w", {"array": "w"}]]},
        **changes,
    }
    manifest = json.dumps(whole) if manifest is None else manifest
    members = {"w.npy": npy(np.arange(2.0))} if members is None else members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in [("__microtensor__", manifest), *members.items()]:
            archive.writestr(name, content)


def test_a_forged_file_that_is_right_loads(path):
    forge(path)
    assert identical(load(path), {"w": np.arange(2.0)})


DEEP, TWO = {"dtype": "<f8", "shape": [1] * 70}, {"dtype": "|b1", "shape": [2]}
HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": {"w.npy": header(HEADER % "(2,)", b"\0" * 15)}}, "'w' holds 15 bytes, which do not fit"),
        ({"members": {"w.npy": header(HEADER % "(1000000000000,)")}}, "is an array of shape (1000000000000,)"),
        ({"members": {"w.npy": header(HEADER.replace("f8", "f4") % "(2,)")}}, "dtype float32; its list says otherwise"),
        ({"members": {"w.npy": header(HEADER % "(" + "-" * 9000 + "1)")}}, "'w' does not start like an array"),
        ({"members": {"w.npy": header("__import__('os')")}}, "'w' does not start like an array of numbers"),
        ({"members": {"w.npy": npy(np.zeros(2, "f4,f4"))}}, "'w' does not start like an array of numbers"),
        ({"members": {"w.npy": npy(np.array(["no"]))}}, "'w' does not start like an array of numbers"),
        ({"members": {"w.npy": header(HEADER.replace("<f8", "|b8") % "(2,)")}}, "it is damaged"),
        (
            {"members": {"w.npy": b"\x93NUMPY\x01\x00\0\0" + npy(np.arange(2.0))[10:]}},
            "'w' does not start like an array",
        ),
        ({"members": {"w.npy": b""}}, "'w' does not start like an array of numbers"),
        ({"members": {"w.npy": npy(np.arange(2.0), version=(2, 0))}}, "'w' does not start like"),
        ({"members": {}}, "its members are not the arrays that it lists"),
        ({"members": {"w.npy": npy(np.arange(2.0)), "x.npy": b""}}, "its members are not the arrays that it lists"),
        ({"members": {"../w.npy": npy(np.arange(2.0))}}, "its members are not the arrays that it lists"),
        ({"compression": zipfile.ZIP_DEFLATED}, "a member is compressed"),
        ({"manifest": "[" * 100_000}, "it is damaged"),
        ({"manifest": "9" * 5_000}, "it is damaged"),
        ({"manifest": "no"}, "it is damaged"),
        ({"manifest": "null"}, "it is damaged"),
        ({"format": 2}, "its format is 2, and this version of microtensor reads 1"),
        ({"arrays": {"w": {"dtype": "<f8", "shape": [3]}}}, "is an array of shape (2,) and dtype float64; its list"),
        ({"arrays": {"w": None}}, "its list says otherwise"),
        ({"arrays": 5}, "it is damaged (its list of arrays has no names)"),
        ({"arrays": ["w"]}, "it is damaged (its list of arrays has no names)"),
        ({"arrays": "w"}, "it is damaged (its list of arrays has no names)"),
        ({"arrays": None}, "it is damaged (its list of arrays has no names)"),
        ({"manifest": '["format", "arrays", "state"]'}, "does not say format, arrays and state"),
        ({"manifest": '{"format": 1, "arrays": {}}'}, "does not say format, arrays and state"),
        ({"manifest": b"\xff\xfe{}"}, "it is damaged"),
        ({"format": True}, "its format is True, and this version of microtensor reads 1"),
        ({"format": [10**400]}, "its format is [1000000000000"),
        ({"arrays": {"w": {"dtype": "<f8", "shape": [10**400]}}}, "its list says otherwise"),
        ({"state": {"dict": [[["w"], {"array": "w"}]]}}, "it is damaged"),
        ({"state": {"dict": [[None, {"array": "w"}]]}}, "its description of the state cannot be read"),
        ({"state": {"array": ["w"]}}, "its description of the state cannot be read"),
        (
            {"members": {"w.npy": header(HEADER % ("(" + "1, " * 70 + ")"), b"\0" * 8)}, "arrays": {"w": DEEP}},
            "it is damaged (maximum supported dimension",
        ),
        (
            {"members": {"w.npy": npy(np.array([2, 0], np.uint8)).replace(b"u1", b"b1")}, "arrays": {"w": TWO}},
            "'w' holds bytes that are no booleans",
        ),
        ({"state": {"array": "w"}}, "its state must be a mapping from strings, and must use each array once"),
        ({"state": {"dict": []}}, "its state must be a mapping from strings, and must use each array once"),
        ({"state": {"dict": [[1, {"array": "w"}]]}}, "its state must be a mapping from strings"),
        ({"state": {"dict": [["w", {"array": "w"}], ["v", {"array": "w"}]]}}, "it is damaged"),
        ({"state": {"dict": [["w", {"array": "w"}], ["w", 1]]}}, "its description of the state cannot be read"),
        ({"state": {"dict": [["w", {"dict": [[0.5, {"array": "w"}]]}]]}}, "its description of the state cannot"),
        ({"state": {"dict": [["w", {"array": "w", "code": 1}]]}}, "its description of the state cannot be read"),
        ({"state": {"dict": [["w"]]}}, "it is damaged"),
        ({"state": {"set": []}}, "its description of the state cannot be read"),
    ],
)
def test_forged_files(path, change, said):
    forge(path, **change)
    assert said in problem(path)


JUNK = [
    None,
    True,
    -1,
    1.5,
    10**400,
    "w",
    "\ud800",
    [],
    ["w"],
    {},
    {"array": "w"},
    {"dict": ["w"]},
    {"dict": [[{}, 1]]},
]


def spoilt(random, tree):
    """The tree with something in it left out, replaced or put in."""
    if not isinstance(tree, (dict, list)) or not tree or random.random() < 0.2:
        return random.choice(JUNK)
    changed = tree.copy()
    place = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
    kind = random.random()
    if kind < 0.7:
        changed[place] = spoilt(random, tree[place])
    elif kind < 0.85:
        del changed[place]
    elif isinstance(tree, dict):
        changed[random.choice(["w", "x", "array", "dict"])] = random.choice(JUNK)
    else:
        changed.insert(place, random.choice(JUNK))
    return changed


def hit(random, content):
    """The bytes with a few of them changed, left out or put in."""
    content = bytearray(content)
    for _ in range(random.randint(1, 5)):
        place = random.randrange(len(content))
        kind = random.random()
        if kind < 0.6:
            content[place] = random.randrange(256)
        elif kind < 0.8:
            del content[place : place + random.randint(1, 3)]
        else:
            content[place:place] = random.choice([b"9", b"-", b"[", b"]", b'"', b",", b"F16", b"null", b"\0\0"])
    return bytes(content)


def refused(path):
    """Whether a file is refused, in the documented way; anything else fails the test."""
    said = ""
    try:
        load(path)
    except CheckpointError as error:
        said = str(error)
    assert not said or said.startswith(f"cannot load {path}: ")
    assert said.isprintable()
    assert len(said) < 400 + len(str(path))
    return said != ""


def test_spoilt_manifests_end_in_the_documented_error(path):
    random = Random(0)
    whole = {
        "format": 1,
        "arrays": {"w": {"dtype": "<f8", "shape": [2]}},
        "state": {"dict": [["w", {"array": "w"}], ["more", {"tuple": [1, {"dict": [[0, "x"]]}]}]]},
    }
    member = npy(np.arange(2.0))
    count = 0
    for _ in range(300):
        members = {"w.npy": hit(random, member) if random.random() < 0.2 else member}
        forge(path, members, json.dumps(spoilt(random, whole)))
        count += refused(path)
    assert count > 250


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_hit_files_end_in_the_documented_error(tmp_path, suffix):
    random, path = Random(1), tmp_path / f"a{suffix}"
    save(path, {"w": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "n": np.int64(3)})
    whole = path.read_bytes()
    length = len(whole) if suffix == ".npz" else 8 + int.from_bytes(whole[:8], "little")
    count = 0
    for _ in range(250):
        content = hit(random, whole[:length]) + whole[length:]
        if suffix == ".safetensors" and random.random() < 0.7:
            # The length of the header as it is now, so that the reader gets to the header.
            size = max(len(content) - (len(whole) - length) - 8, 0)
            content = struct.pack("<Q", size) + content[8:]
        path.write_bytes(content)
        count += refused(path)
    assert count > 125


def test_an_archive_of_numpys_own(path):
    np.savez(path, w=np.ones(2))
    assert "it has no member __microtensor__, so it is no checkpoint; numpy.load reads other archives" in problem(path)


class Payload:
    """Executed by whoever unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_payload_is_never_executed(tmp_path, path):
    mark = tmp_path / "executed"
    evil = np.array([Payload(mark)], dtype=object)
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload works"
    mark.rmdir()
    for declared in ({"dtype": "|O", "shape": [1]}, {"dtype": "<f8", "shape": [1]}):
        forge(path, {"w.npy": npy(evil, allow_pickle=True)}, arrays={"w": declared})
        assert problem(path) == "'w' does not start like an array of numbers"
    forge(path, {"w.npy": pickle.dumps(Payload(mark))})
    problem(path)
    np.savez(path, w=evil)
    problem(path)
    path.write_bytes(pickle.dumps(Payload(mark)))
    problem(path)
    with pytest.raises(TypeError, match="dtype object"):
        save(path, {"w": evil})
    assert not mark.exists()


def test_duplicate_members(path):
    forge(path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("__microtensor__", "{}")
    content = path.read_bytes()
    for count in (3, 2):
        path.write_bytes(content[:-12] + struct.pack("<H", count) + content[-10:])
        assert problem(path) == "its list of members is damaged, or names a member twice"


def test_a_member_that_is_not_counted(path):
    forge(path)
    content = path.read_bytes()
    for count in (1, 3):
        path.write_bytes(content[:-12] + struct.pack("<H", count) + content[-10:])
        assert problem(path) == "its list of members is damaged, or names a member twice"


def peak(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_grows(path):
    forge(path, {"w.npy": npy(np.zeros(2**22))}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**17
    assert peak(lambda: problem(path)) < 2**20
    # The same bytes claimed by five hundred members.
    forge(path, {"w.npy": npy(np.zeros(2**17))})
    content = path.read_bytes()
    start, entry = content.index(b"PK\1\2"), content.rindex(b"PK\1\2")
    directory = content[start:entry] + b"".join(content[entry:-22].replace(b"w.npy", b"%05d" % n) for n in range(500))
    end = struct.pack("<4s4xHHLLH", b"PK\5\6", 501, 501, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + end)
    assert peak(lambda: problem(path)) < 2**20
    assert problem(path) == "its members would be larger than the file"


@pytest.mark.parametrize("count", [3, 0xFFFE, 0xFFFF])
def test_a_million_members_are_refused_before_they_are_read(path, count):
    entry = struct.pack("<4s42x", b"PK\1\2")
    end = struct.pack("<4s4xHHLLH", b"PK\5\6", count, count, len(entry) * 10**6, 0, 0)
    path.write_bytes(entry * 10**6 + end)
    assert peak(lambda: problem(path)) < 2**20
    assert problem(path) == "its list of members is damaged, or too long for a checkpoint"


def test_a_directory_of_64_bits_in_a_small_file(path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    forge(path)
    assert problem(path) == "its list of members is damaged, or too long for a checkpoint"


def test_a_dtype_that_numpy_lacks(tmp_path):
    path = tmp_path / "a.safetensors"
    text = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 4)
    assert problem(path) == "it holds 'w' of dtype BF16; convert to F32 where it was written"


def test_an_absurd_header_of_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    text = json.dumps({"w": {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert "it is damaged, or no safetensors file" in problem(path)
    path.write_bytes(struct.pack("<Q", 2**62) + text)
    assert "it is damaged, or no safetensors file" in problem(path)


@pytest.mark.parametrize(
    ("entry", "data", "said"),
    [
        ({"shape": [1] * 70, "data_offsets": [0, 4]}, b"\0" * 4, "maximum supported dimension"),
        ({"shape": [0, 2**62], "data_offsets": [0, 0]}, b"", "is too big"),
        ({"shape": [0, 2**63, 2**63], "data_offsets": [0, 0]}, b"", "Maximum allowed dimension exceeded"),
        ({"shape": [1], "data_offsets": [0, 1], "dtype": "BOOL"}, b"\7", "'w' holds bytes that are no booleans"),
        (
            {"shape": [1], "data_offsets": [0, 8], "dtype": "C64"},
            b"\0" * 8,
            ("of dtype C64; convert", "it is damaged"),
        ),
        ({"shape": [-1], "data_offsets": [0, 4]}, b"\0" * 4, "it is damaged, or no safetensors file"),
        ({"shape": [1], "data_offsets": [4, 0]}, b"\0" * 4, "it is damaged, or no safetensors file"),
        (["w"], b"", "it is damaged, or no safetensors file"),
    ],
)
def test_forged_files_of_safetensors(tmp_path, entry, data, said):
    path = tmp_path / "a.safetensors"
    text = json.dumps({"w": {"dtype": "F32", **entry} if isinstance(entry, dict) else entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    # An older safetensors does not know the dtype.
    assert any(words in problem(path) for words in ([said] if isinstance(said, str) else said))


def test_names_in_a_damaged_file_move_no_cursor(tmp_path):
    path = tmp_path / "a.safetensors"
    text = json.dumps({"\x1b[2J\r\u202e": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 4)
    assert problem(path).isprintable()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_cannot_be_opened(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(IsADirectoryError):
        load(tmp_path / f"folder{suffix}")


def test_a_failure_of_the_disk_stays_what_it_is(path, monkeypatch):
    def fail(*args, **options):
        raise OSError(errno.EIO, "Input/output error")

    save(path, STATE)
    monkeypatch.setattr(zipfile.ZipFile, "read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        load(path)


def test_the_error_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(CheckpointError("a.npz", "it is empty")))
    assert (error.path, error.problem, str(error)) == ("a.npz", "it is empty", "cannot load a.npz: it is empty")


# --- a file is old or new ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsync", "replace", "open", "chmod"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_alone(tmp_path, monkeypatch, name, error, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, {"old": np.ones(2)})

    def fail(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, name, fail)
        with pytest.raises(type(error)):
            save(path, {"new": np.ones(3)})
    assert os.listdir(tmp_path) == [path.name]
    assert identical(load(path), {"old": np.ones(2)})


def test_a_folder_that_cannot_be_synced_does_no_harm(path, monkeypatch):
    real = os.open

    def no_folders(target, *options):
        if os.path.isdir(target):
            raise PermissionError(errno.EACCES, "Permission denied", target)
        return real(target, *options)

    monkeypatch.setattr(os, "open", no_folders)
    save(path, STATE)
    assert load(path)["lr"] == 0.1


def test_the_folder_is_synced_after_the_move(path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (done.append(stat.S_IFMT(os.fstat(f).st_mode)), sync(f)))
    monkeypatch.setattr(
        os, "replace", lambda a, b: (done.append(os.path.dirname(a) == os.path.dirname(b)), replace(a, b))
    )
    save(path, STATE)
    assert done == [stat.S_IFREG, True, stat.S_IFDIR]


def test_the_mode_is_that_of_the_umask_or_of_the_old_file(tmp_path):
    (tmp_path / "b.npz").touch(0o600)
    before = os.umask(0o027)
    try:
        save(tmp_path / "a.npz", {})
        save(tmp_path / "b.npz", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b.npz").stat().st_mode) == 0o600


def test_a_link_stays_and_its_file_is_replaced(tmp_path, path):
    (tmp_path / "real").mkdir()
    path.symlink_to("real/b.npz")
    for state in ({"a": 1}, {"a": 2}):
        save(path, state)
        assert path.is_symlink()
        assert load(tmp_path / "real" / "b.npz") == state
    assert os.listdir(tmp_path / "real") == ["b.npz"]


def test_places_that_are_no_files(tmp_path, monkeypatch):
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        save(tmp_path / "a.npz", {})
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "none" / "a.npz", {})
    os.mkfifo(tmp_path / "b.npz")
    with pytest.raises(OSError, match="Not a regular file"):
        save(tmp_path / "b.npz", {})
    save(tmp_path / "c.npz", {"a": 1})
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(PermissionError):
        save(tmp_path / "c.npz", {})
    assert load(tmp_path / "c.npz") == {"a": 1}
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz", "c.npz"]


KILLED = """
import os, random, signal, sys, time
import numpy as np
from microtensor.serialize import load, save

path, random = sys.argv[1], random.Random(0)

def state(n):
    return {f"layer{i}": np.full(5_000, n) for i in range(4)} | {"n": n}

last = 0
began = time.monotonic()
save(path, state(last))
# A save on this machine just now, so that some are killed before, some while and some after they write.
took = time.monotonic() - began
for _ in range(20):
    child = os.fork()
    if child == 0:
        for n in range(last + 1, last + 1_000):
            save(path, state(n))
    time.sleep(random.uniform(0.001, 0.03 + 3 * took))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loaded = load(path)
    assert loaded["n"] >= last
    last = loaded["n"]
    assert all((loaded[f"layer{i}"] == last).all() for i in range(4))
print(last)
"""


def run(program, *args):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True).stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_instant_it_is_the_old_file_or_the_new(tmp_path, path):
    assert int(run(KILLED, path)) > 0
    stale = [name for name in os.listdir(tmp_path) if name != path.name]
    assert stale, "some were killed while they wrote"
    assert all(re.fullmatch(r"\.microtensor-[0-9a-f]{16}\.tmp", name) for name in stale)
    save(path, STATE)
    assert load(path)["lr"] == 0.1


FULL = """
import resource, sys
import numpy as np
from microtensor.serialize import load, save

path = sys.argv[1]
save(path, {"old": np.ones(2)})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for size in (2_300, 5_000, 1_000_000):
    try:
        save(path, {"new": np.ones(size)})
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert run(FULL, path) == "File too large\n" * 2
    assert os.listdir(tmp_path) == [path.name]
    assert identical({key: value.shape for key, value in load(path).items()}, {"new": (2_300,)})


# --- PyTorch ----------------------------------------------------------------------------------------------


def networks():
    """The models of golden/make_checkpoints.py."""
    return {
        "dense": network(),
        "image": nn.Sequential(
            nn.Sequential(Conv2d(2, 4, 3, padding=1, bias=False), BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(ConvTranspose2d(4, 3, 2, stride=2), GroupNorm(3, 3), Flatten(), nn.Linear(192, 2)),
        ),
        "recurrent": LSTM(5, 4, num_layers=2, bidirectional=True),
        "attention": nn.Sequential(
            Embedding(9, 6), TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True), RMSNorm(6)
        ),
    }


def state_of_pytorch(name):
    state = load(GOLDEN / "checkpoint.safetensors")
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


@pytest.mark.parametrize("name", networks())
def test_a_file_of_pytorch_loads_and_computes_the_same(golden, name):
    case = golden(name, file="checkpoints")
    model = networks()[name].eval()
    model.load_state_dict(state_of_pytorch(name))
    y = model(mt.tensor(case["x"]))
    np.testing.assert_allclose((y[0] if name == "recurrent" else y).numpy(), case["y"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", networks())
def test_a_file_for_pytorch_has_its_names_shapes_dtypes_and_numbers(tmp_path, name):
    theirs = state_of_pytorch(name)
    mt.set_default_dtype("float32")
    try:
        model = networks()[name]
    finally:
        mt.set_default_dtype("float64")
    model.load_state_dict(theirs)
    save(tmp_path / "ours.safetensors", model.state_dict())
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert identical(dict(sorted(ours.items())), dict(sorted(theirs.items())))


@pytest.mark.parametrize(
    "call",
    [
        lambda path: save({"w": np.ones(2)}, {}),
        lambda path: save(None, {}),
        lambda path: load({}),
        lambda path: load(3),
    ],
)
def test_what_is_no_path_is_refused_with_the_order_of_the_arguments(path, call):
    with pytest.raises(TypeError, match=r"(save|load): path is of type \w+; it must be .*: save\(path, state\)"):
        call(path)


def test_the_path_may_come_second_as_in_pytorch(path):
    for place in (path, str(path)):
        save({"w": np.ones(2)}, place)
        assert identical(load(place), {"w": np.ones(2)})
        path.unlink()
    with pytest.raises(TypeError, match="save: the state is of type list"):
        save(path, [np.ones(2)])


def test_a_plain_import_loads_neither_zipfile_nor_safetensors():
    # What a measuring tool has loaded before counts for nothing.
    program = (
        "import sys; before = {*sys.modules}; from microtensor import serialize\n"
        "print({'zipfile', 'json', 'safetensors'} & ({*sys.modules} - before))"
    )
    assert run(program) == "set()\n"
