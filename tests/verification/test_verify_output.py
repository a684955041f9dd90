"""A verdict as a table, as JSON and as JUnit XML: the same facts and the same exit code in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import junitparser
import pytest
from typer.testing import CliRunner, Result

import tmrepro
from tmrepro.cli.main import app
from tmrepro.errors import TmreproError, UsageError
from tmrepro.verification import Check, Verdict
from tmrepro.verification.document import verdict_document
from tmrepro.verification.junit import write_junit
from tmrepro.verification.verdict import Remarks

VERDICT = Verdict(
    subject="runs/[odd] & <name>",
    level="audit",
    reference="quickstart",
    checks=(
        Check("integrity", "manifest-sha256.txt", "identical", "every file"),
        Check("audit", "surfaces.zarr/paper/dnn", "different", "stored 1 & \x07 <2>"),
    ),
    remarks=Remarks(notes=("a note",), warnings=("a warning",)),
)


def command(*arguments: str | Path) -> Result:
    """Run `tmrepro verify` in this process. Raise what it raises."""
    result = CliRunner().invoke(app, ["verify", *map(str, arguments)])
    if isinstance(result.exception, TmreproError):
        raise result.exception
    return result


@pytest.fixture
def wrong_run(forger: Any) -> Path:
    """A run with one forged statistic."""
    forger.json("statistics.json", lambda document: document["paper"]["cnn"].update(loss_mean=1.25))
    forger.seal()
    run: Path = forger.run
    return run


def test_json_and_table_tell_the_same(wrong_run: Path) -> None:
    table, document = (command(wrong_run, "--level", "statistics", *more) for more in ((), ("--json",)))
    told = json.loads(document.stdout)
    assert table.exit_code == document.exit_code == told["exit_code"] == 1
    assert (told["passed"], told["grade"], told["level"]) == (False, "different", "statistics")
    lines = [line.split() for line in table.stdout.splitlines()]
    for check in told["checks"]:
        assert any(
            check["level"] in line and check["grade"] in line and check["subject"].split()[0] in line for line in lines
        )
        assert check["detail"] in " ".join(table.stdout.split())
    assert "DIFFERENT" in table.stdout
    assert all(f"note: {note}" in table.stdout for note in told["notes"])


def test_json_of_a_missing_target_is_json_too(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "no"), "--json"])
    told = json.loads(result.stdout)
    assert told["exit_code"] == 3
    assert "nothing is there" in told["error"]
    with pytest.raises(TmreproError):
        command(tmp_path / "no")


def test_quiet_says_nothing_when_all_is_well(whole_run: Path, wrong_run: Path) -> None:
    good = command(whole_run, "--level", "integrity", "--quiet")
    assert (good.exit_code, good.stdout) == (0, "")
    bad = command(wrong_run, "--level", "statistics", "--quiet")
    assert bad.exit_code == 1
    assert "loss_mean" in bad.stdout


def test_junit_is_what_its_parser_reads(wrong_run: Path, tmp_path: Path) -> None:
    report = tmp_path / "deep" / "verdict.xml"
    result = command(wrong_run, "--level", "statistics", "--junit", report, "--json")
    told = json.loads(result.stdout)
    (suite,) = junitparser.JUnitXml.fromfile(str(report))
    cases = list(suite)
    assert [case.name for case in cases] == [check["subject"] for check in told["checks"]]
    assert [case.classname for case in cases] == [f"tmrepro.verify.{check['level']}" for check in told["checks"]]
    assert [not case.result for case in cases] == [check["passed"] for check in told["checks"]]
    assert (suite.tests, suite.failures) == (len(cases), 1)
    assert {one.name: one.value for one in suite.properties()}["exit_code"] == str(result.exit_code)


def test_junit_holds_what_xml_cannot(tmp_path: Path) -> None:
    write_junit(VERDICT, tmp_path / "x.xml")
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "x.xml"))
    good, bad = suite
    assert not good.result
    assert bad.result[0].message.startswith("different: stored 1 & ")
    assert "<2>" in bad.result[0].message
    remarks = {(one.name, one.value) for one in suite.properties()}
    assert {("note", "a note"), ("warning", "a warning")} <= remarks


def test_a_report_does_not_break_the_run_it_is_about(whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is in the run folder"):
        command(whole_run, "--junit", whole_run / "verdict.xml")
    with pytest.raises(UsageError, match="is a folder"):
        command(whole_run, "--junit", tmp_path)
    assert tmrepro.verify(whole_run, level="integrity").exit_code == 0


def test_a_document_is_plain_json() -> None:
    document = verdict_document(VERDICT)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert [check["passed"] for check in document["checks"]] == [True, False]
    assert (document["warnings"], document["notes"]) == (["a warning"], ["a note"])


def test_a_warning_cannot_be_missed(whole_run: Path, forger: Any) -> None:
    forger.json("provenance.json", lambda document: document["packages"].update(matplotlib="3.0"))
    (forger.run / "figures/paper.pdf").write_bytes(b"%PDF-1.4 another")
    forger.seal()
    table = command(forger.run, "--level", "statistics")
    assert table.exit_code == 0
    assert "WARNING: not compared" in table.stdout
    assert "WARNING" not in command(whole_run, "--level", "statistics").stdout
