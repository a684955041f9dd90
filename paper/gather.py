"""Gather every number that paper.typ tells of: `python paper/gather.py [REFERENCES] [FILE]` writes numbers.json.

All of them come from the stored references: their specs, minima, trajectories and curvatures, and the claims judged from them.
A part of the study that has no reference is named in `missing`, and has no numbers; the study's own reference must be there.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tmrepro.claims import judge_folders, load_claims
from tmrepro.records import Minimum, TrajectoryPoint
from tmrepro.store.curvature import read_curvature
from tmrepro.store.finished import Finished, read_finished
from tmrepro.store.run_files import CURVATURE

HERE = Path(__file__).resolve().parent
STUDY, OTHER_READINGS, PATHS = (
    "paper-cpu",
    ("paper-cpu-variants", "paper-cpu-soft", "paper-cpu-keras"),
    "paper-cpu-paths",
)
REMEDIES = ("paper-cpu", "remedy-cosine", "remedy-averaging", "remedy-relabelled")
SIZES = ("paper-cpu", "paper-whole-dnn", "paper-whole-cnn", "paper-gpu")
LATE = 50  # epochs at the end of a training
FIRST_EPOCHS = ("lm_first_epoch", "gm_first_epoch", "validation_first_epoch")
OF_A_POINT = (
    "train_loss_at_minimum", "validation_loss", "relabelled_loss", "train_accuracy", "validation_accuracy", "theta_norm",
    "gradient_norm",
)  # fmt: skip


def gather(references: Path) -> dict[str, Any]:
    """The numbers as JSON values, from the folder that holds the references."""
    runs = {folder.name: read_finished(folder) for folder in sorted(references.iterdir())}
    curvature = _curvatures(runs[STUDY])
    paths = _paths(runs[PATHS]) if PATHS in runs else {}
    remedies = {name: points for name in REMEDIES if (points := _first_points(_of_remedy(runs, name)))}
    missing = [name for name in (*SIZES, *OTHER_READINGS, PATHS) if name not in runs]
    missing += [name for name in REMEDIES if name not in remedies] + ([] if curvature else ["curvature"])
    return {
        "study": _about(runs[STUDY]),
        "missing": missing,
        "points": {name: _points(runs[name]) for name in (*SIZES, *OTHER_READINGS) if name in runs},
        "sizes": {name: _about(runs[name]) for name in SIZES if name in runs},
        "claims": _claims(references),
        "curvature": curvature,
        "paths": paths,
        "remedies": remedies,
    }


def _of_remedy(runs: dict[str, Finished], name: str) -> list[Finished]:
    """Its reference, or those of each network."""
    return [runs[name]] if name in runs else [run for of, run in runs.items() if of.startswith(f"{name}-")]


def _about(run: Finished) -> dict[str, Any]:
    """What a reference is of, and what made it."""
    spec, provenance = run.spec, run.provenance
    return {
        "train": provenance["data"]["train"],
        "validation": provenance["data"]["validation"],
        "fingerprint": provenance["data"]["fingerprint"][:16],
        "seeds": spec.replicates.training,
        "directions": spec.replicates.directions,
        "lr": spec.training.optimizer.lr,
        "batch_size": spec.training.batch_size,
        "max_epochs": spec.training.max_epochs,
        "epsilon": spec.training.stop.epsilon,
        "patience": spec.training.stop.patience,
        "surfaces": [
            {"name": surface.name, "K": surface.grid.K, "step": surface.grid.step, "samples": surface.samples}
            for surface in spec.surfaces
        ],
        "commit": provenance["code"]["commit"][:7],
        "torch": provenance["packages"]["torch"],
    }


def _minima(run: Finished) -> dict[str, list[Minimum]]:
    """By network, the minima of its replicates."""
    found: dict[str, list[Minimum]] = {}
    for name, model in run.models.items():
        found.setdefault(model.base, []).append(run.minima[name])
    return found


def _points(run: Finished) -> dict[str, Any]:
    """By network, the categories of its points, and the spread of their numbers over the seeds that have a point."""
    return {
        network: {
            "parameters": minima[0].parameters,
            "seeds": len(minima),
            "categories": dict(sorted(Counter(minimum.category for minimum in minima).items())),
            **{name: _first_reached([getattr(minimum, name) for minimum in minima]) for name in FIRST_EPOCHS},
            **{
                name: _spread([value for minimum in minima if (value := getattr(minimum, name)) is not None])
                for name in OF_A_POINT
            },
        }
        for network, minima in _minima(run).items()
    }


def _first_reached(epochs: list[int | None]) -> dict[str, Any]:
    """The spread of the epochs at which something was reached first. Never (None) is later than any epoch."""
    found = _spread([math.inf if epoch is None else epoch for epoch in epochs])
    return {name: value if math.isfinite(value) else None for name, value in found.items()} | {
        "reached": sum(epoch is not None for epoch in epochs)
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "largest": max(values)}


def _claims(references: Path) -> dict[str, Any]:
    """Every line in every setting: the study's with verdicts, and the direction alone of those with fewer seeds."""
    lines: dict[str, Any] = {
        line.id: {
            "claim": claim.id, "section": claim.section, "sentence": line.sentence, "statistic": line.statistic,
            "larger": line.larger, "smaller": line.smaller, "factor": line.factor, "settings": {},
        }
        for claim in load_claims().claims
        for line in claim.lines
    }  # fmt: skip
    for name in (STUDY, *OTHER_READINGS):
        if not (references / name).is_dir():
            continue
        for setting, judged in judge_folders([references / name]).settings.items():
            for line in judged:
                told = line.document()
                lines[line.id]["settings"][setting] = {
                    key: told[key] for key in ("verdict", "p_adjusted", "superiority", "superiority_interval", "ratio")
                }
    counts = {
        setting: dict(Counter(line["settings"][setting]["verdict"] for line in lines.values()))
        for setting in next(iter(lines.values()))["settings"]
    }
    return {"lines": lines, "counts": counts}


def _curvatures(run: Finished) -> dict[str, Any]:
    """By network, medians over the seeds whose curvature was computed, and what the l2 surfaces bend by."""
    found: dict[str, Any] = {}
    for network, minima in _minima(run).items():
        documents = [
            read_curvature(run.folder, minimum.model)
            for minimum in minima
            if (run.folder / "models" / minimum.model / CURVATURE).is_file()
        ]
        if not documents:
            continue
        slices = {
            surface: {
                "predicted": _spread([document.slices[surface].predicted for document in documents]),
                "measured": _spread(
                    [
                        (cut.a + cut.b) / 2
                        for cut in (document.slices[surface] for document in documents)
                        if cut.a is not None and cut.b is not None
                    ]
                ),
                "step": _spread([document.slices[surface].step for document in documents]),
            }
            for surface in documents[0].slices
        }
        found[network] = {
            "seeds": len(documents),
            "images": documents[0].images,
            "trace": _spread([document.trace for document in documents]),
            "relative_error": _spread([document.trace_error / abs(document.trace) for document in documents]),
            "mean_eigenvalue": _spread([document.mean_eigenvalue for document in documents]),
            "largest": _spread([document.eigenvalues[0] for document in documents]),
            "slices": slices,
        }
    return found


def _paths(run: Finished) -> dict[str, Any]:
    """By network, where training began, how it ended, and what the planes show of the way."""
    found: dict[str, Any] = {}
    for name in run.models:
        points, minimum = run.trajectory(name), run.minima[name]
        start, last = points[0], next(point for point in reversed(points) if point.distance > 0)
        late = [epoch.train_loss for epoch in run.history(name).epochs[-LATE:]]
        found[name] = {
            "category": minimum.category,
            "epochs": minimum.epochs,
            "best_epoch": minimum.best_epoch,
            "points": len(points),
            "explained": run.provenance["stages"][f"trajectory/{name}"]["facts"]["explained"],
            "start": _place(start),
            "last": _place(last),
            "minimum": _place(next(point for point in points if point.distance == 0)),
            "late": {
                "epochs": len(late),
                "train_loss": _spread(late),
                "near_zero": sum(loss <= minimum.epsilon for loss in late),
            },
            "cosine": _spread([point.cosine for point in points if point.cosine is not None and point.distance > 0]),
            "in_plane": {
                plane: None
                if place.distance is None
                else math.sqrt(max(0.0, 1 - (place.distance / start.distance) ** 2))
                for plane, place in start.places.items()
            },
        }
    return found


def _place(point: TrajectoryPoint) -> dict[str, Any]:
    return {name: getattr(point, name) for name in ("epoch", "loss", "distance", "gradient_norm")}


def _first_points(runs: list[Finished]) -> dict[str, Any]:
    """By network, the point that its first training reached."""
    return {
        network: {
            name: getattr(minima[0], name)
            for name in ("category", "epochs", "best_epoch", "seed", "seeds_collapsed", *FIRST_EPOCHS, *OF_A_POINT)
        }
        for run in runs
        for network, minima in _minima(run).items()
    }


def summary(numbers: dict[str, Any]) -> str:
    """A Markdown table: each claim, and in each setting of the study how many of its lines are reproduced or contradicted."""
    claims: dict[str, list[dict[str, Any]]] = {}
    for line in numbers["claims"]["lines"].values():
        claims.setdefault(line["claim"], []).append(line)
    settings = [surface["name"] for surface in numbers["study"]["surfaces"]]
    sentences = {claim.id: claim.sentence for claim in load_claims().claims}
    rows = [["claim", *settings], ["---"] * (1 + len(settings))]
    for claim, lines in claims.items():
        rows.append([f"{claim}: {sentences[claim]}", *(_verdicts(lines, setting) for setting in settings)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _verdicts(lines: list[dict[str, Any]], setting: str) -> str:
    found = Counter(line["settings"][setting]["verdict"] for line in lines)
    return ", ".join(
        f"{found[verdict]} {verdict}" for verdict in ("reproduced", "contradicted", "inconclusive") if found[verdict]
    )


def dump(numbers: dict[str, Any]) -> str:
    """The numbers as the text of numbers.json."""
    return json.dumps(numbers, indent=1, allow_nan=False) + "\n"


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "reference"
    file = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "numbers.json"
    file.write_text(dump(found := gather(where)))
    sys.stdout.write(summary(found))
