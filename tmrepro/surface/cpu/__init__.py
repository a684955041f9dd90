"""Faster evaluators for CPUs. Each is compared with the plain evaluator.

prefix.py     the linear prefix: three products per image are enough for the whole grid
tracked.py    a linear layer, a ReLU and a linear layer: only units whose sign changes are recomputed
folded.py     networks with batch norm, folded into the weights by folding.py; layers.py: one call per layer
tail.py       the layers after the linear ones; chain.py: as matrix products for a row of points
tiles.py      images in tiles, one thread each; geometry.py: which outputs a unit reaches; kernels.py: numba's loops
"""
