"""`tmrepro verify` never trusts what it checks.

grades.py       identical, equal, different: numbers, arrays, counts
verdict.py      the record: checks with the numbers and pictures behind them, remarks, the exit code
document.py     the record as JSON, and the schema of that; junit.py: as JUnit XML
page.py         the record as a page, with the lines of drawing.py; cell.py: in a notebook
band.py         consistent: the band of a number; bands.py: measured on replicates, on the scales of scales.py
platforms.py    where the same bits were promised, and where they weren't
folders.py      a run, a reference, or a kept surface
kept.py         a surface that tmrepro.loss_surface keeps
integrity.py    are these the bytes that were written?
recompute.py    do the stored surfaces give the stored statistics and figures?
audit.py        do the stored models give the stored surfaces (and, relabelling.py, the stored minima)?
compare.py      does a run agree with another run or a reference (minima.py, figures.py: part by part)?
reference.py    references: built from runs, and read; update.py: replaced by a run
levels.py       the levels in their order, for a run and for a spec; deep.py: those above integrity
options.py      how a caller wants to verify
"""

from __future__ import annotations

from tmrepro.verify.folders import default_level, kind_of, refuse_level
from tmrepro.verify.grades import Grade
from tmrepro.verify.levels import LEVELS, open_reference, verify_run, verify_spec
from tmrepro.verify.options import Options
from tmrepro.verify.verdict import Check, Verdict

__all__ = [
    "LEVELS",
    "Check",
    "Grade",
    "Options",
    "Verdict",
    "default_level",
    "kind_of",
    "open_reference",
    "refuse_level",
    "verify_run",
    "verify_spec",
]
