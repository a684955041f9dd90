"""`tmrepro verify`. It never trusts the files that it checks.

grades.py       grades of numbers, arrays and counts: identical, equal, different
verdict.py      the verdict: checks with their numbers and figures, remarks, the exit code
document.py     the verdict as JSON, and its schema; junit.py: as JUnit XML
page.py         the verdict as a page, with the lines of drawing.py
band.py         the band of a number (grade consistent); bands.py: measures bands on replicates, on the scales of scales.py
platforms.py    whether two platforms should give bitwise identical results
folders.py      determines the kind of a folder: run, reference or kept surface
kept_surface.py checks a surface kept by tmrepro.loss_surface
level_integrity.py   checks that the files are unchanged
level_statistics.py  checks that the stored surfaces give the stored statistics and figures
level_audit.py       checks that the stored models give the stored surfaces and, with minimum_check.py, the stored minima
points.py       recomputes points of a surface; rounding.py: tolerances between platforms; measured.py: the measured error
paths.py        checks paths of training and stored directions; curvature.py: curvature.json; code.py: the user's code
comparison.py   compares a run with another run or a reference, with figures.py
reference.py    builds and reads references; update.py: replaces a reference by a run
levels.py       runs the levels in order, for a run and for a spec; higher_levels.py: the levels above integrity
options.py      the options of a verification
"""

from __future__ import annotations

from tmrepro.verification.folders import default_level, kind_of, refuse_level
from tmrepro.verification.grades import Grade
from tmrepro.verification.levels import LEVELS, open_reference, verify_run, verify_spec
from tmrepro.verification.options import Options
from tmrepro.verification.verdict import Check, Verdict

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
