"""The process that computes. caller.py starts it, and it sends messages, one JSON object per line.

{"stage": [...]}, {"epoch": [...]}, {"chunk": [...]} and {"note": TEXT} while it works, then {"result": TEXT} or {"error": {...}}.
After a signal it cleans up as a command does, and ends by that signal, so that its caller sees which one it was.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import FrameType
from typing import Any, NoReturn

from tmrepro.api.isolation import claimed
from tmrepro.api.isolation.messages import dump_error, dump_result, load_arguments
from tmrepro.errors import ComputeError
from tmrepro.records import Epoch
from tmrepro.reporting.progress import Action, Reporter

PR_SET_PDEATHSIG = 1  # linux/prctl.h: the kernel ends this process if its caller is killed


class _Stopped(BaseException):
    """A signal to stop, as an exception, so that locks, workers and temporary folders are released."""

    def __init__(self, number: int) -> None:
        self.number = number


def serve(request: Mapping[str, Any]) -> NoReturn:
    """Call the function of `tmrepro.api` that `request` names, send the result to the caller, and end."""
    channel = _Channel(request["channel"])
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        _end_with(request["caller"])
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
        gc.set_threshold(50_000, 10, 10)  # as a command does
        channel.tell(_compute(request, reporter=_Forwarding(channel)))
    except _Stopped as stopped:
        signal.signal(stopped.number, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.number)
    gc.freeze()  # Python's final garbage collection would take two seconds
    sys.exit(0)


def _compute(request: Mapping[str, Any], *, reporter: Reporter) -> dict[str, Any]:
    from tmrepro import api

    function: Callable[..., Any] = getattr(api, request["function"])
    try:
        with claimed():
            result = function(**load_arguments(request["arguments"]), reporter=reporter)
        return {"result": dump_result(function, result)}
    except SystemExit as error:  # tmrepro's own code does not exit this way
        ended = ComputeError(f"code that the spec names ended the program (sys.exit({error.code!r}))")
        return {"error": dump_error(ended)}
    except Exception as error:  # noqa: BLE001 - the caller raises it again
        return {"error": dump_error(error)}


def _end_with(caller: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != caller:  # killed while this process was starting
            raise _Stopped(signal.SIGTERM)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)


class _Channel:
    """Sends one line at a time to the caller."""

    def __init__(self, number: int) -> None:
        os.set_inheritable(number, False)  # noqa: FBT003 - it has no keyword argument
        self._file = open(number, "w", encoding="utf-8")  # noqa: SIM115 - it is open as long as this process is

    def tell(self, message: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()


class _Forwarding:
    """Forwards all events to the caller's reporter."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel

    def stage(self, name: str, action: Action, reason: str) -> None:
        self._channel.tell({"stage": [name, action, reason]})

    def ended(self, name: str) -> None:
        self._channel.tell({"ended": [name]})

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        self._channel.tell({"epoch": [model, asdict(epoch), {"seed": seed, "max_epochs": max_epochs}]})

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        self._channel.tell({"chunk": [surface, model, {"points_done": points_done, "points": points}]})

    def note(self, message: str) -> None:
        self._channel.tell({"note": message})
