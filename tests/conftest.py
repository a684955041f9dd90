"""What all tests share: determinism as the command line sets it, before anything loads torch."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from hypothesis import settings

from tmrepro.numerics.determinism import Determinism, prepare

prepare(Determinism("portable", 2))
# pytest-xdist sets it, and so does readline, behind os.environ; commands believe it.
os.environ["COLUMNS"] = ""
del os.environ["COLUMNS"]

# A first example loads libraries, and the machine may be busy: how long one takes says nothing about the code.
# The same examples in every run: what fails, fails by a change. `--hypothesis-profile anew` draws others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("anew", deadline=None, print_blob=True)
settings.load_profile("same")


@pytest.fixture(autouse=True, scope="session")
def _fonts_subset_once() -> Iterator[None]:
    """Every PDF has the letters that it uses; cutting them out of the font takes a third of the time of a figure.

    Runs and their verification draw the same figures again and again in one process: the same letters, the same part of the font.
    """
    from matplotlib.backends import _backend_pdf_ps as pdf

    cut, as_file = pdf.get_glyphs_subset, pdf.font_as_file

    @cache
    def once(font: object, glyphs: frozenset[int]) -> tuple[bytes, dict[int, int]]:
        with cut(font, set(glyphs)) as found:
            return as_file(found.font).getvalue(), found.glyph_index_map

    def subset(font: object, glyphs: Iterable[int]) -> AbstractContextManager[pdf.SubsetResults]:
        return nullcontext(pdf.SubsetResults(*once(font, frozenset(glyphs))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf, "get_glyphs_subset", subset)
        patch.setattr(pdf, "font_as_file", BytesIO)
        yield


@pytest.fixture(autouse=True, scope="session")
def _figures_drawn_once() -> Iterator[None]:
    """Draw each figure of a run, and its small copy for the page, once in a process for the same numbers.

    Drawing takes half the time of a small run, and tests of runs and of verification need the same figures many times.
    tests/reporting/figures calls the drawing functions directly, and checks that they give the same bytes in every process.
    """
    from tmrepro.reporting.figures import embedded
    from tmrepro.runner.drawings import Drawing

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        found: dict[bytes, Any] = {}

        def remembered(*arguments: object) -> Any:
            key = sha256(pickle.dumps(arguments)).digest()
            if key not in found:
                found[key] = function(*arguments)
            return found[key]

        return remembered

    files = once(Drawing.files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drawing, "files", lambda self: dict(files(self)))
        patch.setattr(embedded, "_reduced", once(embedded._reduced))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that a second thread gains nothing, and on a busy machine is long waited for."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
