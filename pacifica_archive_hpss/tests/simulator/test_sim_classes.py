"""Facts 8.4: classes of service, and which one a file gets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator

CREATE = "O_CREAT|O_EXCL|O_WRONLY"
MIB = 1 << 20
SMALL = 6  # up to 1 MiB


def cos_of(simulator: Simulator, path: str) -> int:
    return simulator.ls(path)[0]["cos"]


@pytest.mark.parametrize(
    ("cos", "media"),
    [
        (1, ["disk", "tape"]),
        (2, ["disk", "tape", "tape"]),
        (3, ["disk", "disk", "tape"]),
        (4, ["tape"]),
        (5, ["disk"]),
        (6, ["disk", "tape"]),
    ],
)
def test_the_classes_have_their_levels(
    client: Client, simulator: Simulator, cos: int, media: list[str]
) -> None:
    client.put("/f", b"hello", f"cos={cos}")

    assert media == [level["media"] for level in simulator.ls("/f")[0]["levels"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_class_may_be_asked_for(client: Client) -> None:
    assert 3 == client("Open", "/f", CREATE, 0o644, "cos=3")["cos"]


def test_a_class_that_is_not_there_is_refused(client: Client) -> None:
    assert -errno.EINVAL == client.rc("Open", "/f", CREATE, 0o644, "cos=99")


def test_without_hints_the_default_class_is_taken(client: Client) -> None:
    assert 1 == client("Open", "/f", CREATE, 0o644)["cos"]


def test_the_default_class_is_a_knob(client: Client, simulator: Simulator) -> None:
    simulator.knob("default_cos", 5)

    assert 5 == client("Open", "/f", CREATE, 0o644)["cos"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("size", "small"), [(100, True), (MIB, True), (2 * MIB, False)]
)
def test_hints_of_size_choose_the_class(
    client: Client, size: int, *, small: bool
) -> None:
    hints = (f"min={size}:REQUIRED_PRIORITY", f"max={size}:HIGHLY_DESIRED_PRIORITY")
    cos = client("Open", "/f", CREATE, 0o644, *hints)["cos"]

    assert small == (cos == SMALL)


def test_a_required_maximum_that_no_class_has_is_refused(client: Client) -> None:
    size = (1 << 63) - 1

    assert -errno.EINVAL == client.rc(
        "Open", "/f", CREATE, 0o644, "cos=6", f"max={size}:REQUIRED_PRIORITY"
    )


def test_a_highly_desired_maximum_that_no_class_has_is_not(client: Client) -> None:
    size = (1 << 63) - 1
    hints = ("cos=6", f"max={size}:HIGHLY_DESIRED_PRIORITY")

    assert 6 == client("Open", "/f", CREATE, 0o644, *hints)["cos"]


def test_an_existing_file_keeps_its_class_when_it_is_opened(client: Client) -> None:
    client.put("/f", b"hello", "cos=2")
    hints = (f"min={MIB}:REQUIRED_PRIORITY", f"max={MIB}:HIGHLY_DESIRED_PRIORITY")

    assert 2 == client("Open", "/f", "O_WRONLY|O_TRUNC", 0o644, *hints)["cos"]


def test_an_empty_open_file_may_be_given_another_class(
    client: Client, simulator: Simulator
) -> None:
    """As DSI overwrites: O_TRUNC, then hpss_SetCOSByHints."""
    client.put("/f", b"hello", "cos=2")
    fd = client.rc("Open", "/f", "O_WRONLY|O_TRUNC", 0o644)
    chosen = client("SetCOSByHints", fd, 100, 100)

    assert (0, SMALL, SMALL) == (chosen["rc"], chosen["cos"], cos_of(simulator, "/f"))


def test_the_attributes_tell_the_class(client: Client) -> None:
    client.put("/f", b"hello", "cos=2")

    assert 2 == client("FileGetAttributes", "/f")["cos"]
