"""A Python process of a pair: ``python -m benchmarks.end ROLE NAME DIRECTORY CHANNELS``."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import resource
import sys
from collections.abc import Coroutine
from typing import Any

from benchmarks import async_end, blocking_end
from benchmarks.contenders import BY_NAME, Contender


def run(contender: Contender, work: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine on the loop that the contender names."""
    factory = None
    if contender.loop == "uvloop":
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def main() -> None:
    role, name, directory, channels = sys.argv[1:]
    contender = BY_NAME[name]
    adapter = importlib.import_module(f"benchmarks.adapters.{contender.adapter}")
    _allow_many_files()
    gc.freeze()  # the objects of the imports are no contender's work
    if contender.family == "grpc":
        run(contender, getattr(adapter, role)(directory))
    elif contender.loop == "none":
        getattr(blocking_end, role)(adapter, contender.transport, directory)
    else:
        end = getattr(async_end, role)
        run(contender, end(adapter, contender.transport, directory, int(channels)))


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
