"""The list of names, the module and the page say the same, and every name has a case."""

import runpy
from pathlib import Path

import pytest

import microtensor.torch as torch
from tests.places import ROOT
from tests.pytorch.names import spellings

NAMES = (Path(torch.__file__).with_name("names.txt")).read_text(encoding="utf-8")
LISTED = [
    spelling
    for line in NAMES.splitlines()[2:]
    if line and not line.startswith("# ")
    for spelling in line.partition(": ")[0].split()
]


def test_the_list_names_what_is_there_and_nothing_else():
    assert len(LISTED) == len(set(LISTED))
    assert set(LISTED) == spellings()


def test_the_page_is_made_from_the_list():
    page = runpy.run_path(str(ROOT / "docs/make_torch.py"))["page"]()
    assert (ROOT / "docs/torch.md").read_text(encoding="utf-8") == page
    assert all(f"`{spelling}`" in page for spelling in LISTED)


@pytest.mark.parametrize("name", ["addmm", "svd", "fft", "vmap", "bfloat16"])
def test_another_name_says_so(name):
    with pytest.raises(AttributeError, match=rf"torch\.{name} is not here.*docs/torch\.md"):
        getattr(torch, name)
    with pytest.raises(AttributeError, match=rf"Tensor\.{name} is not here.*docs/torch\.md"):
        getattr(torch.ones(2), name)


def test_another_name_of_a_room_says_so():
    for room, place in ((torch.nn, "nn"), (torch.nn.functional, "nn.functional"), (torch.optim, "optim")):
        with pytest.raises(AttributeError, match=rf"torch\.{place}\.Conv9d is not here.*docs/torch\.md"):
            room.Conv9d  # noqa: B018
    with pytest.raises(AttributeError, match=r"torch\.utils\.data\.Sampler is not here"):
        torch.utils.data.Sampler  # noqa: B018
