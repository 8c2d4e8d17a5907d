"""What the backend http is configured with, and what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scripted import Reply, Scripted, part_of

from pacifica_archive_core import ConfigError, load_options
from pacifica_archive_http.client import HttpArchive, HttpOptions

WITHOUT_URLLIB3 = """
import sys
sys.modules["urllib3"] = None
from pacifica_archive_core import BackendLoadError, load_backend
try:
    load_backend("http")
except BackendLoadError as exc:
    print(exc)
"""


def test_without_urllib3_it_is_said_what_to_install() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_URLLIB3],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout

    assert "pip install 'pacifica-archive-http[client]'" in said


def test_the_server_is_imported_without_urllib3() -> None:
    code = "import sys, pacifica_archive_http; print('urllib3' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout

    assert "False\n" == said


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://archive", "http://archive"),
        ("http://archive:8080/", "http://archive:8080"),
        ("https://archive/a/b/", "https://archive/a/b"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_is_kept_without_the_slash_at_its_end(given: str, kept: str) -> None:
    assert kept == HttpOptions(prefix=given).prefix


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "archive",
        "ftp://archive",
        "http://",
        "http://:80",
        "http://user@archive",
        "http://user:password@archive",
        "http://archive:0",
        "http://archive:port",
        "http://archive:99999",
        "http://archive?x",
        "http://archive/#x",
        "http://arch ive",
        "http://archive\n",
        "http://archive/\u00e4",
    ],
)
def test_what_is_no_address_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="an address is"):
        load_options(HttpArchive, given={"prefix": prefix})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connect_timeout_s", "0"),
        ("timeout_s", "-1"),
        ("timeout_s", "nan"),
        ("retry_for_s", "inf"),
        ("recall_timeout_s", "soon"),
        ("max_connections", "0"),
        ("max_connections", "1.5"),
    ],
)
def test_a_number_out_of_bounds_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_options(HttpArchive, given={"prefix": "http://archive", name: value})


def test_a_ca_file_that_is_not_there_is_refused() -> None:
    options = HttpOptions(prefix="https://archive", ca_file="/nowhere/ca.pem")

    with pytest.raises(ConfigError, match="ca_file"):
        HttpArchive(options)


def test_nothing_is_asked_when_an_archive_is_opened() -> None:
    """A client may start before its server does."""
    with Scripted(lambda _: None) as server:
        HttpArchive(HttpOptions(prefix=server.url)).close()

    assert [] == server.asked


def test_the_path_of_the_address_is_kept() -> None:
    with (
        Scripted(lambda asked: part_of(b"data", asked)) as server,
        HttpArchive(HttpOptions(prefix=f"{server.url}/a/b/")) as archive,
    ):
        archive.open(5).close()

    assert ["/a/b/files/5"] == [asked.target for asked in server.asked]


def test_proxies_of_the_environment_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Scripted(lambda _: Reply(status=502)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with (
            Scripted(lambda asked: part_of(b"data", asked)) as server,
            HttpArchive(HttpOptions(prefix=server.url)) as archive,
        ):
            archive.open(5).close()

    assert [] == proxy.asked
