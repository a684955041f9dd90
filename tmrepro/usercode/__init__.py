"""The user's code: every module that a factory loads from outside the standard library and installed packages.

A factory is named in the spec ("package.module:function"), but what it computes depends on all that it imports. So the code
is found, hashed file by file, and enters the keys of the stages. Torch is not needed here.

record.py    what is written down: files with their SHA-256, distributions with their versions; what of it has changed
imports.py   the imports that stand in a source, wherever in it they stand
origin.py    where a module comes from: the user, an installed package, or Python itself
loaded.py    is what this process has loaded what the file holds?
closure.py   all modules that some modules import, and those import, and so on
factory.py   a factory found and called
trace.py     `code_of`: the code of a factory, found by using it
changes.py   a factory's code against the record of a run

Out of reach: files that are no code (a table that a network reads), and text that code hands to `exec`, which is said.
"""

from __future__ import annotations

from tmrepro.usercode.changes import CodeChanges, changes_since
from tmrepro.usercode.factory import call_factory, importable_from, load_factory
from tmrepro.usercode.record import CodeRecord, code_from, file_changes, version_changes
from tmrepro.usercode.trace import code_as_read, code_of, is_at_hand

__all__ = [
    "CodeChanges",
    "CodeRecord",
    "call_factory",
    "changes_since",
    "code_as_read",
    "code_from",
    "code_of",
    "file_changes",
    "importable_from",
    "is_at_hand",
    "load_factory",
    "version_changes",
]
