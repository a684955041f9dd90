"""Factories of the tests here: they are imported by the process that computes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from torch import nn


def network(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, width), nn.ReLU(), nn.Linear(width, 10))


def talking() -> nn.Module:
    sys.stdout.write("said by the factory: \N{GREEK SMALL LETTER THETA}\n")
    sys.stderr.write("and to standard error\n")
    return network()


def killed() -> nn.Module:
    os.kill(os.getpid(), signal.SIGKILL)
    return network()


def leaving(told: str) -> nn.Module:
    """Leaves something behind, which holds all pipes open."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    Path(told).write_text(str(pid), encoding="utf-8")
    sys.stderr.write("gone for good\n")
    os._exit(3)


def waiting(told: str) -> nn.Module:
    """Tells its process, then waits for the end."""
    Path(told).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)
    return network()
