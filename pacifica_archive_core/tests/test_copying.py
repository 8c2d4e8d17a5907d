from __future__ import annotations

import hashlib
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica_archive_core import copy


class Recording(io.BytesIO):
    """Remembers the sizes asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append(size)
        return super().read(size)


class Short(io.BytesIO):
    """Returns less than asked for, as sockets and pipes do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 3))


@given(
    st.binary(max_size=100),
    st.none() | st.integers(0, 120),
    st.integers(1, 40),
    st.sampled_from([io.BytesIO, Short]),
)
def test_what_comes_is_the_source_up_to_the_size(
    data: bytes, size: int | None, block_size: int, kind: type[io.BytesIO]
) -> None:
    sink = io.BytesIO()
    count = copy(kind(data), sink, block_size=block_size, size=size)
    expected = data if size is None else data[:size]

    assert (len(expected), expected) == (count, sink.getvalue())


def test_it_never_asks_for_more_than_the_size() -> None:
    """The next byte of a connection belongs to the next request; or never comes."""
    source = Recording(b"x" * 100)
    copy(source, io.BytesIO(), block_size=8, size=20)

    assert [8, 8, 4] == source.asked


def test_a_source_that_does_not_wait_has_not_ended() -> None:
    """Else what came before would be stored as the whole file."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b"a part")
    with (
        open(reading, "rb", buffering=0) as source,  # noqa: PTH123 (a descriptor)
        open(writing, "wb"),  # noqa: PTH123 (a descriptor)
        pytest.raises(BlockingIOError),
    ):
        copy(source, io.BytesIO(), block_size=8)


def test_a_size_of_nothing_asks_for_nothing() -> None:
    source = Recording(b"x" * 100)
    copy(source, io.BytesIO(), block_size=8, size=0)

    assert [] == source.asked


def test_without_a_size_it_reads_to_the_end() -> None:
    source = Recording(b"x" * 20)
    copy(source, io.BytesIO(), block_size=8)

    assert [8, 8, 8, 8] == source.asked


def test_a_source_that_ends_early_is_counted_and_no_error() -> None:
    assert 5 == copy(io.BytesIO(b"12345"), io.BytesIO(), block_size=8, size=100)


def test_hashers_see_every_byte() -> None:
    data = bytes(range(256)) * 9
    hashers = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
    copy(Short(data), io.BytesIO(), block_size=7, hashers=hashers)

    assert [
        hashlib.sha256(data).digest(),
        hashlib.md5(data, usedforsecurity=False).digest(),
    ] == [hasher.digest() for hasher in hashers]


def test_hashers_see_no_byte_behind_the_size() -> None:
    hasher = hashlib.sha256()
    copy(
        io.BytesIO(b"1234567890"), io.BytesIO(), block_size=4, size=5, hashers=[hasher]
    )

    assert hashlib.sha256(b"12345").digest() == hasher.digest()


def test_an_error_of_the_sink_goes_on() -> None:
    sink = io.BytesIO()
    sink.close()

    with pytest.raises(ValueError, match="closed"):
        copy(io.BytesIO(b"data"), sink, block_size=4)
