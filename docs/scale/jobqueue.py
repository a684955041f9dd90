"""One run on Slurm, with workers that dask-jobqueue submits as jobs of their own: python docs/scale/jobqueue.py SPEC JOBS.

Needs dask-jobqueue. Its workers are Dask's own; tmrepro prepares them, and refuses those that differ, as it does its own.
"""

import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed import Security

import tmrepro

CERTIFICATES = Path("certificates")  # docs/scale.md says how to make them


def main(spec: str, jobs: int) -> None:
    ca, cert, key = (CERTIFICATES / name for name in ("ca.pem", "node.pem", "node.key"))
    security = Security(
        require_encryption=True,
        tls_ca_file=str(ca),
        **{f"tls_{role}_{kind}": str(path) for role in ("scheduler", "worker", "client")
           for kind, path in (("cert", cert), ("key", key))},
    )  # fmt: skip
    with SLURMCluster(
        cores=1,  # one task at a time
        job_cpu=2,  # compute.threads
        memory="16GB",
        walltime="12:00:00",
        protocol="tls://",
        security=security,
        scheduler_options={"dashboard_address": "127.0.0.1:0"},  # it has no password
        job_extra_directives=["--gpus=1"],
    ) as cluster:
        cluster.scale(jobs=jobs)
        tmrepro.run(spec, scheduler=cluster.scheduler_address, tls_ca=ca, tls_cert=cert, tls_key=key)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
