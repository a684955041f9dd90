"""The address of a scheduler, and whether the connection is secure.

Dask unpickles what it receives, so everybody who can connect to a scheduler or a worker can run code there. Plain TCP is
allowed on this machine only. All other connections need TLS with certificates on both sides.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.errors import UsageError

if TYPE_CHECKING:
    from distributed import Security

SCHEDULER_FILE_BYTES = 2**20


@dataclass(frozen=True)
class Link:
    """A scheduler, by its address or the file that it writes (`dask scheduler --scheduler-file`), and the certificates."""

    scheduler: str | None = None
    scheduler_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def check(self) -> None:
        """Raise UsageError unless the link names one scheduler and may be used.

        Raises:
            UsageError: it names none or two, certificates are missing, or a network connection has no TLS.
        """
        if (self.scheduler is None) == (self.scheduler_file is None):
            raise UsageError("give either the scheduler's address or --scheduler-file")
        given = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        missing = [name for name, path in given.items() if path is None]
        if 0 < len(missing) < len(given):
            raise UsageError(
                f"TLS needs the certificate, its key and the certificate of the authority; {', '.join(missing)} is missing"
            )
        for name, path in given.items():
            if path is not None and not path.is_file():
                raise UsageError(f"{name} {path}: no such file")
        if self.scheduler is not None:
            self._check_address(self.scheduler)

    def address(self) -> str:
        """Return the address with its scheme. A scheduler file is read each time.

        Raises:
            UsageError: see `check`; or `dask scheduler` did not write the file.
            FileNotFoundError: the file does not exist (yet).
        """
        self.check()
        if self.scheduler_file is None:
            assert self.scheduler is not None  # noqa: S101 - checked
            return self._with_scheme(self.scheduler)
        with self.scheduler_file.open("rb") as file:
            content = file.read(SCHEDULER_FILE_BYTES)
        try:
            address = json.loads(content)["address"]
        except (ValueError, TypeError, KeyError):
            address = None
        if not isinstance(address, str):
            raise UsageError(f"--scheduler-file {self.scheduler_file}: not a file that `dask scheduler` wrote")
        self._check_address(address)
        return address

    def security(self) -> Security:
        """Return the certificates in Dask's form, for clients and workers."""
        from distributed import Security

        if self.tls_ca is None:
            return Security()
        ca, cert, key = str(self.tls_ca), str(self.tls_cert), str(self.tls_key)
        return Security(
            require_encryption=True,
            tls_ca_file=ca,
            tls_client_cert=cert,
            tls_client_key=key,
            tls_worker_cert=cert,
            tls_worker_key=key,
        )

    def _with_scheme(self, address: str) -> str:
        return address if "://" in address else f"{'tcp' if self.tls_ca is None else 'tls'}://{address}"

    def _check_address(self, given: str) -> None:
        address = self._with_scheme(given)
        scheme, _, place = address.partition("://")
        host, _, port = place.rpartition(":")
        if scheme not in {"tcp", "tls"} or not host or not port.isdecimal():
            raise UsageError(
                f"{given}: expected the address of a scheduler, such as tcp://127.0.0.1:8786 or tls://HOST:8786"
            )
        if scheme == "tls" and self.tls_ca is None:
            raise UsageError(
                f"{given}: TLS needs --tls-ca, --tls-cert and --tls-key; docs/scale.md says how to make them"
            )
        if scheme == "tcp" and self.tls_ca is not None:
            raise UsageError(
                f"{given}: this is an address without TLS, but certificates are given; use tls:// or omit them"
            )
        if scheme == "tcp" and not _is_loopback(host):
            raise UsageError(
                f"{given} is not on this machine, and without TLS anybody on the network could run code here: start the "
                "scheduler with TLS and give --tls-ca, --tls-cert and --tls-key (docs/scale.md)"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
