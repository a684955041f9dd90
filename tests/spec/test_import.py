"""What importing the spec room costs."""

import subprocess
import sys


def test_importing_the_spec_room_loads_no_torch_and_no_numpy():
    program = (
        "import sys, tmrepro.spec; tmrepro.spec.parse_spec('version: 1\\nname: a\\ndata: {name: digits}');"
        "print(sorted({'torch', 'torchvision', 'numpy', 'zarr', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout
