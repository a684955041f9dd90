"""`tmrepro verify` never trusts what it checks.

verdict.py      what a check found, how well things agree, and the exit code
grades.py       identical, equal, consistent, different
integrity.py    are these the bytes that were written?
recompute.py    do the stored surfaces give the stored statistics and figures?
audit.py        do the stored models give the stored surfaces?
compare.py      does a run agree with another run or a reference?
reference.py    references: built from runs, read, and their bands
levels.py       the levels in their order, for a run and for a spec
output.py       a verdict as JSON and as JUnit XML
"""

from __future__ import annotations

from tmrepro.verify.levels import LEVELS, verify_run, verify_spec
from tmrepro.verify.verdict import Check, Grade, Verdict

__all__ = ["LEVELS", "Check", "Grade", "Verdict", "verify_run", "verify_spec"]
