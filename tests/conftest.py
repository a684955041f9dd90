"""What all tests share: determinism as the command line sets it, before anything loads torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tmrepro.determinism import Determinism, prepare

prepare(Determinism("portable", 2))

# A first example loads libraries, and the machine may be busy: how long one takes says nothing about the code.
# The same examples in every run: what fails, fails by a change. `--hypothesis-profile anew` draws others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("anew", deadline=None, print_blob=True)
settings.load_profile("same")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that a second thread gains nothing, and on a busy machine is long waited for."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
