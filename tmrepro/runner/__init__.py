"""A run: the order of its stages, and what each stage does with the folder. The rooms below do not import each other.

execute.py      a run from start to manifest
stages.py       the stages of a run, and what each waits for
context.py      what all stages share: stage records, engine, reporter
workspace.py    the input of a task, in this process or in a worker
engine.py       the engine that does the tasks; cluster/: the workers of a Dask scheduler
setup.py        what a run requires of its workers
models.py       training and minimum; trainings.py: one training; checkpoints.py: its checkpoint
weights.py      theta*, saved and loaded
path.py         the path of training; directions.py: directions that no seed gives
surfaces.py     surfaces, chunk by chunk; planning.py: their tasks; planes.py, preview.py: their depth, their preview
curvature.py    `tmrepro curvature`; curvature_tasks.py: its tasks
folder.py       the run folder: foreign, finished or damaged
unchanged.py    whether data and code are those of a finished run; fitting.py: whether the spec fits the data
outputs.py      statistics and provenance; drawings.py: figures; documents.py: claims, report and crate
provenance.py   code, packages and platform of a run
view.py         a run folder, read-only

This module imports nothing: a worker imports `setup` before it may load torch.
"""
