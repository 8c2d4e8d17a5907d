from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from pacifica_archive_core import (
    Archive,
    ConfigError,
    MemoryArchive,
    MemoryOptions,
    find_config,
    load_options,
    option,
    to_bool,
)
from pacifica_archive_core.options import (
    FileSecret,
    check_command_line,
    environment_prefix,
    is_secret,
    option_help,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2%(x)s"  # noqa: S105 (made up)


@attrs.frozen(kw_only=True)
class SiteOptions:
    prefix: str = option("where files live")
    port: int = option(
        "of the database", default=3306, converter=int, validator=attrs.validators.gt(0)
    )
    flat: bool = option("one directory", default=False, converter=to_bool)
    password: str = option("of the database", default="", secret=True)
    pin: int = option("a secret number", default=0, converter=int, secret=True)
    wait_s: int = option("seconds", default=5, converter=int, aliases=("wait",))
    token: str | None = option(
        "who asks", default=None, secret=True, on_command_line=False
    )


class SiteArchive(Archive):
    """A backend with every kind of option; never opened here."""

    options_class = SiteOptions
    config_sections = ("hms_sideband", "hsm_sideband")


GIVEN = {"prefix": "/given"}


@pytest.fixture
def ini(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes an INI file."""

    def write(text: str) -> Path:
        path = tmp_path / "config.cfg"
        path.write_text(text, "utf-8")
        return path

    return write


def load(**sources: Any) -> Any:  # noqa: ANN401 (as load_options)
    """Load the options of the backend above."""
    return load_options(SiteArchive, **sources)


def error(**sources: Any) -> ConfigError:  # noqa: ANN401 (as load_options)
    """Return why options cannot be loaded."""
    with pytest.raises(ConfigError) as caught:
        load(**sources)
    return caught.value


# --- where they come from


def test_an_older_name_of_a_file_is_taken(ini: Callable[[str], Path]) -> None:
    found = load(file=ini("[hms_sideband]\nprefix = /p\nwait = 7\n"))

    assert 7 == found.wait_s


def test_an_older_name_is_taken_of_a_caller() -> None:
    assert 7 == load(given={**GIVEN, "wait": "7"}).wait_s


def test_an_older_name_wins_over_the_file_as_its_option_would(
    ini: Callable[[str], Path],
) -> None:
    file = ini("[hms_sideband]\nwait_s = 7\n")

    assert 8 == load(file=file, given={**GIVEN, "wait": "8"}).wait_s


def test_an_older_name_is_none_of_the_environment() -> None:
    found = error(given=GIVEN, env={"PACIFICA_ARCHIVE_HMSSIDEBAND_WAIT": "7"})

    assert "environment: hms_sideband has no option 'wait'" in str(found)


def test_two_names_of_one_option_are_refused(ini: Callable[[str], Path]) -> None:
    found = error(file=ini("[hms_sideband]\nwait = 7\nwait_s = 7\n"))

    assert "file: wait is wait_s: give one of them" == str(found)


def test_defaults_are_taken() -> None:
    assert SiteOptions(prefix="/given") == load(given=GIVEN)


def test_the_file_gives_options(ini: Callable[[str], Path]) -> None:
    file = ini("[hms_sideband]\nprefix = /file\nport = 1\nflat = yes\n")

    assert SiteOptions(prefix="/file", port=1, flat=True) == load(file=file)


def test_the_environment_gives_options() -> None:
    env = {
        "PACIFICA_ARCHIVE_HMSSIDEBAND_PREFIX": "/env",
        "PACIFICA_ARCHIVE_HMSSIDEBAND_FLAT": "on",
        "PACIFICA_ARCHIVE_OTHER_PORT": "17",
        "HOME": "/root",
    }

    assert SiteOptions(prefix="/env", flat=True) == load(env=env)


def test_later_sources_win(ini: Callable[[str], Path]) -> None:
    file = ini("[hms_sideband]\nprefix = /file\nport = 1\nflat = yes\n")
    env = {
        "PACIFICA_ARCHIVE_HMSSIDEBAND_PREFIX": "/env",
        "PACIFICA_ARCHIVE_HMSSIDEBAND_PORT": "2",
    }
    found = load(file=file, env=env, given={"prefix": "/given"})

    assert SiteOptions(prefix="/given", port=2, flat=True) == found


def test_the_prefix_of_release_042_wins_over_the_file(
    ini: Callable[[str], Path],
) -> None:
    file = ini("[hms_sideband]\nprefix = /file\n")

    assert "/pai" == load(file=file, env={"PAI_PREFIX": "/pai"}).prefix


def test_our_variable_wins_over_that_of_release_042() -> None:
    env = {"PACIFICA_ARCHIVE_HMSSIDEBAND_PREFIX": "/env", "PAI_PREFIX": "/pai"}

    assert "/env" == load(env=env).prefix


def test_an_empty_prefix_of_release_042_is_none() -> None:
    assert "/given" == load(env={"PAI_PREFIX": ""}, given=GIVEN).prefix


def test_a_backend_without_prefix_passes_over_that_of_release_042() -> None:
    found = load_options(MemoryArchive, env={"PAI_PREFIX": "/pai"})

    assert MemoryOptions() == found


def test_the_real_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACIFICA_ARCHIVE_HMSSIDEBAND_PORT", "17")

    assert 3306 == load(given=GIVEN).port


def test_no_file_is_read_that_is_not_given(
    ini: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ini("[hms_sideband]\nport = 17\n").parent)

    assert 3306 == load(given=GIVEN).port


def test_sections_of_others_are_passed_over(ini: Callable[[str], Path]) -> None:
    file = ini("[posix]\nuse_id2filename = true\n[hpss]\nuser = hpss.unix\n")

    assert SiteOptions(prefix="/given") == load(file=file, given=GIVEN)


@pytest.mark.parametrize("section", SiteArchive.config_sections)
def test_each_of_its_sections_counts(ini: Callable[[str], Path], section: str) -> None:
    """The seed and release 0.4.2 spell it differently."""
    file = ini(f"[{section}]\nport = 17\n")

    assert 17 == load(file=file, given=GIVEN).port


def test_two_sections_of_one_backend_are_refused(ini: Callable[[str], Path]) -> None:
    file = ini("[hms_sideband]\nport = 1\n[hsm_sideband]\nport = 2\n")
    message = str(error(file=file, given=GIVEN))

    assert all(section in message for section in SiteArchive.config_sections)


def test_keys_of_a_file_may_be_in_capitals(ini: Callable[[str], Path]) -> None:
    file = ini("[hms_sideband]\nPort = 17\n")

    assert 17 == load(file=file, given=GIVEN).port


def test_percent_signs_are_themselves(ini: Callable[[str], Path]) -> None:
    file = ini("[hms_sideband]\npassword = 100%sure%%\n")

    assert "100%sure%%" == load(file=file, given=GIVEN).password


def test_a_default_section_is_not_known(ini: Callable[[str], Path]) -> None:
    file = ini("[DEFAULT]\nport = 17\n[hms_sideband]\nflat = yes\n")

    assert 3306 == load(file=file, given=GIVEN).port


@pytest.mark.parametrize(
    ("archive_class", "prefix"),
    [
        (SiteArchive, "PACIFICA_ARCHIVE_HMSSIDEBAND_"),
        (MemoryArchive, "PACIFICA_ARCHIVE_MEMORY_"),
    ],
)
def test_variables_have_the_first_name_of_the_backend(
    archive_class: type[Archive], prefix: str
) -> None:
    assert prefix == environment_prefix(archive_class)


# --- what is wrong


@pytest.mark.parametrize(
    "source",
    ["file", "environment", "options given"],
)
def test_an_unknown_key_is_refused_with_the_known_ones(
    ini: Callable[[str], Path], source: str
) -> None:
    sources: dict[str, Any] = {
        "file": {"file": ini("[hms_sideband]\nprt = 17\n")},
        "environment": {"env": {"PACIFICA_ARCHIVE_HMSSIDEBAND_PRT": "17"}},
        "options given": {"given": {"prt": "17"}},
    }
    message = str(error(**sources[source]))
    known = (
        "flat, password, password_file, pin, pin_file, port, prefix, token,"
        " token_file, wait_s"
    )

    assert f"{source}: hms_sideband has no option 'prt'; known are {known}" == message


def test_an_unknown_key_is_refused_though_a_later_source_is_right(
    ini: Callable[[str], Path],
) -> None:
    file = ini("[hms_sideband]\nprt = 17\n")

    assert "'prt'" in str(error(file=file, given={**GIVEN, "port": 1}))


def test_a_missing_option_is_named_with_its_help() -> None:
    assert "hms_sideband needs the option 'prefix': where files live" == str(error())


@pytest.mark.parametrize(
    ("key", "value"), [("port", "many"), ("port", "-1"), ("flat", "perhaps")]
)
def test_a_wrong_value_is_named(key: str, value: str) -> None:
    message = str(error(given={**GIVEN, key: value}))

    assert f"option {key!r} of hms_sideband is {value!r}: " in message


def test_a_wrong_value_has_its_cause() -> None:
    assert isinstance(error(given={**GIVEN, "port": "many"}).__cause__, ValueError)


def test_typed_values_are_taken() -> None:
    found = load(given={**GIVEN, "port": 17, "flat": True})

    assert (17, True) == (found.port, found.flat)


@pytest.mark.parametrize(
    "text",
    [
        "port = 17\n",
        "[hms_sideband]\nport\n",
        "[hms_sideband\nport = 17\n",
        "[hms_sideband]\nport = 1\nport = 2\n",
        "[hms_sideband]\n[hms_sideband]\n",
    ],
)
def test_a_file_that_is_no_ini_file_is_refused(
    ini: Callable[[str], Path], text: str
) -> None:
    assert "the configuration file is wrong" in str(error(file=ini(text), given=GIVEN))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.cfg"
    file.write_bytes(b"\xff\xfe\x00")

    assert "cannot be read" in str(error(file=file, given=GIVEN))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in str(error(file=tmp_path / "none.cfg", given=GIVEN))


# --- secrets


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n", "utf-8")

    assert SECRET == load(given={**GIVEN, "password_file": str(file)}).password


def test_a_secret_of_a_file_knows_its_file(tmp_path: Path) -> None:
    """A token that is renewed there is to be read again."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n", "utf-8")

    assert file == load(given={**GIVEN, "password_file": str(file)}).password.path


def test_a_pickled_secret_of_a_file_is_its_name(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET, "utf-8")
    secret = FileSecret(tmp_path / "password")

    assert SECRET.encode() not in pickle.dumps(secret)


def test_a_pickled_secret_of_a_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of yesterday", "utf-8")
    pickled = pickle.dumps(FileSecret(tmp_path / "password"))
    (tmp_path / "password").write_text(SECRET, "utf-8")

    assert SECRET == pickle.loads(pickled)  # noqa: S301 (its own)


def test_a_value_that_all_users_would_see_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        check_command_line(SiteArchive, {"prefix": "/p", "token": SECRET})

    assert (
        "-o token=... can be seen by every user of this host: give -o"
        " token_file=FILE, or PACIFICA_ARCHIVE_HMSSIDEBAND_TOKEN in the environment"
        == str(caught.value)
    )


def test_only_the_end_of_the_line_is_cut_from_a_secret(tmp_path: Path) -> None:
    """A blank may belong to it."""
    file = tmp_path / "password"
    file.write_bytes(b" a b \r\n")

    assert " a b " == load(given={**GIVEN, "password_file": file}).password


def test_a_secret_of_a_file_is_converted(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text("1234\n", "utf-8")

    assert 1234 == load(given={**GIVEN, "pin_file": file}).pin


def test_a_secret_file_of_a_later_source_wins(
    tmp_path: Path, ini: Callable[[str], Path]
) -> None:
    (tmp_path / "password").write_text("new", "utf-8")
    env = {"PACIFICA_ARCHIVE_HMSSIDEBAND_PASSWORD_FILE": str(tmp_path / "password")}
    file = ini("[hms_sideband]\npassword = old\n")

    assert "new" == load(file=file, env=env, given=GIVEN).password


def test_a_secret_and_its_file_are_refused_together(tmp_path: Path) -> None:
    given = {**GIVEN, "password": SECRET, "password_file": str(tmp_path / "password")}

    assert "options given: give password or password_file, not both" == str(
        error(given=given)
    )


def test_a_secret_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    given = {**GIVEN, "password_file": str(tmp_path / "none")}

    assert "options given: password_file cannot be read" == str(error(given=given))


def test_only_secrets_have_files() -> None:
    assert "'prefix_file'" in str(error(given={"prefix_file": "/etc/prefix"}))


def test_a_secret_is_not_in_repr() -> None:
    assert SECRET not in repr(load(given={**GIVEN, "password": SECRET}))


@pytest.mark.parametrize(
    "sources",
    [
        {"given": {**GIVEN, "pin": SECRET}},
        {"env": {"PACIFICA_ARCHIVE_HMSSIDEBAND_PIN": SECRET}, "given": GIVEN},
        {"given": {"password": SECRET}},
        {"given": {**GIVEN, "password": SECRET, "port": "many"}},
    ],
)
def test_a_secret_is_in_no_message_and_no_traceback(sources: dict[str, Any]) -> None:
    found = "".join(traceback.format_exception(error(**sources)))

    assert SECRET not in found


def test_a_secret_that_is_not_allowed_is_said_to_be_so() -> None:
    found = str(error(given={**GIVEN, "pin": SECRET}))

    assert found.startswith("option 'pin' of hms_sideband has a value that is not")


@pytest.mark.parametrize(
    "text", [f"password = {SECRET}\n", f"[hms_sideband]\npassword {SECRET}\n"]
)
def test_a_secret_in_a_broken_file_is_in_no_traceback(
    ini: Callable[[str], Path], text: str
) -> None:
    """The parser's own errors show the line."""
    found = "".join(traceback.format_exception(error(file=ini(text), given=GIVEN)))

    assert SECRET not in found


# --- the file itself


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory that has every configuration file there may be."""
    monkeypatch.chdir(tmp_path)
    for name in ("given", "first", "second", "config"):
        (tmp_path / f"{name}.cfg").touch()
    return tmp_path


ENV = {"ARCHIVEI_CONFIG": "first.cfg", "ARCHIVEINTERFACE_CONFIG": "second.cfg"}


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ("given.cfg", ["ARCHIVEI_CONFIG", "ARCHIVEINTERFACE_CONFIG"], "given.cfg"),
        (None, ["ARCHIVEI_CONFIG", "ARCHIVEINTERFACE_CONFIG"], "first.cfg"),
        (None, ["ARCHIVEINTERFACE_CONFIG"], "second.cfg"),
        (None, [], "config.cfg"),
    ],
)
def test_the_first_file_named_is_taken(
    site: Path, given: str | None, variables: list[str], expected: str
) -> None:
    del site
    env = {variable: ENV[variable] for variable in variables}

    assert Path(expected) == find_config(given, env)


def test_without_any_file_there_is_none(site: Path) -> None:
    (site / "config.cfg").unlink()

    assert find_config(None, {}) is None


def test_an_empty_variable_names_no_file(site: Path) -> None:
    del site

    assert Path("config.cfg") == find_config(None, {"ARCHIVEI_CONFIG": ""})


@pytest.mark.parametrize("source", ["--config", *ENV])
def test_a_file_that_is_named_must_be_there(site: Path, source: str) -> None:
    """Release 0.4.2 went on with its defaults, and another archive."""
    del site
    given = "none.cfg" if source == "--config" else None

    with pytest.raises(ConfigError, match=f"{source}: there is no file none.cfg"):
        find_config(given, {source: "none.cfg"})


# --- words and declarations


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, True) for word in ("true", "True", "YES", "on", "1", " yes ", True)),
        *((word, False) for word in ("false", "No", "OFF", "0", False)),
    ],
)
def test_the_words_of_ini_files_are_booleans(word: str | bool, value: bool) -> None:  # noqa: FBT001 (as to_bool)
    assert value is to_bool(word)


@pytest.mark.parametrize("word", ["", "2", "maybe", "truefalse", None, 1])
def test_other_words_are_no_booleans(word: Any) -> None:  # noqa: ANN401 (anything)
    with pytest.raises(ValueError, match="allowed are true"):
        to_bool(word)


def test_an_option_keeps_its_help_and_its_secrecy() -> None:
    fields = attrs.fields_dict(SiteOptions)
    found = {name: (option_help(f), is_secret(f)) for name, f in fields.items()}

    assert {
        "prefix": ("where files live", False),
        "port": ("of the database", False),
        "flat": ("one directory", False),
        "password": ("of the database", True),
        "pin": ("a secret number", True),
        "wait_s": ("seconds", False),
        "token": ("who asks", True),
    } == found
