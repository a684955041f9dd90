"""Limits that several rooms share, so that readers accept everything that writers may write.

A limit of a single reader is in the module of that reader. tests/spec/test_limits.py tests every limit on both sides.
"""

from __future__ import annotations

LARGEST_K = 4096  # points along an axis of a surface
MOST_CHUNKS = 2**16  # of one surface, each two files: 4096 x 4096 points in the usual chunks of 16 x 16
WEIGHTS_BYTES = 2**34  # theta.safetensors, and a checkpoint, which holds such a file
WEIGHTS_HEADER_BYTES = 2**24  # the names and shapes at its beginning
FILE_BYTES = WEIGHTS_BYTES + WEIGHTS_HEADER_BYTES  # any file of a run; a sparse file can have any size
PICTURE_PIXELS = 2**30 // 4 // 3  # at which Pillow warns: a quarter of a gibibyte as RGB
FIGURE_BYTES = 2**26  # a figure, or what one stream of its PDF expands to
EXAMPLE_NUMBERS = 2**27  # in one input or target of the user's own data
DATA_BYTES = 2**34  # the user's own arrays, as a file and in memory; a run holds several copies
