"""Raises an exception at an opcode of the package, as a signal handler might."""

from __future__ import annotations

import _weakrefset
import dis
import sys
import weakref
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import blocking_flood
import flood
import ipc_channel
from flood import Interrupt
from ipc_channel import fork

PACKAGE = str(Path(ipc_channel.__file__).parent)
# Callbacks of weak references run where an object is freed; Python drops what they raise.
NOT_THERE = (
    *(flood.__file__, blocking_flood.__file__),
    *(weakref.__file__, _weakrefset.__file__),
)
# CPython 3.11 crashes if a trace function raises between the parts of a call.
MID_CALL = ("KW_NAMES", "PRECALL", "CALL")


class Injector:
    """Raises :class:`Interrupt` at the ``due``-th opcode that the package runs, or causes.

    The loop and its selector are in Python, and an exception tears them, too.
    """

    def __init__(self, due: int) -> None:
        self.due = due
        self.passed: list[tuple[str, int]] = []
        """Function and offset of each opcode before."""
        self.at: str | None = None
        """The function in which it was raised."""

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename in NOT_THERE or not _is_ours(frame):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._step

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode" and _opcode(frame.f_code, frame.f_lasti) not in MID_CALL:
            self.pass_by(frame)
        return self._step

    def pass_by(self, frame: FrameType) -> None:
        """Count this moment, and raise if it is the due one."""
        self.passed.append((frame.f_code.co_qualname, frame.f_lasti))
        if self.at is None and self._is_due():
            self.at = frame.f_code.co_qualname
            raise Interrupt

    def _is_due(self) -> bool:
        return len(self.passed) == self.due


def release_locks() -> None:
    """Release what an interrupt has kept from being released.

    An injector strikes between the last step of a block and the release of its lock as
    well, where no signal handler could. A thread of a later test would wait for ever.
    """
    held: Any = fork.lock
    while held._is_owned():
        held.release()


def _is_ours(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame is not None


def _opcode(code: CodeType, offset: int) -> str:
    return dis.opname[code.co_code[offset]]


class SignalInjector(Injector):
    """Raises only where CPython calls signal handlers.

    That is where a function begins, at the end of a call of a function in C, and at a jump
    backwards. So a value that a Python function returns cannot be lost, for instance.
    """

    def __init__(self, due: int) -> None:
        super().__init__(due)
        self._begun: set[FrameType] = set()
        """The frames that have come to their first opcode."""

    def __enter__(self) -> Self:
        sys.setprofile(self._profile)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        super().__exit__()

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "return":
            self._begun.discard(frame)
        elif event == "opcode":
            opcode = _opcode(frame.f_code, frame.f_lasti)
            if frame not in self._begun or "JUMP_BACKWARD" in opcode:
                self._begun.add(frame)
                return super()._step(frame, event, argument)
        return self._step

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "c_return" and frame in self._begun:
            self.pass_by(frame)
