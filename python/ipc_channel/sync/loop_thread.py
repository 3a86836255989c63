"""An event loop in a thread of its own, for what has to go on between blocking calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from ipc_channel.sync.slices import SLICE

_T = TypeVar("_T")


class Work(Generic[_T]):
    """A coroutine for a loop in another thread.

    It can be cancelled at any moment, even while it is being submitted: Ctrl-C may come
    between any two steps.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self.future: concurrent.futures.Future[_T] = concurrent.futures.Future()
        """Set once it is submitted."""

    async def run(self) -> _T:
        """Run the coroutine in this task."""
        self._task = asyncio.current_task()
        if self._is_cancelled:  # looked at behind _task, as cancel does it the other way
            self.drop()
            raise asyncio.CancelledError
        return await self._coroutine

    def cancel(self) -> None:
        """Have it end soon, or not begin; do nothing if it is done."""
        self._is_cancelled = True
        if (task := self._task) is not None and not task.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def drop(self) -> None:
        """Forget what does not begin."""
        self._coroutine.close()


class LoopThread:
    """Runs coroutines for other threads, until :meth:`close`.

    The thread is a daemon: a program that ends without ``close`` does not wait for it.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()  # here, as it may find no free descriptor
        self._lock = threading.Lock()
        self._closing = False
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            if self._thread.is_alive():  # interrupted
                self.close()
            else:
                self._loop.close()
            raise

    @property
    def runs_here(self) -> bool:
        """Whether the caller is in this thread, where it must not wait for it."""
        return threading.current_thread() is self._thread

    def submit(self, work: Work[Any]) -> bool:
        """Begin ``work``; return False, and drop it, if the loop is closed."""
        with self._lock:
            if not self._closing:
                work.future = asyncio.run_coroutine_threadsafe(work.run(), self._loop)
                return True
        work.drop()
        return False

    def close(self) -> None:
        """Cancel what still runs, close the loop, and wait for the end of the thread."""
        with self._lock:
            if not self._closing:
                self._closing = True
                # Behind all that was submitted: so nothing of that is left unfinished.
                self._loop.call_soon_threadsafe(self._end.set_result, None)
        while self._thread.is_alive():
            self._thread.join(SLICE)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._until_closed())
            except SystemExit:
                pass  # ends a thread, as ever
            finally:
                with self._lock:
                    self._closing = True
                while not _cancel_all(runner):
                    pass

    async def _until_closed(self) -> None:
        await self._end


def _cancel_all(runner: asyncio.Runner) -> bool:
    """End all tasks, so that nothing waits for them for ever; return False to go on.

    A callback may ask for another exit meanwhile.
    """

    async def cancel() -> bool:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        return not tasks

    try:
        return runner.run(cancel())
    except (SystemExit, KeyboardInterrupt, asyncio.CancelledError):
        return False  # cancelled by the one before, which the exit has kept from beginning


def take(done: queue.SimpleQueue[_T]) -> _T:
    """Wait until something is in the queue, and return it."""
    while True:
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=SLICE)


def wait_for(future: concurrent.futures.Future[_T]) -> _T:
    """Return the result.

    Raises ``concurrent.futures.CancelledError`` if the loop was closed before the end.
    """
    while SLICE is not None and not future.done():
        concurrent.futures.wait([future], SLICE)
    return future.result()
