"""The trials of a licensed site, run against the simulator, kind and unkind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import binding
import pytest
from kit import KEYTAB, USER

from pacifica_archive_hpss.selftest import GUESSES, TRIALS
from pacifica_archive_hpss.session import build
from pacifica_archive_hpss.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.timeout(120)

MODULE = "pacifica_archive_hpss.selftest"
PREFIX = "/site/archive"
NEIGHBOUR = f"{PREFIX}/39/3039"


@attrs.frozen(kw_only=True)
class Report:
    """What one run said, and what it left in the simulator."""

    status: int
    output: str
    simulator: Simulator

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    def verdicts(self) -> dict[str, str]:
        """Return the verdict of each trial by its name."""
        trials = [line for line in self.lines if line[:6].strip() in VERDICTS]
        return {line[6:].partition(":")[0]: line[:4] for line in trials}

    def failures(self) -> list[str]:
        """Return the lines of what did not pass, unless the release lacks it."""
        return [
            line
            for line in self.lines
            if line.startswith(("FAIL", "SKIP"))
            and line[6:].partition(":")[0] not in LACKING
        ]

    def guesses(self, word: str) -> list[str]:
        """Return the names of the guesses that were found to be so."""
        return [
            name
            for name, guess in GUESSES.items()
            if any(guess.text in line and line.startswith(word) for line in self.lines)
        ]


#: With the extension module that these tests are run with, if it is another one.
PROGRAM = (
    ("-m", MODULE)
    if binding.VARIABLE not in os.environ
    else (
        "-c",
        f"import binding, runpy; runpy.run_module('{MODULE}', None, '__main__')",
    )
)
#: What a release without batches cannot try.
LACKING = () if build().has_batch else ("stage a batch",)
UNTRIED = () if build().has_batch else ("batch", "state by bitfile")
NEED_TAPE = ["migrate", "purge", "open offline", "stage", "stage a batch", "recall"]
VERDICTS = {"PASS", "FAIL", "SKIP"}


def selftest(
    folder: Path,
    *options: str,
    knobs: Sequence[tuple[str, str]] = (),
    rules: Sequence[str] = (),
    auth: str = "",
) -> Report:
    """Run it on a fresh simulated HPSS, in which a neighbour has a file."""
    simulator = Simulator(folder / "state")
    simulator.format()
    content = folder / "content"
    content.write_bytes(b"somebody's")
    simulator.write(NEIGHBOUR, content)
    for name, value in (("mount_s", "0.5"), ("seek_s", "0.1"), *knobs):
        simulator.knob(name, value)
    for rule in rules:
        simulator.rule(rule)
    given = [f"user={USER}", f"auth={auth or KEYTAB}", "sitename=site", *options]
    done = subprocess.run(
        [
            *(sys.executable, *PROGRAM),
            *("--prefix", PREFIX, "--wait", "30"),
            *(word for option in given for word in ("-o", option)),
        ],
        env={
            **os.environ,
            "PACIFICA_HPSS_SIM": str(folder / "state"),
            "PYTHONPATH": str(Path(__file__).parent),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=folder,
    )
    return Report(status=done.returncode, output=done.stdout, simulator=simulator)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return selftest(tmp_path_factory.mktemp("kind"))


def test_nothing_fails_on_the_simulator(report: Report) -> None:
    assert ([], 0) == (report.failures(), report.status)


def test_every_trial_is_reported(report: Report) -> None:
    assert [*TRIALS, "clean up"] == list(report.verdicts())


def test_no_guess_is_refuted_by_the_simulator(report: Report) -> None:
    assert [] == report.guesses("REFUTED")


def test_every_guess_that_can_be_tried_is_tried(report: Report) -> None:
    expected = [
        name
        for name, guess in GUESSES.items()
        if guess.why_not is None and name not in UNTRIED
    ]

    assert expected == report.guesses("confirmed")


def test_every_other_guess_says_why_it_is_not_tried(report: Report) -> None:
    expected = [
        name
        for name, guess in GUESSES.items()
        if guess.why_not is not None or name in UNTRIED
    ]

    assert expected == report.guesses("not tried here")


def test_it_says_that_the_library_is_the_simulator(report: Report) -> None:
    assert "remark: simulator, not HPSS" in report.lines


def test_it_says_which_release_it_was_compiled_for(report: Report) -> None:
    (line,) = (line for line in report.lines if line.startswith("PASS  login:"))

    assert f"headers {build().major}.{build().minor}, " in line


def test_it_leaves_nothing_and_touches_nothing_else(report: Report) -> None:
    expected = ["/site", PREFIX, f"{PREFIX}/39", NEIGHBOUR]

    assert expected == sorted(entry["path"] for entry in report.simulator.ls("/site"))


def test_it_breaks_no_rule_of_hpss(report: Report) -> None:
    counters = report.simulator.counters()

    assert ([], 0, 0, 0) == (
        counters["violations"],
        counters["open_files"],
        counters["pvlists"],
        counters["duplicate_stages"],
    )


def test_its_second_requests_submit_nothing(report: Report) -> None:
    calls = report.simulator.counters()["calls"]
    submitted = (
        calls["hpss_StageCallBack"],
        calls.get("hpss_StageBatchCallBack", 0),
    )

    assert submitted in {(1, 1), (1, 0)}


def test_a_rename_that_replaces_nothing_refutes_a_guess(tmp_path: Path) -> None:
    report = selftest(tmp_path, knobs=[("rename_replaces", "0")])

    assert ([], 0, ["rename replaces"]) == (
        report.failures(),
        report.status,
        report.guesses("REFUTED"),
    )


def test_a_mode_that_does_not_stick_refutes_a_guess(tmp_path: Path) -> None:
    report = selftest(tmp_path, knobs=[("mode_at_create", "0")])

    assert ([], 0, ["mode"]) == (
        report.failures(),
        report.status,
        report.guesses("REFUTED"),
    )


def test_a_class_of_service_without_tape_skips_what_needs_one(tmp_path: Path) -> None:
    report = selftest(tmp_path, "class_of_service=5")
    skipped = [name for name, word in report.verdicts().items() if word == "SKIP"]

    assert (
        0,
        ["hints", *NEED_TAPE],
    ) == (report.status, skipped)


def test_a_login_that_is_refused_fails_alone(tmp_path: Path) -> None:
    report = selftest(tmp_path, auth=str(tmp_path / "no-keytab"))
    verdicts = report.verdicts()

    assert (1, "FAIL", {"SKIP"}) == (
        report.status,
        verdicts.pop("login"),
        set(verdicts.values()),
    )


@pytest.mark.parametrize("knob", ["down", "full"])
def test_a_store_that_fails_is_told_without_a_traceback(
    tmp_path: Path, knob: str
) -> None:
    report = selftest(tmp_path, knobs=[(knob, "1")])

    assert (1, False) == (report.status, "Traceback" in report.output)


def test_what_fails_keeps_nothing_else_from_being_tried_and_removed(
    tmp_path: Path,
) -> None:
    report = selftest(tmp_path, rules=["UserAttrGetAttrs:*:-EIO"])
    failed = [name for name, word in report.verdicts().items() if word == "FAIL"]

    assert (1, ["attributes", "digests", "overwrite"], 4) == (
        report.status,
        failed,
        len(report.simulator.ls("/site")),
    )


def test_a_guess_whose_trial_fails_is_refuted(tmp_path: Path) -> None:
    report = selftest(tmp_path, rules=["Fsync:*:-EIO"], knobs=[("mount_s", "0")])

    assert ["fsync"] == report.guesses("REFUTED")


def test_a_failure_is_told_with_its_codes(tmp_path: Path) -> None:
    report = selftest(tmp_path, knobs=[("full", "1")])
    (line,) = (line for line in report.lines if line.startswith("FAIL  put:"))

    words = ("ArchiveFull: ", "(rc -28, errno ", "HPSS -28 HPSS_ENOSPACE")

    assert [True] * 3 == [word in line for word in words]


def test_no_output_holds_the_path_of_the_keytab(tmp_path: Path) -> None:
    keytab = str(tmp_path / "no-keytab")

    assert keytab not in selftest(tmp_path, auth=keytab).output


def test_an_unknown_option_is_an_error_of_usage(tmp_path: Path) -> None:
    report = selftest(tmp_path, "colour=blue")

    assert (2, False) == (report.status, "Traceback" in report.output)
