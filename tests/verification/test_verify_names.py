"""`tmrepro.verify` is a function and `tmrepro/verify` a folder: importing the one must not hide the other."""

from __future__ import annotations

import inspect

import tmrepro
import tmrepro.verification.levels  # what would put the folder in the function's place
from tmrepro.verification import Verdict


def test_the_function_is_there_after_the_folder_was_imported() -> None:
    assert inspect.isfunction(tmrepro.verify)
    assert list(inspect.signature(tmrepro.verify).parameters)[:4] == ["target", "level", "reference", "replicate"]
    assert Verdict.__module__ == "tmrepro.verification.verdict"
