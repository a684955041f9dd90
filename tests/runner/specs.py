"""The specs that most tests of runs are about."""

from __future__ import annotations

# Three kinds of networks, one of them a user's own with buffers; nine chunks a surface, of four sizes.
TINY_SPEC = """
version: 1
name: tiny
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: cnn, kind: cnn, channels: [4, 10]}
  - {name: norm, kind: custom, factory: "tiny_networks:with_batch_norm", arguments: {width: 5}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 6}
surfaces:
  - {name: one, grid: {K: 5, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""

# For hundreds of runs: one network, four chunks.
SMALL_SPEC = """
version: 1
name: small
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: norm, kind: custom, factory: "tiny_networks:with_batch_norm", arguments: {width: 5}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 3}
surfaces:
  - {name: one, grid: {K: 4, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""
