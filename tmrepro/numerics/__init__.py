"""Arithmetic with the same bits on every machine that promises them.

    determinism          the settings of a level, made before torch loads
    fingerprint          what this machine computes, operation by operation; fingerprint_worker: in a process of its own
    portable_normal      normal numbers from a seed, the same on every machine
    eigen                eigenvalues of small symmetric matrices
    inference            logits and losses, as training, relabelling and surfaces share them

Import from the modules: this file loads nothing, since determinism must be set before torch is imported.
"""
