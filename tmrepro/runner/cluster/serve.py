"""`tmrepro worker`: worker processes for a scheduler. They reconnect when the scheduler is back."""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from distributed import Nanny, Security
from distributed.comm.core import connect
from distributed.core import Status

from tmrepro.runner.cluster.link import Link

WORKER_NUMBER = "TMREPRO_WORKER_NUMBER"  # number of a worker on its machine; it selects the GPU
WORKER_DATA = "TMREPRO_WORKER_DATA"  # folder of the data, if the worker has its own copy
AGAIN_SECONDS = 1.0
CONNECT_SECONDS = 5.0
START_SECONDS = 300.0  # for a process to start and to join; a busy machine is slow

# One task at a time. Dask must not spill to disk, pause or kill because of memory.
WORKER_SETTINGS: Mapping[str, Any] = {
    "nthreads": 1,
    "memory_limit": 0,
    "config": {"distributed.worker.profile.enabled": False},
}
_log = logging.getLogger("tmrepro.worker")


def serve(link: Link, *, workers: int, data_dir: Path | None) -> None:
    """Work for the scheduler of `link` in `workers` processes until a signal ends this one.

    Raises:
        UsageError: the link is wrong or unsafe.
    """
    link.check()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    _log.setLevel(logging.INFO)
    silence()
    stopped = asyncio.run(_serve(link, workers=workers, data_dir=data_dir))
    signal.raise_signal(stopped)  # end by the signal, as every command does


def silence() -> None:
    """Turn off Dask's log, which is for debugging Dask. tmrepro's own messages inform the user."""
    for handler in logging.getLogger("distributed").handlers:  # the handler that Dask gives to all its loggers
        handler.setLevel(logging.CRITICAL)


async def _serve(link: Link, *, workers: int, data_dir: Path | None) -> signal.Signals:
    loop, stopped = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in before:
        loop.add_signal_handler(number, stop, number)
    with tempfile.TemporaryDirectory(prefix="tmrepro-worker-") as folder:
        environment = {} if data_dir is None else {WORKER_DATA: str(data_dir.resolve())}
        tasks = [
            asyncio.create_task(_stay(link, folder=folder, environment=environment | {WORKER_NUMBER: str(number)}))
            for number in range(workers)
        ]
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for number, handler in before.items():
        loop.remove_signal_handler(number)
        signal.signal(number, handler)
    if not stopped.done():
        raise next(error for error in ended if isinstance(error, Exception))
    return signal.Signals(stopped.result())


async def _stay(link: Link, *, folder: str, environment: Mapping[str, str]) -> None:
    """Run one worker process, and start it again whenever it ends, usually with its scheduler."""
    is_waiting = False
    while True:
        with suppress(FileNotFoundError, OSError, TimeoutError):  # there is no scheduler now
            address, security = link.address(), link.security()
            comm = await connect(address, timeout=CONNECT_SECONDS, **security.get_connection_args("worker"))
            await comm.close()
            await _work(address, security, folder=folder, environment=environment)
            is_waiting = False
        if not is_waiting:
            is_waiting = True
            _log.info("worker %s waits for a scheduler", environment[WORKER_NUMBER])
        await asyncio.sleep(AGAIN_SECONDS)


async def _work(address: str, security: Security, *, folder: str, environment: Mapping[str, str]) -> None:
    """Run a worker process, and restart it when it dies or hangs, as long as its scheduler is there."""
    nanny = Nanny(
        address,
        security=security,
        local_directory=folder,
        env=dict(environment),
        silence_logs=logging.CRITICAL,
        death_timeout=START_SECONDS,
        dashboard_address="127.0.0.1:0",
        **WORKER_SETTINGS,
    )
    try:
        await nanny
        _log.info("worker %s is at %s, for %s", environment[WORKER_NUMBER], nanny.worker_address, address)
        await nanny.finished()
    except (AssertionError, RuntimeError, ValueError) as error:  # Dask raises these if the scheduler is lost meanwhile
        _log.debug("%s", error)
    finally:
        if nanny.status != Status.closed:
            with suppress(Exception):
                await nanny.close(timeout=CONNECT_SECONDS)
