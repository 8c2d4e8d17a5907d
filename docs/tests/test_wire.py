from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "wire.md"
#: The text itself lies beside the repository, where that was built.
ORIGINAL = ROOT.parent / "shared" / "wire.md"


@attrs.frozen
class Row:
    request: str
    sentence: str
    tests: tuple[str, ...]


def read_rows(mark: str) -> list[Row]:
    text = PAGE.read_text().split(f"<!-- {mark} -->\n")[1]
    rows: list[Row] = []
    for line in text.partition("\n\n")[0].splitlines()[2:]:
        request, sentence, tests = (cell.strip() for cell in line.split("|")[1:4])
        request = request or rows[-1].request
        rows.append(Row(request, sentence, tuple(re.findall(r"`([^`]+)`", tests))))
    return rows


ROWS = read_rows("wire")
ALL_ROWS = [*ROWS, *read_rows("beside the wire")]
PROOFS = sorted({test for row in ALL_ROWS for test in row.tests})


def find_tests(path: Path) -> set[str]:
    """Return the node ids of a file's tests, without their parameters."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
    return found


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.sentence[:60])
def test_every_sentence_names_its_proof(row: Row) -> None:
    assert row.tests


@pytest.mark.parametrize("proof", PROOFS)
def test_every_proof_is_a_test(proof: str) -> None:
    name, _, test = proof.partition("::")

    assert test.rpartition("::")[2].startswith("test_")
    assert test in find_tests(ROOT / name)


def condense(text: str) -> str:
    """Leave what two ways to write a sentence have in common."""
    return re.sub(r"\(`facts/[^)]*\)|[\s;]", "", text)


@pytest.mark.skipif(not ORIGINAL.exists(), reason="lacks the text beside the clone")
def test_every_sentence_of_the_original_is_in_the_table() -> None:
    said: dict[str, str] = {}
    for row in ROWS:
        said[row.request] = said.get(row.request, "") + condense(row.sentence)
    lines = ORIGINAL.read_text().split("|---|---|---|\n")[1]
    table, _, rest = lines.partition("\n\n")
    cells = [line.split("|")[1:3] for line in table.splitlines()]
    wanted = {request.strip(): condense(answer) for request, answer in cells}
    paragraphs = rest.split("\n\n")
    faults = paragraphs[2].partition("each with a test: ")[2]
    wanted |= {
        "errors": condense(paragraphs[0]),
        "`Last-Modified` on PUT": condense(paragraphs[1]),
        "faults of release 0.4.2 that must not come back": condense(faults),
    }

    assert wanted == said
