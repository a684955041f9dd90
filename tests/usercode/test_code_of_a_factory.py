"""All code that a factory loads is found, however it is imported, and whatever this process loaded before."""

from __future__ import annotations

import hashlib
import sys
import types
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from tests.usercode.factories import record_of
from tmrepro.errors import UsageError

ACT = "def act(x):\n    return x\n"
FACTORY = "def make(**arguments):\n    return {}\n"


@pytest.mark.parametrize(
    ("source", "others"),
    [
        ("import helper\n", {"helper.py": ACT}),
        ("import helper as h\n", {"helper.py": ACT}),
        ("from helper import *\n", {"helper.py": ACT}),
        ("try:\n    from helper import act\nexcept ImportError:\n    pass\n", {"helper.py": ACT}),
        ("import a.b.c as c\n", {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": ACT}),
        ("from a.b import c\n", {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": ACT}),
        ("from a import act\n", {"a/__init__.py": "from .acts import act\n", "a/acts.py": ACT}),
        ("from a import acts\n", {"a/__init__.py": "from . import acts\n", "a/acts.py": "from . import acts\n"}),
        ("from space.acts import act\n", {"space/acts.py": ACT}),  # a namespace package has no file of its own
        ("import one\n", {"one.py": "import two\n", "two.py": "import three\n", "three.py": "import one\n"}),
        ("import importlib\nh = importlib.import_module('helper')\n", {"helper.py": ACT}),
        ("h = __import__('helper')\n", {"helper.py": ACT}),
        ("def late():\n    import helper\n", {"helper.py": ACT}),  # in training only, or never
        ("class Late:\n    def backward(self):\n        from helper import act\n", {"helper.py": ACT}),
    ],
)
def test_every_file_that_is_imported_counts_by_its_name_and_hash(write, source, others):
    write({"net.py": source + FACTORY, **others})
    expected = others | {"net.py": source + FACTORY}
    assert record_of("net:make").files == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in expected.items()
    }


def test_a_factory_in_a_package_loads_the_packages_above_it(write):
    write({"a/__init__.py": "import b\n", "a/n/__init__.py": "", "a/n/net.py": FACTORY, "b.py": ""})
    assert set(record_of("a.n.net:make").files) == {"a/__init__.py", "a/n/__init__.py", "a/n/net.py", "b.py"}


PLUGINS = {
    "acts/__init__.py": "",
    "acts/gelu.py": ACT,
    "acts/relu.py": ACT,
    "net.py": (
        "import importlib\ndef make(kind):\n    module = importlib.import_module(f'acts.{kind}')\n"
        "    return lambda: module.act(1)\n"
    ),
    "other.py": "from importlib import import_module\ndef make(kind):\n    import_module('acts.' + kind)\n",
}


def test_an_import_by_a_name_that_is_worked_out_is_seen_when_it_happens(write):
    write(PLUGINS)
    assert set(record_of("net:make", kind="gelu").files) == {"net.py", "acts/__init__.py", "acts/gelu.py"}


def test_what_was_loaded_before_for_another_model_is_found_as_well(write, forget):
    write(PLUGINS)
    alone = record_of("other:make", kind="relu").files
    assert set(alone) == {"other.py", "acts/__init__.py", "acts/relu.py"}
    forget()
    record_of("net:make", kind="relu")
    assert record_of("other:make", kind="relu").files == alone
    assert record_of("other:make", kind="relu").files == alone  # a second run in the same process


def test_a_helper_that_two_factories_share_is_in_both_records(write):
    write({"helper.py": ACT, "one.py": "import helper\n" + FACTORY, "two.py": "from helper import act\n" + FACTORY})
    assert set(record_of("one:make").files) == {"one.py", "helper.py"}
    assert set(record_of("two:make").files) == {"two.py", "helper.py"}


def test_a_model_of_the_same_package_that_is_not_imported_does_not_count(write):
    write({"nets/__init__.py": "", "nets/one.py": FACTORY, "nets/two.py": FACTORY})
    record_of("nets.two:make")
    assert set(record_of("nets.one:make").files) == {"nets/__init__.py", "nets/one.py"}


def test_a_file_that_is_executed_by_its_path_counts(write):
    home = write({"parts/layer.py": ACT})
    write(
        {
            "net.py": (
                "from importlib.util import module_from_spec, spec_from_file_location\ndef make():\n"
                f"    spec = spec_from_file_location('layer', {str(home / 'parts/layer.py')!r})\n"
                "    module = module_from_spec(spec)\n    spec.loader.exec_module(module)\n    return lambda: module.act(1)\n"
            )
        }
    )
    assert set(record_of("net:make").files) == {"net.py", "parts/layer.py"}


def test_a_module_without_a_source_is_hashed_as_it_is(write):
    library = f"native{EXTENSION_SUFFIXES[0]}"
    home = write({"net.py": "def make():\n    pass\ndef late():\n    import native\n"})
    (home / library).write_bytes(b"\x7fELF")
    assert record_of("net:make").files[library] == hashlib.sha256(b"\x7fELF").hexdigest()


def test_a_module_in_a_zip_archive_is_hashed_by_its_source(write, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "helpers.zip", "w") as archive:
        archive.writestr("zipped.py", ACT)
    monkeypatch.syspath_prepend(tmp_path / "helpers.zip")
    write({"net.py": "import zipped\n" + FACTORY})
    assert record_of("net:make").files["zipped.py"] == hashlib.sha256(ACT.encode()).hexdigest()


def test_what_only_a_type_checker_imports_does_not_count(write):
    typing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helper\n"
    write({"net.py": typing + FACTORY, "helper.py": ACT})
    assert set(record_of("net:make").files) == {"net.py"}


def test_pythons_own_modules_and_tmrepro_are_no_code_of_the_user(write):
    write({"net.py": "import json, os.path, sys\nfrom tmrepro.spec import Spec\n" + FACTORY})
    found = record_of("net:make")
    assert set(found.files) == {"net.py"}
    assert found.distributions == {}


def test_code_without_a_file_is_refused(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "cell", types.ModuleType("cell"))
    write({"net.py": "import cell\n" + FACTORY})
    with pytest.raises(UsageError, match=r"module 'cell' is defined in no file that can be read.*put it into a file"):
        record_of("net:make")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def make():\n    scope = {}\n    exec('def f(): pass' + '', scope)\n", True),
        (
            "import pathlib\nexec(pathlib.Path(__file__).with_name('text.py').read_text())\ndef make():\n    pass\n",
            True,
        ),
        ("import text\ndef make():\n    text.run('x = 1')\n", True),
        ("import dataclasses\ndef make():\n    return dataclasses.make_dataclass('D', ['x'])(1)\n", False),
    ],
)
def test_text_that_is_executed_is_said_to_be_unseen(write, source, told):
    write({"net.py": source, "text.py": "def run(text):\n    run_it = exec\n    run_it(text, {})\n"})
    notes = record_of("net:make").notes
    assert bool(notes) == told
    assert all("gives text to exec" in note for note in notes)


def test_the_same_name_in_two_places_keeps_both_hashes(write, tmp_path):
    write({"net.py": ""})
    for folder in ("one", "two"):
        write({"text.py": f"HERE = '{folder}'\n"}, folder=f"code/{folder}")
    run = "import runpy\ndef make():\n" + "".join(
        f"    runpy.run_path({str(tmp_path / 'code' / folder / 'text.py')!r})\n" for folder in ("one", "two")
    )
    write({"net.py": run})
    assert set(record_of("net:make").files) == {"net.py", "text.py", "text.py (2)"}
