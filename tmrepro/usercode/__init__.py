"""The user's code: every module that a factory loads from outside the standard library and installed packages.

The spec names a factory ("package.module:function"), but its result depends on all that it imports. So this code is found,
hashed file by file, and enters the keys of the stages. Torch is not needed here.

record.py    the record: files with their SHA-256, distributions with their versions; the differences of two records
imports.py   the imports in a source, anywhere in it
origin.py    the origin of a module: the user, an installed package, or Python itself
loaded.py    compares the code that this process has loaded with its file
closure.py   all modules that some modules import, directly or indirectly
factory.py   finds and calls a factory
trace.py     `code_of`: the code of a factory, found by using it
changes.py   compares a factory's code with the record of a run

Not found: files that are not code (a table that a network reads), and text that code gives to `exec`, which is reported.
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
