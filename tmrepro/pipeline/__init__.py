"""The order of the stages, and nothing else: rooms are handed records here and don't know each other.

context.py      what all stages share: spec, folder, stage book, device, data
models.py       training and minimum
surfaces.py     surfaces, chunk by chunk
folder.py       the run folder as a whole: ours, finished, damaged
unchanged.py    are data and code still those of a finished run?
closing.py      statistics, figures, provenance
documents.py    report and crate
provenance.py   what ran where
execute.py      a run from start to manifest
"""

from __future__ import annotations

from tmrepro.pipeline.execute import RunResult, execute

__all__ = ["RunResult", "execute"]
