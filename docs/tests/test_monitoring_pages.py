"""Alarms, dashboard, log and pages speak of the same things."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import generate
import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from prometheus_client.parser import text_string_to_metric_families

from pacifica_archive_http import PROBLEMS
from pacifica_archive_http.access import RULES, Scope
from pacifica_archive_http.guard import rules_for
from pacifica_archive_http.health import Readiness
from pacifica_archive_http.metrics import SERIES
from pacifica_archive_http.options import Monitoring
from pacifica_archive_http.status_table import CLIENT_GONE
from pacifica_archive_http.testing import running_server
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = generate.DOCS.parent
ALARMS = ROOT / "deploy" / "prometheus-alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
MONITORING = (generate.DOCS / "monitoring.md").read_text()
WRONG = (generate.DOCS / "when-something-is-wrong.md").read_text()

#: Added by Prometheus, or by its buckets.
_LABELS = {"instance", "job", "le"}


def alarms() -> dict[str, str]:
    """Return the alarms and their expressions."""
    (group,) = yaml.safe_load(ALARMS.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def panels() -> list[str]:
    """Return the expressions of the dashboard."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ] + [each["query"] for each in dashboard["templating"]["list"]]


#: What the machine's own exporter tells, of which there is none here.
_OF_MACHINE = "node_systemd_unit_state"
EXPRESSIONS = [
    expression
    for expression in (*alarms().values(), *panels())
    if not expression.startswith(_OF_MACHINE)
]


def names(expression: str) -> set[str]:
    """Return the series that an expression names."""
    return set(re.findall(r"pacifica_archive_\w+", expression))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the samples that a server tells after some requests: their labels."""
    tokens = tmp_path_factory.mktemp("told") / "tokens.json"
    token = add_token(tokens, "all", scopes=Scope)
    with running_server(
        *("-t", "memory", "--tokens", str(tokens), "--monitoring", "open")
    ) as server:

        def ask(verb: str, path: str, body: bytes | None = None) -> bytes:
            request = urllib.request.Request(  # noqa: S310 (our own server)
                server.url + path,
                data=body,
                method=verb,
                headers={"Authorization": f"Bearer {token}"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (as above)
                return bytes(answer.read())

        ask("PUT", "/5", b"abc")
        ask("GET", "/5")
        ask("POST", "/5")
        # Else it may not be known yet when the numbers are told.
        ask("GET", "/readyz")
        text = ask("GET", "/metrics").decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_server_tells_what_is_asked_for(
    expression: str, told: dict[str, set[str]]
) -> None:
    assert [] == sorted(names(expression) - told.keys())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_server_labels_by_what_is_asked_for(
    expression: str, told: dict[str, set[str]]
) -> None:
    asked = {
        label
        for labels in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in re.split(r",\s*", labels)
    } | set(re.findall(r"[{,]\s*(\w+)\s*(?:=|!)", expression))
    known = _LABELS.union(*(told[name] for name in names(expression)))

    assert [] == sorted(asked - known)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_problem_that_is_asked_for_is_one(expression: str) -> None:
    asked = re.findall(r'(?:problem|reason)="([^"]*)"', expression)

    assert [] == sorted({*asked} - {problem.name for problem in PROBLEMS.values()})


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_brackets_of_an_expression_close(expression: str) -> None:
    """As far as it can be told without Prometheus's own tool."""
    pairs = {")": "(", "}": "{", "]": "["}
    opened: list[str] = []
    for mark in re.sub(r'"[^"]*"', "", expression):
        if mark in pairs.values():
            opened.append(mark)
        elif mark in pairs and (not opened or opened.pop() != pairs[mark]):
            opened.append("never closed")

    assert opened == []


@pytest.mark.parametrize("unit", sorted(ALARMS.parent.glob("*.service")))
def test_a_unit_that_failed_is_told(unit: Path) -> None:
    (expression,) = (each for each in alarms().values() if each.startswith(_OF_MACHINE))
    (pattern,) = re.findall(r'\bname=~"([^"]*)"', expression)

    assert re.fullmatch(pattern, unit.name)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_the_alarms() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(ALARMS)],
        check=False,
        capture_output=True,
    )

    assert done.returncode == 0


def test_each_series_is_in_the_dashboard() -> None:
    shown = {
        re.sub("_(bucket|sum|count)$", "", name)
        for expression in panels()
        for name in names(expression)
    }

    assert {series.name for series in SERIES} == shown


@pytest.mark.parametrize("policy", Monitoring)
def test_the_page_says_who_may_ask_for_what(policy: Monitoring) -> None:
    row = next(row for row in MONITORING.splitlines() if row.startswith(f"| `{policy}"))
    rules = rules_for(policy)
    addresses = [
        route for route in RULES if route in {"/healthz", "/readyz", "/metrics"}
    ]
    without = [route for route in addresses if rules[route]["GET"] is None]
    text = ", ".join(f"`{route}`" for route in without)

    assert ("all three" if len(without) == 3 else text) == row.split("|")[2].strip()


@pytest.mark.parametrize(
    "bound",
    [
        f"tells the answer for {Readiness.CACHED_S:g} second.",
        f"does not answer within {Readiness.BOUND_S:g} seconds",
    ],
)
def test_bounds_are_those_of_the_code(bound: str) -> None:
    assert bound in MONITORING


def test_the_page_names_all_operations() -> None:
    package = ROOT / "pacifica_archive_http" / "src" / "pacifica_archive_http"
    used = {
        name
        for path in package.glob("*.py")
        for name in re.findall(r'\.operation\("(\w+)"\)', path.read_text())
    } | {"status_many", "stage_many"}
    (line,) = re.findall(r"^`operation` is (.*)\.$", MONITORING, re.MULTILINE)

    assert used == set(re.findall(r"`(\w+)`", line))


# --- when something is wrong -----------------------------------------------------


def rows(title: str) -> list[str]:
    """Return what the first column of the table of a section names."""
    section = WRONG.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]*)` \|", section, re.MULTILINE)


def test_each_alarm_is_explained() -> None:
    assert sorted(alarms()) == sorted(rows("Alarms"))


def test_each_problem_of_the_log_is_explained() -> None:
    logged = {problem.name for problem in PROBLEMS.values() if problem.logged}

    assert [] == sorted(logged - {*rows("Problems")})


def test_each_problem_of_an_alarm_is_explained() -> None:
    asked = {
        name
        for expression in alarms().values()
        for name in re.findall(r'(?:problem|reason)="([^"]*)"', expression)
    }

    assert [] == sorted(asked - {*rows("Problems")})


def test_no_problem_is_explained_that_is_none() -> None:
    known = {problem.name for problem in PROBLEMS.values()} | {CLIENT_GONE}

    assert [] == sorted({*rows("Problems")} - known)


def _template(node: ast.expr) -> str | None:
    """Return a message with an ellipsis for what differs; None: all of it does."""
    text = ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = re.sub(r"%(?:\.\d+)?[a-z]", "…", node.value)
    elif isinstance(node, ast.JoinedStr):
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…"
            for part in node.values
        )
    return text if re.search(r"\w", text) else None


def _messages(path: Path) -> Iterator[str]:
    """Yield what a module logs for an operator."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        logs = ast.unparse(node.func) in {
            f"_log.{level}" for level in ("warning", "error", "exception", "critical")
        }
        # Those of the token file go through a method that keeps them rare.
        if (logs or node.func.attr == "_complain") and (
            text := _template(node.args[0])
        ):
            yield text


def logged() -> set[str]:
    """Return what the server and the backends log for an operator."""
    return {
        message
        for path in sorted(ROOT.glob("pacifica_archive_*/src/**/*.py"))
        # A stand-in for trials.
        if "double" not in path.parts
        for message in _messages(path)
    }


#: What is put together from parts: the line, and what the code has of it.
_COMPOSED = {
    "VERB PROBLEM: …": '"%s %s: %s"',
    "…; the last good one stays in force": "{exc}; the last good one stays in force",
}


def test_each_line_of_the_log_is_explained_and_no_other() -> None:
    assert sorted(logged() | _COMPOSED.keys()) == sorted(rows("Lines of the log"))


@pytest.mark.parametrize("part", _COMPOSED.values())
def test_a_line_that_is_composed_is_one_still(part: str) -> None:
    sources = (ROOT / "pacifica_archive_http" / "src").rglob("*.py")

    assert any(part in path.read_text() for path in sources)
