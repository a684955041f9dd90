"""Calls of the coordinator to a scheduler and its workers. Each may be slow, or fail."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.request import urlopen

from distributed import Client
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from tmrepro.errors import ComputeError, DamagedError
from tmrepro.runner.cluster.admission import TOPIC, Admission
from tmrepro.runner.cluster.link import Link
from tmrepro.runner.cluster.tasks import Place
from tmrepro.spec.limits import FILE_BYTES
from tmrepro.store.atomic import read_bytes, safe_path

CONNECT_SECONDS = 5.0
AGAIN_SECONDS = 1.0
ECHO_SECONDS = 0.1
MOST_ECHO_SECONDS = 60.0  # a busy scheduler is slow; one that does not answer in this time counts as lost
LOST = (FutureCancelledError, CommClosedError, OSError, TimeoutError)  # the other side is lost


def client_of(link: Link) -> tuple[Client, str]:
    """Return a client of the scheduler that `link` names, and the address.

    Raises:
        ComputeError: no scheduler answers there.
        UsageError: the link is wrong or unsafe.
    """
    try:
        address = link.address()
    except FileNotFoundError as error:
        raise ComputeError(
            f"--scheduler-file {link.scheduler_file}: no such file; is the scheduler running?"
        ) from error
    try:
        return Client(address, security=link.security(), timeout=CONNECT_SECONDS, set_as_default=False), address
    except (OSError, TimeoutError) as error:
        raise ComputeError(
            f"no scheduler answers at {address}. Start `dask scheduler` there. It must use TLS if and only if the address "
            "begins with tls://"
        ) from error


def listen(client: Client, hear: Callable[[Any], None]) -> None:
    """Call `hear` with each event of the workers from now on.

    The scheduler subscribes with a delay, and drops earlier events. So this sends an event of its own and waits for it.

    Raises:
        TimeoutError: the event does not arrive.
    """
    token, heard = uuid.uuid4().hex, threading.Event()

    def handle(event: tuple[float, Any]) -> None:
        if event[1] == token:
            heard.set()
        else:
            hear(event[1])

    client.subscribe_topic(TOPIC, handle)
    end = time.monotonic() + MOST_ECHO_SECONDS
    while not heard.is_set():
        if time.monotonic() > end:
            raise TimeoutError(f"the scheduler sent no event for {MOST_ECHO_SECONDS:.0f} s")
        client.log_event(TOPIC, token)
        heard.wait(ECHO_SECONDS)


def workers_of(client: Client) -> Mapping[str, Any]:
    """Return the scheduler's information about its workers, by address."""
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


def dashboard_of(client: Client) -> str | None:
    """Return the address of the dashboard, or None. A scheduler names one even if bokeh is not installed, so it is tried."""
    with suppress(OSError, ValueError, KeyError):
        link: str = client.dashboard_link
        with urlopen(link, timeout=CONNECT_SECONDS) as page:  # noqa: S310 - the scheduler's own
            return link if page.status == HTTPStatus.OK else None
    return None


def leave(client: Client, name: str) -> None:
    """Stop preparing workers that join later."""
    with suppress(*LOST):
        client.unregister_worker_plugin(name)


def register(client: Client, admission: Admission) -> None:
    """Prepare all present and later workers for a run. Try again if one of them could not be reached."""
    while client.status == "running":
        try:
            client.register_plugin(admission, name=admission.name)
        except Exception:  # noqa: BLE001 - any fault of a worker or the scheduler; waiting for tasks raises the reason
            time.sleep(AGAIN_SECONDS)
        else:
            return


def content_of(workspace: Place, path: str, *, digest: str) -> bytes:
    """Return the bytes of a file of the run folder.

    Raises:
        DamagedError: their SHA-256 is not `digest`.
    """
    content = read_bytes(safe_path(workspace.run, path), limit_bytes=FILE_BYTES, name=path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(
            f"{workspace.run / path}: damaged (SHA-256 differs from the record); the same command recomputes it"
        )
    return content
