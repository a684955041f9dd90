"""A scheduler is talked to on this machine, or with certificates on both sides; everything else is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tmrepro.errors import UsageError
from tmrepro.runner.cluster import Link

CERTIFICATES = ("ca.pem", "node.pem", "node.key")


@pytest.fixture
def certificates(tmp_path) -> dict[str, Path]:
    paths = [tmp_path / name for name in CERTIFICATES]
    for path in paths:
        path.write_text("-")
    return dict(zip(("tls_ca", "tls_cert", "tls_key"), paths, strict=True))


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("127.8.0.1:1", "tcp://127.8.0.1:1"),
        ("localhost:8786", "tcp://localhost:8786"),
        ("tcp://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_this_machine_needs_no_certificates(given, address):
    assert Link(given).address() == address


@pytest.mark.parametrize(
    "given", ["tcp://10.0.0.5:8786", "head:8786", "tcp://0.0.0.0:8786", "tcp://[2001:db8::1]:8786"]
)
def test_another_machine_is_refused_without_tls(given, certificates):
    with pytest.raises(UsageError, match="anybody on the network could run code here"):
        Link(given).check()
    if "://" not in given:
        assert Link(given, **certificates).address() == f"tls://{given}"


@pytest.mark.parametrize("given", ["", "head", "tcp://", "tcp://head", "ucx://127.0.0.1:8786", "http://127.0.0.1:8787"])
def test_what_is_no_address_is_refused(given):
    with pytest.raises(UsageError, match="expected the address of a scheduler"):
        Link(given).check()


def test_certificates_come_together_and_fit_the_address(certificates, tmp_path):
    assert Link("tls://head:8786", **certificates).address() == "tls://head:8786"
    with pytest.raises(UsageError, match="--tls-cert, --tls-key is missing"):
        Link("tls://head:8786", tls_ca=certificates["tls_ca"]).check()
    with pytest.raises(UsageError, match=r"none\.key: no such file"):
        Link("tls://head:8786", **certificates | {"tls_key": tmp_path / "none.key"}).check()
    with pytest.raises(UsageError, match="TLS needs --tls-ca"):
        Link("tls://head:8786").check()
    with pytest.raises(UsageError, match="an address without TLS"):
        Link("tcp://head:8786", **certificates).check()


def test_one_scheduler_is_named(tmp_path):
    for link in (Link(), Link("127.0.0.1:1", scheduler_file=tmp_path / "f")):
        with pytest.raises(UsageError, match="either the scheduler's address or --scheduler-file"):
            link.check()


def test_a_scheduler_file_is_read_each_time_and_not_trusted(tmp_path):
    file = tmp_path / "scheduler.json"
    link = Link(scheduler_file=file)
    with pytest.raises(FileNotFoundError):
        link.address()
    for port in (1, 2):
        file.write_text(f'{{"address": "tcp://127.0.0.1:{port}", "type": "Scheduler"}}')
        assert link.address() == f"tcp://127.0.0.1:{port}"
    file.write_text('{"address": "tcp://10.0.0.5:8786"}')
    with pytest.raises(UsageError, match="without TLS"):
        link.address()
    for text in ("", "[]", "{}", '{"address": 1}', "{" * 100):
        file.write_text(text)
        with pytest.raises(UsageError, match="not a file that `dask scheduler` wrote"):
            link.address()
