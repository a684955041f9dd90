"""The order of the stages, and nothing else: rooms are handed records here and don't know each other.

workspace.py    what a task sees, here or in a worker
context.py      what all stages share beyond that: stage book, engine, reporter
engine.py       who does the tasks of a run
setup.py        what a run asks of its workers
stages.py       the stages of a run and what each must wait for
models.py       training and minimum
trainings.py    one training: slices, the points of its path
checkpoints.py  the checkpoint of a training under way
path.py         the path of training
directions.py   directions that no seed gives
surfaces.py     surfaces, chunk by chunk
planning.py     the tasks of a surface: how, a chunk, how good
folder.py       the run folder as a whole: ours, finished, damaged
unchanged.py    are data and code still those of a finished run?
closing.py      statistics, figures, provenance
documents.py    report and crate
provenance.py   what ran where
execute.py      a run from start to manifest

Nothing is imported here: a worker reads `setup` before it may load torch.
"""
