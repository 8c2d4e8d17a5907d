from __future__ import annotations

import re
from pathlib import Path

import generate

from pacifica_archive_http import tokens_jwt
from pacifica_archive_http.tokens_jwt import JwtIssuers

PAGE = (generate.DOCS / "jwt.md").read_text()
CODE = Path(tokens_jwt.__file__).read_text()


def test_the_file_of_issuers_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    path = tmp_path / "issuers.toml"
    path.write_text(text)

    assert None is JwtIssuers(path).identify("no such token")


def told() -> set[str]:
    """Return what the code says of tokens that it refuses."""
    found = re.findall(r'"(the token[^"]*)"|"(the key of the token[^"]*)"', CODE)
    texts = {first or second for first, second in found}
    return {
        text.replace("{_MAX_TOKEN}", "16384").replace("{_MAX_SUBJECT}", "255")
        for text in texts
    }


def test_every_refusal_is_in_the_table() -> None:
    table = PAGE.partition("## What is refused")[2]
    rows = re.findall(r"^\| (the [^|]*?) \|", table, re.MULTILINE)

    assert sorted(told()) == sorted(rows)


def test_every_algorithm_is_named() -> None:
    known = set(re.findall(r'"((?:RS|PS|ES)\d+|EdDSA)"', CODE))

    assert known
    assert known == set(re.findall(r"\b(?:RS|PS|ES)\d+\b|\bEdDSA\b", PAGE))
