"""`tmrepro worker`, and the options of every command that connects to a scheduler."""

from pathlib import Path
from typing import Annotated

import typer

SchedulerFileOption = Annotated[
    Path | None,
    typer.Option(
        help="The file that `dask scheduler --scheduler-file` writes, instead of an address.", show_default=False
    ),
]
TlsCaOption = Annotated[
    Path | None,
    typer.Option(
        help="Certificate of the authority that signed the certificates of both sides.",
        envvar="TMREPRO_TLS_CA",
        show_default=False,
    ),
]
TlsCertOption = Annotated[
    Path | None, typer.Option(help="Certificate of this side.", envvar="TMREPRO_TLS_CERT", show_default=False)
]
TlsKeyOption = Annotated[
    Path | None, typer.Option(help="Key of that certificate.", envvar="TMREPRO_TLS_KEY", show_default=False)
]


def worker(
    *,
    address: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="Address of `dask scheduler`: tcp://127.0.0.1:8786, tls://HOST:8786."),
    ] = None,
    scheduler_file: SchedulerFileOption = None,
    nworkers: Annotated[
        int, typer.Option(min=1, help="Processes here: one per GPU, otherwise cores / compute.threads.")
    ] = 1,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Read the data from this folder and compare them, instead of receiving them.", show_default=False
        ),
    ] = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
) -> None:
    """Compute for the runs of a scheduler, until ctrl-C. If the scheduler is not there, or restarts, wait for it.

    Examples:
      dask scheduler --host 127.0.0.1
      tmrepro worker tcp://127.0.0.1:8786 --nworkers 4
      tmrepro run spec/quickstart.yaml --scheduler tcp://127.0.0.1:8786

    Between machines, TLS is required: docs/scale.md.
    """
    from tmrepro.runner.cluster.link import Link
    from tmrepro.runner.cluster.serve import serve

    serve(Link(address, scheduler_file, tls_ca, tls_cert, tls_key), workers=nworkers, data_dir=data_dir)
