"""Files of each kind are read by their ids, and no more of them than is needed."""

from __future__ import annotations

import importlib
import multiprocessing
import random
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import fsspec  # type: ignore[import-untyped]
import numpy as np  # type: ignore[import-not-found,unused-ignore]
import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]
import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
import pyarrow.dataset  # type: ignore[import-not-found,import-untyped,unused-ignore]
import pyarrow.fs  # type: ignore[import-not-found,import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]
import pytest
import xarray as xr  # type: ignore[import-not-found,import-untyped,unused-ignore]
from wire import bytes_of, rest_of, sum_of_column

from pacifica_archive_core import Residency

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wire import Wire

    from pacifica_archive_core.filesystem import PacificaFileSystem

#: It has types, but not for what is called here.
dask: Any = importlib.import_module("dask")
dask_bytes: Any = importlib.import_module("dask.bytes")

MIB = 1 << 20
COLUMNS = [f"c{number:02}" for number in range(16)]


@pytest.fixture
def frame() -> pd.DataFrame:
    """Give 16 columns of random numbers, 8 MiB."""
    values = np.random.default_rng(42).random((MIB // 16, 16))
    return pd.DataFrame(values, columns=COLUMNS)


@pytest.fixture
def parquet(frame: pd.DataFrame, url: str, options: dict[str, Any]) -> str:
    """Store the columns as Parquet, in 4 groups of rows; return the URL."""
    frame.to_parquet(url, storage_options=options, row_group_size=MIB // 64)
    return url


# --- pandas ---


def test_csv_that_pandas_stored_is_read(
    frame: pd.DataFrame, url: str, options: dict[str, Any]
) -> None:
    frame.to_csv(url, index=False, storage_options=options)
    found = pd.read_csv(url, storage_options=options)

    pd.testing.assert_frame_equal(frame, found)


def test_begin_of_a_csv_moves_little(
    frame: pd.DataFrame, url: str, options: dict[str, Any], wire: Wire
) -> None:
    frame.to_csv(url, index=False, storage_options=options)
    with wire.counting() as came:
        found = pd.read_csv(url, storage_options=options, nrows=100)

    assert 100 == len(found)
    assert came[0] < fsspec.filesystem("pacifica", **options).size(url) / 4


def test_parquet_that_pandas_stored_is_read(
    frame: pd.DataFrame, parquet: str, options: dict[str, Any]
) -> None:
    pd.testing.assert_frame_equal(
        frame, pd.read_parquet(parquet, storage_options=options)
    )


def test_column_of_a_parquet_moves_little(
    frame: pd.DataFrame, parquet: str, options: dict[str, Any], wire: Wire
) -> None:
    with wire.counting() as came:
        found = pd.read_parquet(parquet, columns=["c07"], storage_options=options)

    pd.testing.assert_frame_equal(frame[["c07"]], found)
    assert came[0] < 8 * MIB / 4


# --- pyarrow ---


def test_column_of_a_group_moves_little(
    frame: pd.DataFrame, parquet: str, fs: PacificaFileSystem, wire: Wire
) -> None:
    """One of 64 pieces: 128 KiB."""
    with (
        wire.counting() as came,
        fs.open(parquet) as stream,
        pq.ParquetFile(stream) as file,
    ):
        found = file.read_row_group(2, columns=["c03"])["c03"].to_numpy()

    np.testing.assert_array_equal(frame["c03"][2 * MIB // 64 : 3 * MIB // 64], found)
    assert came[0] < 8 * MIB / 16


def test_dataset_of_arrow_reads_by_id(
    frame: pd.DataFrame, parquet: str, fs: PacificaFileSystem, wire: Wire
) -> None:
    files = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs))
    with wire.counting() as came:
        found = pq.read_table(
            parquet.removeprefix("pacifica://"), columns=["c15"], filesystem=files
        )

    np.testing.assert_array_equal(frame["c15"], found["c15"].to_numpy())
    assert came[0] < 8 * MIB / 4


def test_table_is_stored_by_arrow(url: str, fs: PacificaFileSystem) -> None:
    table = pa.table({"n": list(range(1000))})
    files = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs))
    path = url.removeprefix("pacifica://")
    pq.write_table(table, path, filesystem=files)

    assert table == pq.read_table(path, filesystem=files)


def test_arrow_is_told_of_a_file(url: str, fs: PacificaFileSystem) -> None:
    fs.pipe_file(url, b"five!")
    info = pa.fs.FSSpecHandler(fs).get_file_info([url])[0]

    assert (True, 5) == (info.is_file, info.size)


# --- xarray ---


@pytest.fixture
def netcdf(url: str, fs: PacificaFileSystem, tmp_path: Path) -> str:
    """Store 8 MiB of one variable, in 64 chunks, and its axes; return the URL."""
    field = np.random.default_rng(42).random((64, 128, 128))
    data = xr.Dataset(
        {"field": (("time", "y", "x"), field)},
        coords={"time": np.arange(64)},
        attrs={"title": "a field"},
    )
    local = tmp_path / "field.nc"
    data.to_netcdf(
        local, engine="h5netcdf", encoding={"field": {"chunksizes": (1, 128, 128)}}
    )
    fs.put(str(local), url)
    return url


@pytest.fixture
def field(netcdf: str, fs: PacificaFileSystem) -> Iterator[xr.Dataset]:
    """Open the variable."""
    with (
        fs.open(netcdf) as stream,
        xr.open_dataset(stream, engine="h5netcdf") as data,
    ):
        yield data


def test_netcdf_is_read(field: xr.Dataset) -> None:
    expected = np.random.default_rng(42).random((64, 128, 128))

    np.testing.assert_array_equal(expected, field["field"].to_numpy())
    assert "a field" == field.attrs["title"]


def test_slice_of_a_netcdf_moves_little(
    netcdf: str, fs: PacificaFileSystem, wire: Wire
) -> None:
    """One chunk of 128 KiB, and what says where it is."""
    with (
        wire.counting() as came,
        fs.open(netcdf) as stream,
        xr.open_dataset(stream, engine="h5netcdf") as data,
    ):
        found = data["field"].sel(time=40).to_numpy()

    np.testing.assert_array_equal(
        np.random.default_rng(42).random((64, 128, 128))[40], found
    )
    assert came[0] < 8 * MIB / 4


def test_netcdf_is_opened_by_its_url(netcdf: str, options: dict[str, Any]) -> None:
    with xr.open_dataset(
        netcdf, engine="h5netcdf", storage_options=options, decode_times=False
    ) as data:
        assert (64, 128, 128) == data["field"].shape


# --- zipfile ---


@pytest.fixture
def zipped(url: str, fs: PacificaFileSystem) -> str:
    """Store 8 members of 1 MiB, written as a stream; return the URL."""
    randbytes = random.Random(42).randbytes
    with fs.open(url, "wb") as stream, zipfile.ZipFile(stream, "w") as packed:
        for number in range(8):
            packed.writestr(f"member-{number}", randbytes(MIB))
    return url


def test_member_of_a_zip_file_moves_little(
    zipped: str, fs: PacificaFileSystem, wire: Wire
) -> None:
    randbytes = random.Random(42).randbytes
    expected = [randbytes(MIB) for _ in range(8)]
    with (
        wire.counting() as came,
        fs.open(zipped) as stream,
        zipfile.ZipFile(stream) as packed,
    ):
        found = packed.read("member-5")

    assert expected[5] == found
    assert came[0] < 8 * MIB / 2


# --- ranges ---


def test_range_moves_little(zipped: str, fs: PacificaFileSystem, wire: Wire) -> None:
    with wire.counting() as came:
        found = fs.cat_file(zipped, 5 * MIB, 5 * MIB + 100)

    assert 100 == len(found)
    assert came[0] < 0.25 * MIB


def test_ranges_of_a_file_move_little(
    zipped: str, fs: PacificaFileSystem, wire: Wire
) -> None:
    starts = [number * MIB for number in range(8)]
    with wire.counting() as came:
        found = fs.cat_ranges([zipped] * 8, starts, [start + 4 for start in starts])

    assert [fs.cat_file(zipped, start, start + 4) for start in starts] == found
    assert came[0] < 1 * MIB


# --- processes, threads, versions ---


@pytest.fixture(scope="module")
def children() -> Iterator[ProcessPoolExecutor]:
    """Give processes that are started anew, as on another machine."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_column_is_added_up_in_another_process(
    frame: pd.DataFrame,
    parquet: str,
    options: dict[str, Any],
    children: ProcessPoolExecutor,
) -> None:
    total = children.submit(sum_of_column, parquet, options, "c11").result()

    assert frame["c11"].sum() == total


def test_file_system_is_sent_to_another_process(
    url: str, fs: PacificaFileSystem, children: ProcessPoolExecutor
) -> None:
    fs.pipe_file(url, b"read elsewhere")

    assert b"read elsewhere" == children.submit(bytes_of, fs, url).result()


def test_open_file_is_sent_to_another_process(
    url: str, fs: PacificaFileSystem, children: ProcessPoolExecutor
) -> None:
    fs.pipe_file(url, b"read elsewhere")
    with fs.open(url) as file:
        file.seek(5)

        assert b"elsewhere" == children.submit(rest_of, file).result()


def test_blocks_of_dask_are_read_in_other_processes(
    url: str, fs: PacificaFileSystem, options: dict[str, Any]
) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(100_000))
    fs.pipe_file(url, lines)
    _, blocks = dask_bytes.read_bytes(
        [url], blocksize=MIB // 2, delimiter=b"\n", **options
    )
    found = dask.compute(*blocks[0], scheduler="processes", num_workers=2)

    assert (2, lines) == (len(found), b"".join(found))


def test_threads_read_and_store_at_once(options: dict[str, Any]) -> None:
    def exchange(file_id: int) -> bytes:
        content = b"%d" % file_id * 10_000
        with fsspec.open(f"pacifica://{file_id}", "wb", **options) as file:
            file.write(content)
        with fsspec.open(f"pacifica://{file_id}", **options) as file:
            found: bytes = file.read()
        return found

    ids = range(1_000_000, 1_000_128)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(exchange, ids))

    assert [b"%d" % file_id * 10_000 for file_id in ids] == found


def test_versions_are_never_mixed(url: str, fs: PacificaFileSystem) -> None:
    """The server keeps no old version: what was not fetched yet is an error."""
    fs.pipe_file(url, b"a" * (4 * MIB))
    with fs.open(url) as file:
        assert b"a" * 1000 == file.read(1000)
        fs.pipe_file(url, b"b" * (4 * MIB))
        file.seek(2 * MIB)
        with pytest.raises(OSError, match="was replaced, or its digests"):
            file.read(1000)


def test_missing_files_are_asked_for_in_bulk(
    url: str, fs: PacificaFileSystem, wire: Wire
) -> None:
    fs.pipe_file(url, b"here")
    with wire.counting() as came:
        found = fs.residency([url, *range(2_000_000, 2_000_500)], on_error="omit")

    assert {url.removeprefix("pacifica://"): Residency.DISK} == found
    # One by one they would be thrice that.
    assert came[0] < MIB / 16


def test_exclusive_mode_refuses_at_once(url: str, fs: PacificaFileSystem) -> None:
    fs.pipe_file(url, b"here")

    with pytest.raises(FileExistsError, match="in the archive already"):
        fs.open(url, "xb")
