"""A verdict in a notebook's cell: the headline, the failed checks, the passed checks, and the remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tmrepro.reporting.cells import paragraph, table
from tmrepro.verification.grades import GRADES

if TYPE_CHECKING:
    from tmrepro.verification.verdict import Verdict


def verdict_html(verdict: Verdict) -> str:
    """Return the cell. All text in it is escaped."""
    checks = sorted(verdict.checks, key=lambda check: GRADES.index(check.grade), reverse=True)
    rows = [(check.level, check.subject, check.grade, check.detail) for check in checks]
    parts = [paragraph(verdict.headline, strong=True)]
    if rows:
        parts.append(table(("level", "subject", "grade", "found"), rows, text=4))
    parts += [paragraph(f"WARNING: {warning}") for warning in verdict.warnings]
    parts += [paragraph(f"note: {note}") for note in verdict.notes]
    return "<div>" + "".join(parts) + "</div>"
