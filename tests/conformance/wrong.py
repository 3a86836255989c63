"""The Python testee with one thing made wrong: ``python wrong.py FAULT``.

Each fault is one that clients have, or could. The suite has to find it. What the
modules ``wrong_…`` set is set where the library does not expect it: types are not
checked there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ipc_channel.conformance.python_testee import Testee

sys.path.insert(0, str(Path(__file__).parents[1]))
from conformance import (
    wrong_calls,
    wrong_closing,
    wrong_connecting,
    wrong_ends,
    wrong_failures,
    wrong_flow,
    wrong_framing,
    wrong_linger,
    wrong_pipes,
    wrong_rendezvous,
    wrong_requests,
    wrong_serving,
    wrong_unix,
)
from conformance.faults import FAULTS

__all__ = [
    "FAULTS",
    "wrong_calls",
    "wrong_closing",
    "wrong_connecting",
    "wrong_ends",
    "wrong_failures",
    "wrong_flow",
    "wrong_framing",
    "wrong_linger",
    "wrong_pipes",
    "wrong_rendezvous",
    "wrong_requests",
    "wrong_serving",
    "wrong_unix",
]

if __name__ == "__main__":
    FAULTS[sys.argv[1]][0]()
    asyncio.run(Testee().run())
