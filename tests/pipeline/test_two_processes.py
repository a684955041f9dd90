"""Two commands on one folder at the same moment: one works, the other waits a moment and then says who is there."""

from __future__ import annotations

import signal

SEED = 20260102
STOP, CONTINUE, KILL = int(signal.SIGSTOP), int(signal.SIGCONT), int(signal.SIGKILL)
