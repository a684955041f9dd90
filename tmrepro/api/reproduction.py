"""Plans `tmrepro reproduce`: the paper if its data and a GPU are available, otherwise the quickstart, with the reason.

The claims are judged from the shipped study, because one run has only one training seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.errors import DataError
from tmrepro.numerics.determinism import Determinism, prepare
from tmrepro.spec import Spec, load_spec
from tmrepro.spec.shipped import find_spec, shipped_reference

if TYPE_CHECKING:
    from tmrepro.claims import Judgement

STUDY = "paper-cpu"  # the reference with several training seeds
PAPER, INSTEAD = Path("spec/paper.yaml"), Path("spec/quickstart.yaml")


@dataclass(frozen=True)
class Plan:
    """A spec, its device, and what is `missing` for the paper's own spec."""

    spec: Spec
    device: str
    missing: tuple[str, ...]


def make_plan(*, data_dir: Path | None, download: bool = False) -> Plan:
    """Choose the spec. Check the MD5 of all of CIFAR-10 if it is there, and load torch.

    With `download`, download CIFAR-10 if nothing else is missing.

    The quickstart runs on the CPU even if there is a GPU, because its reference was computed on a CPU, with the same bits.

    Raises:
        StorageError: the download cannot be written.
        LoadedTooEarlyError: torch is already loaded with other settings.
    """
    paper = load_spec(find_spec(PAPER))
    prepare(Determinism(paper.compute.determinism, paper.compute.threads))
    gpu = _missing_gpu()
    data = _missing_data(paper, data_dir=data_dir, download=download and gpu is None)
    missing = tuple(what for what in (gpu, data) if what)
    if not missing:
        return Plan(paper, "cuda", ())
    return Plan(load_spec(find_spec(INSTEAD)), "cpu", missing)


def judge_study() -> Judgement | None:
    """Return the claims of the paper, judged from the shipped study; None if the package has no study.

    Raises:
        DamagedError: the study differs from its manifest.
    """
    from tmrepro.claims import judge_folders

    folder = shipped_reference(STUDY)
    return judge_folders([folder]) if folder.is_dir() else None


def _missing_gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return "a GPU that torch can use (in a container: --gpus all)"


def _missing_data(paper: Spec, *, data_dir: Path | None, download: bool) -> str | None:
    from tmrepro.data import load_dataset

    try:
        load_dataset(paper.data, data_dir=data_dir, download=download)
    except DataError as error:
        return f"the published files of CIFAR-10 ({error})"
    return None
