"""What all tests share: determinism as the command line sets it, before anything loads torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tmrepro.determinism import Determinism, prepare

prepare(Determinism("portable", 2))

# A first example loads libraries, and the machine may be busy: how long one takes says nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that a second thread gains nothing, and on a busy machine is long waited for."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
