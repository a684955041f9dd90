"""A verdict as JSON (its schema: schema.py) and as JUnit XML: the same facts in each, and on the page (page.py)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmrepro.errors import StorageError, TmreproError, UsageError
from tmrepro.verify.bands import Band
from tmrepro.verify.evidence import FigureHeld, NumberHeld, Sides
from tmrepro.verify.facts import number_info, pixel_difference, provenance_rows
from tmrepro.verify.verdict import Check, Verdict

FORMAT = 1  # of the document; a change that breaks its readers raises it

_OF_THE_WHOLE = ("headline", "subject", "level", "reference", "replicate", "grade", "passed", "exit_code", "same_bits")


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values."""
    return {
        "format": FORMAT,
        "headline": verdict.headline,
        "subject": verdict.subject,
        "level": verdict.level,
        "reference": verdict.reference,
        "replicate": verdict.replicate,
        "grade": verdict.grade,
        "passed": verdict.passed,
        "exit_code": verdict.exit_code,
        "same_bits": verdict.same_bits,
        "checks": [_check_document(check) for check in verdict.checks],
        "warnings": list(verdict.warnings),
        "notes": list(verdict.notes),
        "ungraded_figures": [_figure_document(figure) for figure in verdict.remarks.figures],
        "provenance": None if verdict.sides is None else _provenance_document(verdict.sides),
        "error": None,
    }


def error_document(subject: str, error: TmreproError) -> dict[str, Any]:
    """The same for a verification that came to no verdict."""
    return {
        "format": FORMAT,
        "headline": f"not verified: {subject}",
        "subject": subject,
        "level": None,
        "reference": None,
        "replicate": False,
        "grade": None,
        "passed": False,
        "exit_code": error.exit_code,
        "same_bits": None,
        "checks": [],
        "warnings": [],
        "notes": [],
        "ungraded_figures": [],
        "provenance": None,
        "error": str(error),
    }


def check_output_path(path: Path, *, option: str, run: Path | None) -> None:
    """Nothing, if a file may be written to `path`: asked before hours are spent on its content.

    Raises:
        UsageError: it is a folder, or lies in the run folder, whose manifest it would break.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give a file")
    if run is not None and run.is_dir() and path.resolve().is_relative_to(run.resolve()):
        raise UsageError(
            f"{option} {path} lies in the run folder, which stays as its manifest says; choose another file"
        )


def write_json(verdict: Verdict, path: Path) -> None:
    """The document as a file.

    Raises:
        StorageError: `path` cannot be written.
    """
    text = json.dumps(verdict_document(verdict), indent=2, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def write_junit(verdict: Verdict, path: Path) -> None:
    """A test case per check, those that did not pass as failures, with the numbers behind it as output; all else as properties.

    Raises:
        StorageError: `path` cannot be written.
    """
    import junitparser

    document = verdict_document(verdict)
    suite = junitparser.TestSuite(_plain(f"tmrepro verify {verdict.subject}"))
    for name, value in _properties(document):
        suite.add_property(_plain(name), _plain(value))
    for check in document["checks"]:
        case = junitparser.TestCase(_plain(check["subject"]), classname=f"tmrepro.verify.{check['level']}")
        found = _plain(f"{check['grade']}: {check['detail']}")
        if not check["passed"]:
            case.result = [junitparser.Failure(found, check["grade"])]
        case.system_out = "\n".join([found, *(_plain(line) for line in _evidence_lines(check))])
        suite.add_testcase(case)
    whole = junitparser.JUnitXml()
    whole.add_testsuite(suite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write(str(path), pretty=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def band_text(band: Band | None) -> str:
    """A band with every digit, in one line."""
    if band is None:
        return "no band"
    return (
        f"band {_text(band.low)} to {_text(band.high)} "
        f"({band.scale} scale, n {band.n}, mean {_text(band.mean)}, deviation {_text(band.deviation)})"
        f"{', judges nothing' if band.judges_nothing else ''}"
    )


def _check_document(check: Check) -> dict[str, Any]:
    return {
        "level": check.level,
        "against": check.against,
        "subject": check.subject,
        "grade": check.grade,
        "passed": check.passed,
        "detail": check.detail,
        "numbers": [_number_document(held) for held in check.numbers],
        "figure": None if check.figure is None else _figure_document(check.figure),
    }


def _number_document(held: NumberHeld) -> dict[str, Any]:
    return asdict(held) | {"unit": number_info(held).unit}


def _figure_document(figure: FigureHeld) -> dict[str, Any]:
    difference = pixel_difference(figure)
    return {
        "name": figure.name,
        "against": figure.against,
        "expected_sha256": _digest(figure.expected),
        "found_sha256": _digest(figure.found),
        "pixels": None if difference is None else asdict(difference),
    }


def _provenance_document(sides: Sides) -> dict[str, Any]:
    return {"against": sides.other, "lines": [asdict(row) for row in provenance_rows(sides)]}


def _properties(document: dict[str, Any]) -> list[tuple[str, str]]:
    found = [(name, _text(document[name])) for name in _OF_THE_WHOLE]
    found += [("warning", warning) for warning in document["warnings"]]
    found += [("note", note) for note in document["notes"]]
    found += [(f"ungraded {figure['name']}", _figure_text(figure)) for figure in document["ungraded_figures"]]
    for line in document["provenance"]["lines"] if document["provenance"] else ():
        mark = "provenance (differs)" if line["differs"] else "provenance"
        found.append((f"{mark} {line['path']}", f"run: {_text(line['run'])}; expected: {_text(line['expected'])}"))
    return found


def _evidence_lines(check: dict[str, Any]) -> list[str]:
    lines = [f"against: {check['against']}"]
    for held in check["numbers"]:
        where = "/".join([held["surface"] or "models", held["model"], held["name"]])
        band = None if held["band"] is None else Band(**held["band"])
        lines.append(
            f"{where}: {_text(held['value'])}, expected {_text(held['expected'])}, {_text(held['grade'])}, "
            f"{band_text(band)}"
        )
    return lines if check["figure"] is None else [*lines, _figure_text(check["figure"])]


def _figure_text(figure: dict[str, Any]) -> str:
    pixels = figure["pixels"]
    said = "cannot be compared" if pixels is None else ", ".join(f"{name} {_text(pixels[name])}" for name in pixels)
    return f"pixels against {figure['against']}: {said}"


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _text(value: Any) -> str:
    """A JSON value as a word: null, true and false as JSON has them, floats with every digit, text as it is."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _plain(text: str) -> str:
    """`text` without what XML cannot hold."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
