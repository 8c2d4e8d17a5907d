"""Facts 8.13: names, links, times, modes and user-defined attributes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator

KEY = "/hpss/user/cksum/algorithm"


def paths(simulator: Simulator) -> list[str]:
    return sorted(entry["path"] for entry in simulator.ls())


@pytest.fixture
def tree(client: Client) -> Client:
    """Return a client with the directories /d and /e, and the file /d/f."""
    client("Mkdir", "/d", 0o755)
    client("Mkdir", "/e", 0o755)
    client.put("/d/f", b"hello")
    return client


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("Mkdir", "/d", 0o755), errno.EEXIST),
        (("Mkdir", "/absent/d", 0o755), errno.ENOENT),
        (("Mkdir", "/d/f/g", 0o755), errno.ENOTDIR),
        (("Rmdir", "/d"), errno.ENOTEMPTY),
        (("Rmdir", "/absent"), errno.ENOENT),
        (("Rmdir", "/d/f"), errno.ENOTDIR),
        (("Unlink", "/absent"), errno.ENOENT),
        (("Rename", "/absent", "/x"), errno.ENOENT),
        (("Rename", "/d/f", "/absent/x"), errno.ENOENT),
        (("Link", "/absent", "/x"), errno.ENOENT),
        (("Link", "/d/f", "/e"), errno.EEXIST),
        (("Chmod", "/absent", 0o644), errno.ENOENT),
        (("Utime", "/absent", 1), errno.ENOENT),
        (("Stat", "/d/f/g"), errno.ENOTDIR),
        (("Lstat", "/absent"), errno.ENOENT),
        (("Opendir", "/absent"), errno.ENOENT),
        (("Opendir", "/d/f"), errno.ENOTDIR),
        (("UserAttrGetAttrs", "/absent", KEY), errno.ENOENT),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_says_why(
    tree: Client, words: tuple[str | int, ...], code: int
) -> None:
    assert -code == tree.rc(*words)


def test_nothing_is_done_by_what_cannot_be_done(
    tree: Client, simulator: Simulator
) -> None:
    before = simulator.ls()
    tree("Rmdir", "/d")
    tree("Rename", "/d/f", "/absent/x")
    tree("Link", "/d/f", "/e")

    assert before == simulator.ls()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rename_moves_a_file(tree: Client, simulator: Simulator) -> None:
    assert (0, ["/", "/d", "/e", "/e/g"]) == (
        tree.rc("Rename", "/d/f", "/e/g"),
        paths(simulator),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rename_replaces_a_file(tree: Client) -> None:
    tree.put("/d/g", b"new")

    assert (0, b"new") == (tree.rc("Rename", "/d/g", "/d/f"), tree.get("/d/f"))


def test_a_rename_may_refuse_to_replace(tree: Client, simulator: Simulator) -> None:
    simulator.knob("rename_replaces", 0)
    tree.put("/d/g", b"new")

    assert (-errno.EEXIST, b"hello") == (
        tree.rc("Rename", "/d/g", "/d/f"),
        tree.get("/d/f"),
    )


def test_a_rename_onto_another_name_of_the_same_file_leaves_both(
    tree: Client, simulator: Simulator
) -> None:
    """As POSIX has it; a commit must not rely on it."""
    tree("Link", "/d/f", "/d/g")
    tree("Rename", "/d/f", "/d/g")

    assert ["/", "/d", "/d/f", "/d/g", "/e"] == paths(simulator)


def test_a_directory_may_be_renamed(tree: Client, simulator: Simulator) -> None:
    tree("Rename", "/d", "/x")

    assert ["/", "/e", "/x", "/x/f"] == paths(simulator)


def test_a_directory_is_not_moved_into_itself(tree: Client) -> None:
    assert -errno.EINVAL == tree.rc("Rename", "/d", "/d/x")


def test_a_reader_of_a_replaced_file_reads_on(tree: Client) -> None:
    fd = tree.rc("Open", "/d/f", "O_RDONLY", 0)
    tree.put("/d/g", b"new")
    tree("Rename", "/d/g", "/d/f")

    assert b"hello".hex() == tree("Read", fd, 9)["data"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_link_is_a_second_name(tree: Client) -> None:
    tree("Link", "/d/f", "/e/g")
    names = [tree("Lstat", path)["links"] for path in ("/d/f", "/e/g")]

    assert ([2, 2], b"hello") == (names, tree.get("/e/g"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_link_is_told_to_be_one(tree: Client) -> None:
    tree("Link", "/d/f", "/e/g")

    assert "HARD_LINK" == tree("FileGetAttributes", "/e/g")["type"]


def test_the_content_goes_with_the_last_name(tree: Client) -> None:
    tree("Link", "/d/f", "/e/g")
    tree("Unlink", "/d/f")

    assert (1, b"hello") == (tree("Lstat", "/e/g")["links"], tree.get("/e/g"))


def test_a_directory_has_no_second_name(tree: Client) -> None:
    assert 0 > tree.rc("Link", "/d", "/x")


def test_a_directory_is_not_unlinked(tree: Client) -> None:
    assert 0 > tree.rc("Unlink", "/e")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_symbolic_link_is_followed(tree: Client) -> None:
    tree("Symlink", "/d/f", "/s")

    assert (b"hello", 5) == (tree.get("/s"), tree("Stat", "/s")["size"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_symbolic_link_may_be_looked_at(tree: Client) -> None:
    tree("Symlink", "/d/f", "/s")

    assert (0o120000, "/d/f") == (
        tree("Lstat", "/s")["mode"] & 0o170000,
        tree("Readlink", "/s")["target"],
    )


def test_symbolic_links_in_the_middle_are_followed(tree: Client) -> None:
    tree("Symlink", "/d", "/s")

    assert b"hello" == tree.get("/s/f")


def test_symbolic_links_in_a_circle_are_too_many(tree: Client) -> None:
    tree("Symlink", "/b", "/a")
    tree("Symlink", "/a", "/b")

    assert -errno.ELOOP == tree.rc("Stat", "/a")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_listing_ends_with_a_name_of_no_length(tree: Client) -> None:
    tree.put("/d/g", b"")
    directory = tree.rc("Opendir", "/d")
    found = []
    while (answer := tree("Readdir", directory))["length"]:
        found.append(answer["name"])

    assert (0, {"f", "g"}, 0) == (
        answer["rc"],
        set(found) - {".", ".."},
        tree.rc("Closedir", directory),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_times_are_set_to_the_second(tree: Client) -> None:
    tree("Utime", "/d/f", 1_234_567_890)

    assert 1_234_567_890 == tree("Stat", "/d/f")["mtime"]


def test_times_have_32_bits_without_a_sign(tree: Client) -> None:
    tree("Utime", "/d/f", 2**32 - 1)

    assert 2**32 - 1 == tree("Stat", "/d/f")["mtime"]


@pytest.mark.parametrize("version", VERSIONS)
def test_modes_are_set(tree: Client) -> None:
    tree("Chmod", "/d/f", 0o444)

    assert 0o100444 == tree("Lstat", "/d/f")["mode"]


def test_an_unlink_needs_no_write_permission_of_the_file(tree: Client) -> None:
    tree("Chmod", "/d/f", 0o444)

    assert 0 == tree.rc("Unlink", "/d/f")


@pytest.mark.parametrize(
    "path", ["EMPTY", "relative", "/../x/..", "/d/../d/f", "/d/./f", "//d//f", "/d/f/"]
)
def test_odd_paths_do_not_crash(tree: Client, path: str) -> None:
    tree.rc("Stat", path)

    assert 0 == tree.rc("Stat", "/d/f")


def test_an_empty_path_is_no_file(tree: Client) -> None:
    assert -errno.ENOENT == tree.rc("Open", "EMPTY", "O_RDONLY", 0)


def test_a_name_of_255_bytes_is_kept(tree: Client, simulator: Simulator) -> None:
    tree.put("/" + "n" * 255, b"")

    assert "/" + "n" * 255 in paths(simulator)


def test_a_name_of_256_bytes_is_too_long(tree: Client) -> None:
    assert -errno.ENAMETOOLONG == tree.rc("Mkdir", "/" + "n" * 256, 0o755)


def test_names_in_utf_8_are_kept(tree: Client, simulator: Simulator) -> None:
    tree.put("/ünïcødé 名", b"")

    assert "/ünïcødé 名" in paths(simulator)


# --- user-defined attributes -------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_attributes_are_kept(tree: Client) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, "md5", "/hpss/user/x", "y")

    assert ["y", "md5"] == tree("UserAttrGetAttrs", "/d/f", "/hpss/user/x", KEY)[
        "values"
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_attributes_come_back_as_xml(tree: Client) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, "md5")

    assert [1] == tree("UserAttrGetAttrs", "/d/f", KEY)["xml"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_attribute_is_told_so(tree: Client) -> None:
    assert -errno.ENOENT == tree.rc("UserAttrGetAttrs", "/d/f", KEY)


@pytest.mark.parametrize("key", ["user/x", "/user/x", "hpss/x"])
def test_keys_begin_with_hpss(tree: Client, key: str) -> None:
    assert 0 > tree.rc("UserAttrSetAttrs", "/d/f", key, "v")


def test_attributes_are_replaced(tree: Client) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, "md5")
    tree("UserAttrSetAttrs", "/d/f", KEY, "sha1")

    assert ["sha1"] == tree("UserAttrGetAttrs", "/d/f", KEY)["values"]


def test_attributes_are_deleted(tree: Client) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, "md5")
    tree("UserAttrDeleteAttrs", "/d/f", KEY)

    assert -errno.ENOENT == tree.rc("UserAttrGetAttrs", "/d/f", KEY)


def test_attributes_go_with_a_renamed_file(tree: Client) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, "md5")
    tree("Rename", "/d/f", "/d/g")

    assert ["md5"] == tree("UserAttrGetAttrs", "/d/g", KEY)["values"]


def test_attributes_do_not_stay_when_a_file_is_replaced(tree: Client) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, "md5")
    tree.put("/d/g", b"new")
    tree("Rename", "/d/g", "/d/f")

    assert -errno.ENOENT == tree.rc("UserAttrGetAttrs", "/d/f", KEY)


@pytest.mark.parametrize("value", ["a b", "ü", "'", ">", "1 12345 f-1-2 sha256:00ff"])
def test_attributes_may_be_any_text_without_markup(
    tree: Client, simulator: Simulator, value: str
) -> None:
    tree("UserAttrSetAttrs", "/d/f", KEY, value)

    assert {KEY: value} == simulator.ls("/d/f")[0]["attributes"]


@pytest.mark.parametrize("value", ["<a>", "&amp;"])
def test_attributes_with_markup_are_refused(tree: Client, value: str) -> None:
    """A guess: they are kept as XML."""
    assert -errno.EINVAL == tree.rc("UserAttrSetAttrs", "/d/f", KEY, value)
