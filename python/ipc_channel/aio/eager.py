"""Tasks that begin at once, and not an iteration of the loop later.

That iteration, with its poll of all descriptors, costs as much as all else that is done for
a small request.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Coroutine
from typing import Any


def start_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    """Return a task that has run until it first had to wait, or to its end.

    Call this in a task of ``loop``. With a loop that cannot do that, the task begins in the
    next iteration.
    """
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
        return asyncio.Task(work, loop=loop, eager_start=True)
    task: asyncio.Task[None] = loop.create_task(work)
    ready, outer = getattr(loop, "_ready", None), asyncio.current_task(loop)
    if isinstance(ready, deque) and ready and outer is not None:
        handle = ready[-1]
        if getattr(handle._callback, "__self__", None) is task:
            ready.pop()
            _leave_task(loop, outer)
            try:
                handle._run()
            finally:
                _enter_task(loop, outer)
    return task
