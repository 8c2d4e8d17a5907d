from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica_archive_core import (
    MAX_FILE_ID,
    InvalidFileId,
    filename2id,
    id2filename,
)
from pacifica_archive_core.ids import checked_file_id

# The first five lines: release 0.4.2, run. The others by hand from its rule.
KNOWN = {
    12345: "/39/3039",
    1234: "/d2/4d2",
    32768: "/00/8000",
    1: "/file.1",
    -1: "/file.-1",
    0: "/file.0",
    9: "/file.9",
    16: "/file.10",
    255: "/file.ff",
    256: "/00/100",
    4095: "/ff/fff",
    65535: "/ff/ffff",
    65536: "/00/00/10000",
    2**32: "/00/00/00/00/100000000",
    2**63 - 1: "/ff/ff/ff/ff/ff/ff/ff/7fffffffffffffff",
}
whole_range = st.integers(0, MAX_FILE_ID)


@pytest.mark.parametrize(("file_id", "name"), KNOWN.items())
def test_known_ids_have_their_names(file_id: int, name: str) -> None:
    assert name == id2filename(file_id)


@pytest.mark.parametrize(("file_id", "name"), KNOWN.items())
def test_known_names_have_their_ids(file_id: int, name: str) -> None:
    assert file_id == filename2id(name)


@given(whole_range)
def test_every_id_comes_back_from_its_name(file_id: int) -> None:
    assert file_id == filename2id(id2filename(file_id))


@given(st.integers(-(2**70), 2**70))
def test_every_integer_comes_back_from_its_name(number: int) -> None:
    """The old functions took any; archives take ids only."""
    assert number == filename2id(id2filename(number))


@given(whole_range, whole_range)
def test_two_ids_have_two_names(one: int, two: int) -> None:
    assert (one == two) == (id2filename(one) == id2filename(two))


@given(whole_range, whole_range)
def test_no_name_is_a_directory_of_another(one: int, two: int) -> None:
    """Else one of the two could not be stored."""
    assert not id2filename(two).startswith(f"{id2filename(one)}/")


@given(whole_range)
def test_a_directory_holds_few_directories(file_id: int) -> None:
    """Each is named by one byte."""
    folders = id2filename(file_id).split("/")[1:-1]

    assert all(len(folder) == 2 and int(folder, 16) < 256 for folder in folders)


@given(st.text("0123456789abcdefABCDEF/.-_ file\n٣", max_size=20) | st.text())
def test_a_name_is_refused_or_exact(name: str) -> None:
    try:
        file_id = filename2id(name)
    except ValueError:
        return

    assert name == id2filename(file_id)


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "file.1", "/file.", "/file.01", "/file.100", "/file.1/", "/file.A",
        "/file.+1", "/file.0x1", "/file. 1", "/file.1\n", "/file.1_0", "/file.--1",
        "/d2/4D2", "/D2/4d2", "/d2/04d2", "/d3/4d2", "/4d2", "d2/4d2", "//d2/4d2",
        "/d2//4d2", "/d2/file.4d2", "/zz/4d2", "/00/d2/4d2", "/../4d2", "/file.٣",
    ],
)  # fmt: skip
def test_a_name_that_is_never_made_is_refused(name: str) -> None:
    """Release 0.4.2 took many of them, so that two names were one id."""
    with pytest.raises(ValueError, match="not a name that id2filename makes"):
        filename2id(name)


@pytest.mark.parametrize("file_id", [0, 1, MAX_FILE_ID])
def test_an_id_is_returned(file_id: int) -> None:
    assert file_id == checked_file_id(file_id)


@pytest.mark.parametrize("no_id", [True, -1, MAX_FILE_ID + 1, 1.0, "1", None])
def test_what_is_no_id_is_refused(no_id: object) -> None:
    with pytest.raises(InvalidFileId):
        checked_file_id(no_id)
