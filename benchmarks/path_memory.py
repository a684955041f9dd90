"""Principal components of fifty states of ResNet50, which take 5 GB on disk: peak memory, and time.

python -P benchmarks/path_memory.py --states 50 --folder /tmp
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tmrepro.numerics.determinism import Determinism, apply, prepare
from tmrepro.records import Signature

LEVEL = Determinism("portable", 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=None, help="folder for the states, which are removed afterwards")
    arguments = parser.parse_args()
    prepare(LEVEL)
    apply(LEVEL)
    from tmrepro.directions.components import principal_components
    from tmrepro.networks import build_model
    from tmrepro.networks.parameters import layout_of, theta_of
    from tmrepro.spec import Resnet50Model

    module = build_model(
        Resnet50Model(name="resnet50", kind="resnet50"), signature=Signature.of_pictures(classes=10, size=32), seed=0
    )
    layout, theta = layout_of(module), theta_of(module)
    others = frozenset(module.state_dict()) - {parameter.name for parameter in layout}
    state = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        files = [Path(folder) / f"{index}.safetensors" for index in range(arguments.states)]
        for index, file in enumerate(files):
            for parameter in layout:
                values = state[parameter.name]
                state[parameter.name] = values + np.float32(0.001) * np.sin(np.float32(50 * (index + 1)) * values)
            save_file(state, file)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        begin = time.monotonic()
        found = principal_components(files, origin=theta, layout=layout, others=others)
        seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(theta)} parameters, {arguments.states} states: {seconds:.0f} s, peak {peak:.2f} GiB ({before:.2f} before)"
    )
    print(f"shares of the variance: {found.explained[0]:.3f}, {found.explained[1]:.3f}")


if __name__ == "__main__":
    main()
