"""The event loop of blocking channels, for the tests of the asyncio channels.

What they show of it is that it keeps what selector loops keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakMethod

from ipc_channel.sync.caller_loop import CallerLoop
from ipc_channel.sync.waker import Waker

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class RunnableCallerLoop(CallerLoop):
    """Runs its own rounds, as loops do, and has what ``asyncio.Runner`` needs beside."""

    def __init__(self) -> None:
        super().__init__(WeakMethod(self._wake))
        self._waker = Waker()
        self.add_reader(self._waker.fileno(), self._waker.drain)
        self._executor = ThreadPoolExecutor()
        self._stopping = False
        self._on_exception: Callable[[Any, dict[str, Any]], object] | None = None

    def _wake(self) -> None:
        self._waker.wake()

    def run_forever(self) -> None:
        assert not self.busy
        try:
            self.busy, self._stopping = True, False
            self.run_round(())
            while not self._stopping:
                self.run_round(self.poller.poll(self.pause(None)))
        finally:
            self.busy = False

    def stop(self) -> None:
        self._stopping = True
        self.call_soon_threadsafe(lambda: None)

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(lambda _: self.stop())
        while not task.done():
            self.run_forever()
        return task.result()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        running = (executor or self._executor).submit(func, *args)
        return asyncio.wrap_future(running, loop=self)

    def set_exception_handler(self, handler: Any) -> None:
        self._on_exception = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        handler = self._on_exception or default_exception_handler
        handler(self, context)

    def set_debug(self, enabled: bool) -> None:
        assert not enabled

    async def shutdown_asyncgens(self) -> None:
        pass

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._executor.shutdown()

    def close(self) -> None:
        super().close()
        self._waker.close()
        self._executor.shutdown()


def default_exception_handler(loop: Any, context: dict[str, Any]) -> None:
    """Log as asyncio does, for the fixture that looks there."""
    asyncio.BaseEventLoop.default_exception_handler(loop, context)


def new_caller_loop() -> asyncio.AbstractEventLoop:
    return RunnableCallerLoop()  # type: ignore[abstract]  # has what the tests need
