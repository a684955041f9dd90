"""The page, the JSON and the JUnit file tell the same facts: each is read by itself, and what was read is compared."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.runs import forge_json
from tests.verification.page.reading import page_of
from tmrepro.runner.view import open_run
from tmrepro.spec.json_text import dump_json
from tmrepro.verification import Verdict
from tmrepro.verification.comparison import Comparison, Side
from tmrepro.verification.document import verdict_document
from tmrepro.verification.junit import write_junit
from tmrepro.verification.reference import Reference

KINDS = ("identical", "equal", "consistent", "different", "damaged", "alone", "integrity", "other spec")
AGAINST = {"its own files": "itself", "the reference": "reference", "the spec run again": "rerun"}
SAME_BITS = {
    "No bits were compared with those of another run.": None,
    "All bits that were compared are the same.": True,
    "Not all bits that were compared are the same.": False,
}


@dataclass
class Facts:
    """What a reader of one of the three files knows."""

    whole: dict[str, Any]
    checks: list[tuple[str, ...]]
    numbers: set[tuple[Any, ...]]
    pixels: set[tuple[Any, ...]]
    provenance: set[tuple[Any, ...]]
    warnings: list[str]
    notes: list[str]


def of_json(verdict: Verdict) -> Facts:
    document = json.loads(dump_json(verdict_document(verdict)))
    figures = [check["figure"] for check in document["checks"] if check["figure"]] + document["ungraded_figures"]
    lines = document["provenance"]["lines"] if document["provenance"] else []
    return Facts(
        whole={name: document[name] for name in ("headline", "grade", "exit_code", "same_bits")},
        checks=[
            tuple(check[name] for name in ("level", "against", "subject", "grade", "detail"))
            for check in document["checks"]
        ],
        numbers={
            (
                check["against"],
                *(held[name] for name in ("surface", "model", "name", "value", "expected", "grade")),
                *(held["band"] or {}).values(),
            )
            for check in document["checks"]
            for held in check["numbers"]
        },
        pixels={
            (
                figure["against"],
                figure["name"],
                *(figure["pixels"][name] for name in ("share_different", "max_difference", "mean_difference")),
            )
            for figure in figures
        },
        provenance={tuple(line.values()) for line in lines},
        warnings=document["warnings"],
        notes=document["notes"],
    )


def of_junit(path: Path) -> Facts:
    (suite,) = ET.parse(path).getroot()  # noqa: S314 - we wrote it
    properties = [(entry.get("name") or "", entry.get("value") or "") for entry in suite.iter("property")]
    by_name = dict(properties)
    facts = Facts(
        whole={name: word(by_name[name]) for name in ("headline", "grade", "exit_code", "same_bits")},
        checks=[],
        numbers=set(),
        pixels={
            (text.split()[2].rstrip(":"), name.removeprefix("ungraded "), *_pixels(text))
            for name, text in properties
            if name.startswith("ungraded ")
        },
        provenance=set(),
        warnings=[text for name, text in properties if name == "warning"],
        notes=[text for name, text in properties if name == "note"],
    )
    for name, text in properties:
        match = re.fullmatch(r"provenance( \(differs\))? (.+)", name)
        sides = re.fullmatch(r"run: (.*); expected: (.*)", text, re.DOTALL)
        if match and sides:
            run, expected = (None if side == "null" else side for side in sides.groups())
            facts.provenance.add((match[2], run, expected, match[1] is not None))
    for case in suite.iter("testcase"):
        found, against, *lines = (case.findtext("system-out") or "").split("\n")
        against = against.removeprefix("against: ")
        grade, _, detail = found.partition(": ")
        failure = case.find("failure")
        assert (failure is not None) == (grade in {"different", "damaged"})
        assert failure is None or failure.get("message") == found
        level = (case.get("classname") or "").removeprefix("tmrepro.verify.")
        facts.checks.append((level, against, case.get("name") or "", grade, detail))
        for line in lines:
            if line.startswith("pixels against"):
                facts.pixels.add((against, case.get("name"), *_pixels(line)))
            else:
                facts.numbers.add((against, *_number(line)))
    return facts


def _pixels(text: str) -> list[Any]:
    return [
        word(re.search(rf"{name} ([^,]+)", text)[1])
        for name in ("share_different", "max_difference", "mean_difference")
    ]


def _number(line: str) -> tuple[Any, ...]:
    match = re.fullmatch(
        r"(.+)/(.+)/(.+): (\S+), expected (\S+), (\w+), (?:no band|band (\S+) to (\S+) "
        r"\((\w+) scale, n (\d+), mean (\S+), deviation (\S+)\)(, judges nothing)?)",
        line,
    )
    assert match, line
    surface, model, name, value, expected, grade, low, high, scale, n, mean, deviation, idle = match.groups()
    band = () if low is None else (*(word(text) for text in (n, mean, deviation, low, high, scale)), idle is not None)
    return (None if surface == "models" else surface, model, name, word(value), word(expected), word(grade), *band)


def word(text: str) -> Any:
    """A word of JSON, or the text it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def of_page(root: Any) -> Facts:
    (header,) = root.find("header")
    (headline,) = header.find("p", of="headline")
    (code,) = header.find("data", of="exit-code")
    (title,) = header.find("h1")
    (grade,) = title.find("span", of="badge")
    facts = Facts(
        whole={
            "headline": headline.text,
            "grade": grade.text,
            "exit_code": int(code.attributes["value"]),
            "same_bits": next(value for phrase, value in SAME_BITS.items() if phrase in header.text),
        },
        checks=[],
        numbers=set(),
        pixels=set(),
        provenance=set(),
        warnings=[item.text for part in header.find("ul", of="warnings") for item in part.find("li")],
        notes=[item.text for part in header.find("ul", of="notes") for item in part.find("li")],
    )
    for checks in root.find("table", of="checks"):  # what failed, then what passed
        for row in checks.find("tbody")[0].find("tr"):
            level, against, grade, detail = (cell.text for cell in row.find("td"))
            facts.checks.append((level, AGAINST[against], row.find("th")[0].text, grade, detail))
    for table in root.find("table", of="numbers"):
        place = tuple(table.attributes[f"data-{name}"] for name in ("against", "surface", "model"))
        for row in table.find("tbody")[0].find("tr"):
            facts.numbers.add((place[0], place[1] or None, place[2], *_row(row)))
    for span in root.find("span", of="pixels"):
        values = [word(data.attributes["value"]) for data in span.find("data")]
        facts.pixels.add((span.attributes["data-against"], span.attributes["data-name"], *values))
    for table in root.find("table", of="provenance"):
        for row in table.find("tbody")[0].find("tr"):
            sides = [None if cell.text == "–" else cell.text for cell in row.find("td")]
            run, expected = sides if len(sides) == 2 else (*sides, None)
            facts.provenance.add((row.find("th")[0].text, run, expected, "class" in row.attributes))
    return facts


def _row(row: Any) -> tuple[Any, ...]:
    cells = row.find("td")
    value, expected = (word(cell.find("data")[0].attributes["value"] or "null") for cell in cells[:2])
    grade = cells[2].find("span", of="badge")[0].text
    known = (row.find("code")[0].text, value, expected, None if grade == "not graded" else grade)
    band = [word(data.attributes["value"]) for data in cells[3].find("data")] if len(cells) > 3 else []
    if not band:
        return known
    low, high, mean, deviation, n = band
    scale = next((scale for scale in ("log", "logit") if f"({scale})" in cells[3].text), "linear")
    return (*known, n, mean, deviation, low, high, scale, "judges nothing" in cells[3].text)


@pytest.mark.parametrize("kind", KINDS)
def test_three_files_tell_the_same_facts(verdicts, tmp_path, kind):
    verdict = verdicts[kind]
    write_junit(verdict, tmp_path / "verdict.xml")
    told, junit, shown = of_json(verdict), of_junit(tmp_path / "verdict.xml"), of_page(page_of(verdict))
    assert sorted(shown.checks) == sorted(told.checks)
    shown.checks[:] = told.checks  # the page shows in another order
    for field in fields(Facts):
        expected = getattr(told, field.name)
        assert getattr(junit, field.name) == expected, f"JUnit: {field.name}"
        assert getattr(shown, field.name) == expected, f"page: {field.name}"


@pytest.mark.parametrize("value", [-1e308, 3])
def test_forged_value_is_told_alike_whatever_it_is(made, tmp_path, value):
    forged = shutil.copytree(made / "reference", tmp_path / "tiny")
    forge_json(forged, "statistics.json", lambda statistics: statistics["middle"]["dnn"].update(loss_max=value))
    reference = Reference(forged)
    side = Side(forged, reference.statistics, reference.provenance, reference.bands, "reference")
    comparison = Comparison(open_run(made / "runs" / "0"), side, level="statistics", replicate=False)
    verdict = Verdict("runs/x", "statistics", "tiny", tuple(comparison.checks()), comparison.remarks)
    write_junit(verdict, tmp_path / "verdict.xml")
    told = of_json(verdict)
    (row,) = [row for row in told.numbers if row[3] == "loss_max"]
    assert row[5] == (value if value in (-1e308, 3) and value is not True else None)
    assert row[6] == "different"
    assert of_junit(tmp_path / "verdict.xml").numbers == of_page(page_of(verdict)).numbers == told.numbers


def test_times_of_day_and_durations_are_shown_and_are_no_difference(verdicts):
    rows = {row[0]: row for row in of_json(verdicts["consistent"]).provenance}
    times = {path for path in rows if path.split(".")[0] in {"started", "ended", "seconds", "timings"}}
    assert {"started", "ended", "seconds", "timings.training/dnn"} <= times
    assert any(rows[path][1] != rows[path][2] for path in times)
    assert not any(rows[path][3] for path in times)
    assert rows["spec_hash"][3]


def test_there_are_facts_to_compare(verdicts):
    told = {kind: of_json(verdicts[kind]) for kind in KINDS}
    assert {facts.whole["grade"] for facts in told.values()} == {
        "identical",
        "equal",
        "consistent",
        "different",
        "damaged",
    }
    assert [told[kind].whole["same_bits"] for kind in KINDS] == [True, False, None, False, None, None, None, None]
    assert all(told[kind].numbers for kind in KINDS[:4])
    assert all(told[kind].pixels for kind in KINDS[:4])
    assert {row[0] for row in told["equal"].provenance if row[3]} == {"packages.torch"}
    assert any(len(row) > 7 for row in told["consistent"].numbers)
    assert told["damaged"].provenance == set()
