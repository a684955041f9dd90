"""`tmrepro verify` never trusts what it checks.

words.py        grades and levels
verdict.py      what a check found, how well things agree, and the exit code
evidence.py     the numbers and pictures behind a check
grades.py       identical, equal, different: numbers, arrays, counts
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
output.py       a verdict as JSON (schema.py: what that holds) and as JUnit XML
page.py         a verdict as a page, with the lines of drawing.py; facts.py: what all three tell; cell.py: in a notebook
"""

from __future__ import annotations

from tmrepro.verify.folders import default_level, kind_of, refuse_level
from tmrepro.verify.levels import LEVELS, open_reference, verify_run, verify_spec
from tmrepro.verify.options import Options
from tmrepro.verify.verdict import Check, Grade, Verdict

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
