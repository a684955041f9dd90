"""Arithmetic that is bitwise identical on the machines that a level of determinism names.

    determinism          the settings of a level, made before torch loads
    fingerprint          hashes of what this machine computes, per operation; fingerprint_worker: in a separate process
    portable_normal      normal numbers from a seed, the same on every machine
    eigen                eigenvalues of small symmetric matrices
    inference            logits and losses, as training, relabelling and surfaces share them

Import from the modules: this file loads nothing, because determinism must be set before torch is imported.
"""
