"""Faster evaluators for GPUs. Each is compared with the plain evaluator.

batched.py    the linear prefix, with a row of the grid as one batch
replayed.py   the plain evaluator, recorded as a CUDA graph and replayed
fused.py      convolutional networks, one kernel per layer; fused_layers.py: the network's graph for these kernels
gpu_kernels.py  compiles fused.cu and fused_instructions.cu with NVRTC
"""
