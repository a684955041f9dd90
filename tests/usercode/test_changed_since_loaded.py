"""The hash of a file must not vouch for code that did not run: what was changed since it was loaded is refused."""

from __future__ import annotations

import importlib
import os
import py_compile
import sys

import pytest

from tests.usercode.factories import record_of
from tmrepro.errors import UsageError

NET = "import helper\ndef make():\n    return helper.Act()\n"
HELPER = """import math
SCALE = 2.0
FUNCTION = math.exp
NAMES = ("a", "b")
class Act:
    def __call__(self):
        return SCALE
def plain(x):
    return x
"""
CHANGES = [
    ("return x", "return 2 * x"),
    ("return SCALE", "return 3.0"),
    ("SCALE = 2.0", "SCALE = 3.0"),
    ("math.exp", "math.log"),
    ('"a", "b"', '"a", "c"'),
    ("import math\n", "# a word\nimport math\n"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_a_first_run_is_refused_in_a_second(write, forget, change):
    write({"net.py": NET, "helper.py": HELPER})
    record_of("net:make")
    write({"helper.py": HELPER.replace(*change)})
    with pytest.raises(UsageError, match=r"helper\.py was changed after this Python loaded it.*restart Python"):
        record_of("net:make")
    forget()
    changed = record_of("net:make")
    write({"helper.py": HELPER})
    forget()
    assert record_of("net:make") != changed


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_the_first_run_is_refused_if_it_was_loaded(write, change):
    write({"net.py": NET, "helper.py": HELPER})
    importlib.import_module("helper")
    write({"helper.py": HELPER.replace(*change)})
    with pytest.raises(UsageError, match=r"helper\.py was changed after this Python loaded it"):
        record_of("net:make")


def test_a_file_that_was_loaded_before_and_is_the_same_is_fine(write, forget):
    write({"net.py": NET, "helper.py": HELPER + "COUNT = 0\ndef count():\n    global COUNT\n    COUNT += 1\n"})
    fresh = record_of("net:make")
    forget()
    importlib.import_module("net").helper.count()
    assert record_of("net:make") == fresh


def test_a_module_that_was_reloaded_counts_as_it_is_now(write):
    write({"net.py": NET, "helper.py": HELPER})
    before = record_of("net:make")
    write({"helper.py": HELPER.replace("SCALE = 2.0", "SCALE = 3.0")})
    importlib.reload(sys.modules["helper"])
    assert record_of("net:make").files["helper.py"] != before.files["helper.py"]


def test_a_file_that_is_gone_is_refused(write):
    home = write({"net.py": NET, "helper.py": HELPER})
    record_of("net:make")
    (home / "helper.py").unlink()
    with pytest.raises(UsageError, match="'helper' is defined in no file that can be read"):
        record_of("net:make")


def test_bytecode_of_another_source_is_refused(write):
    home = write({"net.py": NET, "helper.py": HELPER})
    path = home / "helper.py"
    py_compile.compile(str(path))
    times = path.stat()
    path.write_text(HELPER.replace("return x", "return 1"), encoding="utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as cp -p does
    with pytest.raises(UsageError, match=r"the bytecode of helper\.py in __pycache__ is from another source"):
        record_of("net:make")
