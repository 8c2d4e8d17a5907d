from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core import ConfigError
from pacifica_archive_core.backends import backend_names, load_backend
from pacifica_archive_core.options import load_options
from pacifica_archive_hmssideband import HmsSidebandArchive, HmsSidebandOptions
from pacifica_archive_hmssideband import options as options_module

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "p@ss:w/rd%41"  # noqa: S105 (of no database)
SERVER = {"host": "db.example", "user": "reader", "schema": "samfs1"}


def load(tmp_path: Path, **given: object) -> HmsSidebandOptions:
    values: dict[str, object] = {"prefix": tmp_path, "sam_qfs_prefix": "/", **given}
    options: HmsSidebandOptions = load_options(HmsSidebandArchive, given=values)
    return options


@pytest.mark.parametrize("name", ["hmssideband", "hsmsideband"])
def test_both_names_are_this_backend(name: str) -> None:
    assert HmsSidebandArchive is load_backend(name)


def test_both_names_are_listed() -> None:
    assert {"hmssideband", "hsmsideband"} <= set(backend_names())


@pytest.mark.parametrize("section", ["hms_sideband", "hsm_sideband"])
def test_the_section_of_the_seed_is_read(tmp_path: Path, section: str) -> None:
    """With every key that release 0.4.2 has."""
    config = tmp_path / "config.cfg"
    config.write_text(
        f"[{section}]\nsam_qfs_prefix = /data/pacifica/test/\nschema = samqfs1db\n"
        f"host = db.example\nuser = reader\npassword = {PASSWORD}\nport = 3307\n"
    )
    options = load_options(HmsSidebandArchive, file=config, given={"prefix": tmp_path})

    assert (
        "/data/pacifica/test",
        "samqfs1db",
        "db.example",
        "reader",
        PASSWORD,
        3307,
    ) == (
        options.sam_qfs_prefix,
        options.schema,
        options.host,
        options.user,
        options.password,
        options.port,
    )


def test_the_environment_has_the_name_of_the_backend(tmp_path: Path) -> None:
    env = {
        "PACIFICA_ARCHIVE_HMSSIDEBAND_PREFIX": str(tmp_path),
        "PACIFICA_ARCHIVE_HMSSIDEBAND_SAM_QFS_PREFIX": "/data",
        "PACIFICA_ARCHIVE_HMSSIDEBAND_URL": "sqlite:////tmp/x.db",
    }

    assert "/data" == load_options(HmsSidebandArchive, env=env).sam_qfs_prefix


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ""),
        ("/", ""),
        ("//", ""),
        ("data", "/data"),
        ("/data", "/data"),
        ("/data/", "/data"),
        ("//data//x/", "/data/x"),
    ],
)
def test_slashes_of_the_database_s_prefix_do_not_matter(
    tmp_path: Path, given: str, expected: str
) -> None:
    options = load(tmp_path, sam_qfs_prefix=given, **SERVER)

    assert expected == options.sam_qfs_prefix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sam_qfs_prefix", "/données"),
        ("sam_qfs_prefix", "/data/../x"),
        ("sam_qfs_prefix", "/data\0"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "mysql"),
        ("pool_size", "0"),
        ("connect_timeout_s", "0"),
        ("connect_timeout_s", "nan"),
        ("query_timeout_s", "inf"),
        ("stage_timeout_s", "-1"),
        ("recall_timeout_s", "1e9"),
        ("max_partial", "-1"),
        ("inode_lookup", "perhaps"),
        ("stage_command", "stage 'open"),
        ("stage_command", "stage\0"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"option '{name}'"):
        load(tmp_path, **{**SERVER, name: value})


def test_a_url_that_is_none_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="option 'url'") as info:
        load(tmp_path, url=f"mysql {PASSWORD}")

    assert PASSWORD not in str(info.value)


@pytest.mark.parametrize("name", ["passwd", "password"])
def test_a_password_has_its_place_in_a_url(tmp_path: Path, name: str) -> None:
    """In the query it would be shown wherever the URL is."""
    with pytest.raises(ConfigError, match="option 'url'") as info:
        load(tmp_path, url=f"mysql+pymysql://reader@db/samfs1?{name}={PASSWORD}")

    assert PASSWORD not in str(info.value)


@pytest.mark.parametrize("missing", SERVER)
def test_a_database_has_to_be_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ConfigError, match="host, user and schema, or url"):
        load(tmp_path, **{n: v for n, v in SERVER.items() if n != missing})


@pytest.mark.parametrize("name", [*SERVER, "password"])
def test_a_database_is_named_in_one_way(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="not both"):
        load(tmp_path, **{"url": "sqlite://", name: "x"})


def test_a_url_is_made_of_the_five(tmp_path: Path) -> None:
    """And what would end a part of it is part of the password."""
    url = load(tmp_path, **SERVER, password=PASSWORD, port="3307").database_url

    assert ("mysql+pymysql", "db.example", 3307, "reader", PASSWORD, "samfs1") == (
        url.drivername,
        url.host,
        url.port,
        url.username,
        url.password,
        url.database,
    )


def test_a_url_is_taken_as_it_is(tmp_path: Path) -> None:
    text = "mysql+pymysql://reader:secret@db.example/samfs1?unix_socket=%2Frun%2Fs"
    url = load(tmp_path, url=text).database_url

    assert text == url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "server",
    [
        {**SERVER, "password": PASSWORD},
        {"url": "mysql+pymysql://reader:p%40ss%3Aw%2Frd%2541@db.example/samfs1"},
    ],
)
def test_the_password_is_not_in_the_repr(
    tmp_path: Path, server: dict[str, object]
) -> None:
    options = load(tmp_path, **server)
    texts = f"{options!r} {options.database_url!r} {options.database_url}"

    assert not [text for text in (PASSWORD, "p%40ss") if text in texts]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ssh mds '/a b/stage' -f", ("ssh", "mds", "/a b/stage", "-f")),
        (("/a b/stage",), ("/a b/stage",)),
        ("", ()),
    ],
)
def test_a_stage_command_is_words(
    tmp_path: Path, given: object, expected: tuple[str, ...]
) -> None:
    options = load(tmp_path, **SERVER, stage_command=given)

    assert expected == options.effective_stage_command


@pytest.mark.parametrize("installed", [True, False])
def test_the_hsm_s_own_command_is_used_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    command = tmp_path / "stage"
    if installed:
        command.touch(mode=stat.S_IRWXU)
    monkeypatch.setattr(options_module, "STAGE_COMMAND", command)
    options = load(tmp_path, **SERVER)

    assert ((str(command),) if installed else ()) == options.effective_stage_command


def test_a_command_that_cannot_be_looked_for_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a directory that is closed to us, or here by its name."""
    monkeypatch.setattr(options_module, "STAGE_COMMAND", tmp_path / ("x" * 300))

    assert () == load(tmp_path, **SERVER).effective_stage_command
