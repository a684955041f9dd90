"""A verdict as JSON and as JUnit XML: the same facts in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tmrepro.errors import StorageError
from tmrepro.verify.verdict import Verdict


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values."""
    return {
        "subject": verdict.subject,
        "level": verdict.level,
        "reference": verdict.reference,
        "grade": verdict.grade,
        "passed": verdict.passed,
        "exit_code": verdict.exit_code,
        "checks": [
            {
                "level": check.level,
                "subject": check.subject,
                "grade": check.grade,
                "passed": check.passed,
                "detail": check.detail,
            }
            for check in verdict.checks
        ],
        "notes": list(verdict.notes),
    }


def write_junit(verdict: Verdict, path: Path) -> None:
    """A test case per check; those that did not pass are failures.

    Raises:
        StorageError: `path` cannot be written.
    """
    import junitparser

    suite = junitparser.TestSuite(f"tmrepro verify {verdict.subject}")
    for check in verdict.checks:
        case = junitparser.TestCase(check.subject, classname=f"tmrepro.verify.{check.level}")
        if not check.passed:
            case.result = [junitparser.Failure(f"{check.grade}: {check.detail}", check.grade)]
        else:
            case.system_out = f"{check.grade}: {check.detail}"
        suite.add_testcase(case)
    document = junitparser.JUnitXml()
    document.add_testsuite(suite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        document.write(str(path), pretty=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
