"""Starts a process that computes, receives its messages until it ends, and ends it if the caller is interrupted."""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tmrepro.api.isolation.messages import dump_arguments, load_error, load_result
from tmrepro.errors import ComputeError
from tmrepro.records import Epoch
from tmrepro.reporting.progress import Reporter, default_reporter

LOOK_SECONDS = 0.5  # interval of checks that the process is alive, if it sends nothing
GRACE_SECONDS = 20.0  # for cleaning up before it is killed; a killed run can be continued as well
SHOWN_CHARACTERS = 2000  # of its standard error, if it ended without a message

# The paths are set first, because tmrepro itself may be in one that the caller added.
_COMMAND = (
    "import json, sys; request = json.loads(sys.stdin.buffer.readline()); sys.path[:] = request['path']; "
    "from tmrepro.api.isolation.child import serve; serve(request)"
)


def call_isolated(function: Callable[..., Any], arguments: dict[str, Any], *, environment: Mapping[str, str]) -> Any:
    """Call `function` of `tmrepro.api` in a new interpreter with `environment`, and return or raise what it does.

    Modules are found with the sys.path of this process. Progress goes to the `reporter` among the arguments, output to
    sys.stdout and sys.stderr of this process. An exception here, such as KeyboardInterrupt, ends the process first.

    Raises:
        ComputeError: the process cannot be started, or ended without a result.
    """
    reporter = arguments.pop("reporter", None) or default_reporter()
    request = {
        "function": function.__name__,
        "arguments": dump_arguments(arguments),
        "path": [entry for entry in sys.path if isinstance(entry, str)],
        "caller": os.getpid(),
    }
    heard = _Heard(reporter)
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", buffering=0) as channel:
        try:
            process = _start(environment, keep=theirs)
        finally:
            os.close(theirs)
        with process:
            _follow(process, channel, heard, request=request | {"channel": theirs})
    if heard.error is not None:
        raise load_error(heard.error)
    if heard.result is None:
        raise _unexplained(process.returncode, heard.last_words)
    return load_result(function, heard.result)


def _start(environment: Mapping[str, str], *, keep: int) -> subprocess.Popen[bytes]:
    """Start the process in its own group, so that an interrupt of the terminal or the notebook reaches only its caller."""
    try:
        return subprocess.Popen(  # noqa: S603
            [sys.executable or "", "-P", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            pass_fds=[keep],
            process_group=0,
        )
    except OSError as error:
        raise ComputeError(f"a separate process cannot be started ({sys.executable}): {error.strerror}") from error


def _follow(process: subprocess.Popen[bytes], channel: Any, heard: _Heard, *, request: Mapping[str, Any]) -> None:
    """Send the request, then receive messages until the process has ended. An exception here ends it."""
    assert process.stdin is not None  # noqa: S101 - `_start` requested it
    try:
        with (
            contextlib.suppress(BrokenPipeError),
            process.stdin as stdin,
        ):  # if it ended already, the reason follows below
            stdin.write(json.dumps(request).encode() + b"\n")
        _listen(process, channel, heard)
    except BaseException:
        heard.is_over = heard.is_muted = True
        try:
            process.send_signal(signal.SIGINT)
            _listen(process, channel, heard)
        finally:
            process.kill()  # has an effect only if another interrupt came first
        raise


def _listen(process: subprocess.Popen[bytes], channel: Any, heard: _Heard) -> None:
    takers = {channel: heard.message, process.stdout: heard.output, process.stderr: heard.error_output}
    deadline = math.inf
    with selectors.DefaultSelector() as selector:
        for file, take in takers.items():
            selector.register(file, selectors.EVENT_READ, take)
        while selector.get_map():
            has_ended = process.poll() is not None
            events = selector.select(LOOK_SECONDS)
            for key, _ in events:
                data = os.read(key.fd, 2**16)
                if not data:
                    selector.unregister(key.fileobj)
                key.data(data)
            is_late = time.monotonic() > deadline
            if has_ended and (is_late or not events):
                break  # another process, which its code started, holds a pipe open
            if is_late:
                process.kill()
            if (has_ended or heard.is_over) and deadline == math.inf:
                deadline = time.monotonic() + GRACE_SECONDS
    process.wait()


class _Heard:
    """The messages of a process: events and output are passed on at once, the last output is kept."""

    def __init__(self, reporter: Reporter) -> None:
        self.result: str | None = None
        self.error: Mapping[str, Any] | None = None
        self.last_words = ""
        self.is_over = False  # True: there is a result or an error, or no one is expected
        self.is_muted = False
        self._reporter = reporter
        self._rest = b""
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = decoder("replace"), decoder("replace")

    def message(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def output(self, data: bytes) -> None:
        self._pass_on(sys.stdout, self._decoders[0].decode(data))

    def error_output(self, data: bytes) -> None:
        text = self._decoders[1].decode(data)
        self.last_words = (self.last_words + text)[-SHOWN_CHARACTERS:]
        self._pass_on(sys.stderr, text)

    def _pass_on(self, stream: TextIO | None, text: str) -> None:
        if stream is not None and text and not self.is_muted:
            stream.write(text)
            stream.flush()

    def _take(self, message: Mapping[str, Any]) -> None:
        if self.is_muted:
            return
        match message:
            case {"stage": told}:
                self._reporter.stage(*told)
            case {"ended": [name]}:
                self._reporter.ended(name)
            case {"epoch": [model, epoch, told]}:
                self._reporter.epoch(model, Epoch(**epoch), **told)
            case {"chunk": [surface, model, told]}:
                self._reporter.chunk(surface, model, **told)
            case {"note": text}:
                self._reporter.note(text)
            case {"result": text}:
                self.result, self.is_over = text, True
            case {"error": error}:
                self.error, self.is_over = error, True


def _unexplained(code: int, last_words: str) -> ComputeError:
    goes_on = "the same call continues a run where it stopped"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        why = ", most likely because memory was not enough" if -code == signal.SIGKILL else ""
        return ComputeError(f"the process that computed was ended by {name}{why}; {goes_on}")
    said = f"; its last output: {last_words.strip()}" if last_words.strip() else ""
    return ComputeError(f"the process that computed ended with exit code {code} and no result; {goes_on}{said}")
