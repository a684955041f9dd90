"""A verdict as JUnit XML, with the same content as the JSON (document.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tmrepro.errors import StorageError
from tmrepro.verification.document import BandDocument, CheckDocument, FigureDocument, NumberDocument, VerdictDocument
from tmrepro.verification.verdict import Verdict

_OF_THE_WHOLE = ("headline", "subject", "level", "reference", "replicate", "grade", "passed", "exit_code", "same_bits")


def write_junit(verdict: Verdict, path: Path) -> None:
    """Write a test case per check; failed checks are failures. Numbers are in the output, all else in properties.

    Raises:
        StorageError: `path` cannot be written.
    """
    import junitparser

    document = VerdictDocument.model_validate(verdict)
    suite = junitparser.TestSuite(_plain(f"tmrepro verify {verdict.subject}"))
    for name, value in _properties(document):
        suite.add_property(_plain(name), _plain(value))
    for check in document.checks:
        case = junitparser.TestCase(_plain(check.subject), classname=f"tmrepro.verify.{check.level}")
        found = _plain(f"{check.grade}: {check.detail}")
        if not check.passed:
            case.result = [junitparser.Failure(found, check.grade)]
        case.system_out = "\n".join([found, *(_plain(line) for line in _evidence(check))])
        suite.add_testcase(case)
    whole = junitparser.JUnitXml()
    whole.add_testsuite(suite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write(str(path), pretty=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def _properties(document: VerdictDocument) -> list[tuple[str, str]]:
    found = [(name, _text(getattr(document, name))) for name in _OF_THE_WHOLE]
    found += [("warning", warning) for warning in document.warnings]
    found += [("note", note) for note in document.notes]
    found += [(f"ungraded {figure.name}", _figure_text(figure)) for figure in document.ungraded_figures]
    for line in document.provenance.lines if document.provenance else ():
        mark = "provenance (differs)" if line.differs else "provenance"
        found.append((f"{mark} {line.path}", f"run: {_text(line.run)}; expected: {_text(line.expected)}"))
    return found


def _evidence(check: CheckDocument) -> list[str]:
    lines = [f"against: {check.against}", *map(_number_text, check.numbers)]
    return lines if check.figure is None else [*lines, _figure_text(check.figure)]


def _number_text(number: NumberDocument) -> str:
    where = "/".join([number.surface or "models", number.model, number.name])
    values = f"{_text(number.value)}, expected {_text(number.expected)}, {_text(number.grade)}"
    return f"{where}: {values}, {_band_text(number.band)}"


def _band_text(band: BandDocument | None) -> str:
    """Return a band with every digit, in one line."""
    if band is None:
        return "no band"
    return (
        f"band {_text(band.low)} to {_text(band.high)} "
        f"({band.scale} scale, n {band.n}, mean {_text(band.mean)}, deviation {_text(band.deviation)})"
        f"{', judges nothing' if band.judges_nothing else ''}"
    )


def _figure_text(figure: FigureDocument) -> str:
    if figure.pixels is None:
        return f"pixels against {figure.against}: cannot be compared"
    pixels = figure.pixels.model_dump()
    return f"pixels against {figure.against}: {', '.join(f'{name} {_text(value)}' for name, value in pixels.items())}"


def _text(value: Any) -> str:
    """Return a JSON value as a word: null, true and false as in JSON, floats with every digit, text unchanged."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _plain(text: str) -> str:
    """Return `text` with characters that XML does not allow replaced."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
