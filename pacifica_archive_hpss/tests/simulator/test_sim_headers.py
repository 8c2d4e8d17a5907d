"""Facts 1, 7 and 8.3: five releases of headers, unlike each other and any guess."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulated import Roots

BEFORE_7_5 = ("7.4",)
FROM_7_5 = ("7.5", "8.3", "9.3", "10.3")
FROM_8 = ("8.3", "9.3", "10.3")
FROM_9_3 = ("9.3", "10.3")
FLAGS = (
    "API_GET_STATS_FOR_ALL_LEVELS",
    "API_GET_XATTRS_NO_BLOCK",
    "BFS_BFATTRS_DATAEXISTS_AT_LEVEL",
    "BFS_BFATTRS_LEVEL_IS_DISK",
    "BFS_BFATTRS_LEVEL_IS_TAPE",
    "BFS_STAGE_ALL",
    "BFS_ASYNCH_CALL",
    "NS_OBJECT_TYPE_FILE",
    "HPSS_STAGE_STATUS_ACTIVE",
    "REQUIRED_PRIORITY",
)


@pytest.fixture
def compiles(roots: Roots, tmp_path: Path) -> Callable[[str, str], bool]:
    """Return what tells whether statements compile and link against a release."""

    def attempt(version: str, statements: str) -> bool:
        source = tmp_path / "attempt.c"
        source.write_text(
            '#include "hpss_api.h"\n#include "hpss_errno.h"\n#include "hpss_net.h"\n'
            f"int main(void)\n{{\n    {statements}\n    return 0;\n}}\n"
        )
        root = roots.root(version)
        done = subprocess.run(
            [
                *("cc", "-Werror", "-DLINUX", "-DLITTLEEND"),
                *(f"-I{root}/include", f"-L{root}/lib", source, "-lhpss"),
                *("-o", tmp_path / "attempt"),
            ],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    return attempt


@pytest.fixture
def numbers(roots: Roots, tmp_path: Path) -> Callable[[str, str], list[int]]:
    """Return what evaluates C expressions with the headers of a release."""

    def evaluate(version: str, *expressions: str) -> list[int]:
        folder = tmp_path / version
        folder.mkdir()
        source = folder / f"numbers_{abs(hash(expressions))}.c"
        lines = "".join(f'    printf("%ld\\n", (long)({e}));\n' for e in expressions)
        source.write_text(
            "#include <stddef.h>\n#include <stdio.h>\n"
            '#include "hpss_api.h"\n#include "hpss_errno.h"\n'
            f"int main(void)\n{{\n{lines}    return 0;\n}}\n"
        )
        done = subprocess.run(
            [roots.program(source, version)], capture_output=True, check=True
        )
        return [int(line) for line in done.stdout.split()]

    return evaluate


@pytest.mark.parametrize(
    ("statements", "versions"),
    [
        ("(void)hpss_GetAsynchStatus;", BEFORE_7_5),
        ("(void)hpss_GetAsyncStatus;", FROM_7_5),
        ("hpss_fileattr_t a; (void)a.Attrs.BitfileId;", BEFORE_7_5),
        ("hpss_fileattr_t a; (void)a.Attrs.BitfileObj.BfId;", FROM_7_5),
        ('const char *p = "/"; hpss_Unlink(p);', FROM_7_5),
        ("hpss_uuid_t id; hpss_LookupRootCS((char *)0, &id);", BEFORE_7_5),
        ("hpss_srvr_id_t id; hpss_LookupRootCS((char *)0, &id);", FROM_7_5),
        ("hpss_UserAttrGetAttrs((char *)0, 0, 0);", BEFORE_7_5),
        ("hpss_UserAttrGetAttrs((char *)0, 0, 0, 0);", FROM_7_5),
        ("hpss_reqid_t id = 1; (void)id;", ("7.4", "7.5")),
        ("hpss_reqid_t id; (void)id.time_low;", FROM_8),
        ("(void)hpss_StageBatchCallBack;", FROM_9_3),
        ("(void)API_StageBatchInsertBFObj;", FROM_9_3),
        ("hpss_stat_t s; (void)s.hpss_st_mtime;", VERSIONS),
        ("hpss_stat_t s; (void)s.st_mtime;", ()),
        ("u_signed64 n = -1; if (n < 1) return 1;", VERSIONS),
        ("int sizes[sizeof(u_signed64) == 8 ? 1 : -1]; (void)sizes;", VERSIONS),
    ],
)
def test_what_compiles_depends_on_the_release(
    compiles: Callable[[str, str], bool], statements: str, versions: tuple[str, ...]
) -> None:
    assert versions == tuple(v for v in VERSIONS if compiles(v, statements))


def test_nothing_compiles_without_the_flags_of_linux(
    roots: Roots, tmp_path: Path
) -> None:
    source = tmp_path / "bare.c"
    source.write_text('#include "hpss_api.h"\n')
    done = subprocess.run(
        ["cc", "-c", source, f"-I{roots.root()}/include", "-o", tmp_path / "o"],
        capture_output=True,
        check=False,
    )

    assert 0 != done.returncode


def test_no_flag_has_the_same_number_in_all_releases(
    numbers: Callable[..., list[int]],
) -> None:
    by_version = [numbers(version, *FLAGS) for version in VERSIONS]
    constant = [
        name
        for name, values in zip(FLAGS, zip(*by_version, strict=True), strict=True)
        if len(set(values)) == 1
    ]

    assert [] == constant


def test_no_structure_begins_with_what_a_guess_would_put_first(
    numbers: Callable[..., list[int]],
) -> None:
    offsets = numbers(
        "9.3",
        "offsetof(hpss_Attrs_t, DataLength)",
        "offsetof(hpss_xfileattr_t, Attrs)",
        "offsetof(bf_sc_attrib_t, Flags)",
        "offsetof(hpss_cos_hints_t, COSId)",
        "offsetof(hpss_stat_t, st_size)",
        "offsetof(bfs_callback_addr_t, id)",
    )

    assert 0 not in offsets


def test_layouts_differ_between_releases(numbers: Callable[..., list[int]]) -> None:
    places = {
        tuple(
            numbers(
                version,
                "offsetof(hpss_xfileattr_t, Attrs)",
                "offsetof(hpss_Attrs_t, DataLength)",
                "sizeof(hpss_cos_hints_t)",
            )
        )
        for version in VERSIONS
    }

    assert len(VERSIONS) == len(places)


def test_what_is_public_has_its_number(numbers: Callable[..., list[int]]) -> None:
    public = (
        "hpss_authn_mech_krb5",
        "hpss_authn_mech_unix",
        "hpss_rpc_cred_client",
        "hpss_rpc_auth_type_keytab",
        "HPSS_MAX_STORAGE_LEVELS",
        "BFS_MAX_VV_TO_RETURN_AT_LEVEL",
        "HPSS_E_NOERROR",
        "HPSS_ESTALE",
        "HPSS_ENOTEMPTY",
        "HPSS_ENOTALLMOVED",
    )

    assert [1, 2, 2, 2, 5, 10, 0, -52, -87, -1406] == numbers("9.3", *public)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_version_may_be_compared(
    numbers: Callable[..., list[int]], version: str
) -> None:
    major, minor = map(int, version.split("."))

    assert [major * 100 + minor] == numbers(
        version, "HPSS_MAJOR_VERSION * 100 + HPSS_MINOR_VERSION"
    )
