"""Puts what happens to a supervised helper into events, in the order that they promise."""

from __future__ import annotations

from typing import Any

from ipc_channel.helper.events import EventKind, EventLog, SupervisorEvent
from ipc_channel.helper.helper_process import HelperProcess
from ipc_channel.helper.result import quoted
from ipc_channel.helper.supervised_life import Life


class Story:
    """Tells the events of a supervisor, the last of which ends it."""

    def __init__(self, name: str, log: EventLog) -> None:
        self._name = f"helper {name}"
        self._log = log
        self._attempt = 0
        self._last: EventKind | None = None
        self.last_text = ""
        """The last event in words."""

    @property
    def over(self) -> bool:
        """Whether the last event was told."""
        return self._log.closed

    def starting(self) -> None:
        self._attempt += 1
        again = "" if self._attempt == 1 else f" again (start {self._attempt})"
        self._tell("starting", f"{self._name} is being started{again}")

    def connected(self, life: Life) -> None:
        self._tell("connected", f"{_named(self._name, life.process)} has connected", life)

    def not_connected(self, error: Exception, process: HelperProcess | None) -> None:
        about = _about_process(process)
        self._tell("lost", str(error), reason="not_connected", error=error, **about)

    def start_ended(self, process: HelperProcess | None) -> None:
        """Tell of a start that was stopped or cancelled, unless that was told."""
        if self._last == "starting":
            text = f"{_named(self._name, process)} was stopped while it was being started"
            self._tell("stopped", text, **_about_process(process))

    def ended(self, life: Life, *, stopping: bool) -> None:
        """Tell how a life has ended."""
        name = _named(self._name, life.process)
        about = {"end_reason": life.end_reason, "result": life.result}
        left = {"unread": life.unread, "unsent": life.unsent}
        if life.finished:
            self._tell("finished", f"{name} has finished", life, **about, **left)
        elif stopping and life.was_well:
            text = f"{name} was stopped: it {life.process.ending}"
            self._tell("stopped", text, life, **about, **left)
        else:
            text = f"{name} was lost: {_loss(life)}{_left(life)}"
            why = {"reason": life.loss, "error": life.error}
            self._tell("lost", text, life, **why, **about, **left)

    def restarting(self, delay: float) -> None:
        text = f"{self._name} will be started again in {delay:.2f} s"
        self._tell("restarting", text, attempt=self._attempt + 1, delay=delay)

    def given_up(self, error: Exception) -> None:
        self._tell("given_up", str(error), error=error)
        self.close()

    def finish(self) -> None:
        """Tell that the supervisor was stopped, unless the story has ended already."""
        if not (self.over or self._last in (None, "stopped")):
            self._tell("stopped", f"{self._name} is not started again: it was stopped")
        self.close()

    def close(self) -> None:
        """End the story behind the last event."""
        self._log.close()

    def _tell(
        self, kind: EventKind, text: str, life: Life | None = None, **about: Any
    ) -> None:
        if life is not None:
            about["pid"] = life.process.pid
        self._last, self.last_text = kind, text
        self._log.tell(
            SupervisorEvent(
                **{"attempt": self._attempt, "kind": kind, "text": text, **about}
            )
        )


def _named(name: str, process: HelperProcess | None) -> str:
    return name if process is None else f"{name} (pid {process.pid})"


def _about_process(process: HelperProcess | None) -> dict[str, Any]:
    return {} if process is None else {"pid": process.pid, "result": process.result}


def _loss(life: Life) -> str:
    """Return in words why a helper was lost."""
    lines = quoted(life.result.last_lines) if life.result else ""
    ending = f"it {life.process.ending}{lines}"
    session = f"its session ended ({life.end_reason or 'not read to its end'})"
    return {
        "ended": f"{ending}; {session}",
        "lingering": f"{session}, but it did not exit in {life.grace} s; {ending}",
        "held_open": f"{ending}, but another process, which it may have started, kept its"
        " session open",
        "unhealthy": f"{life.error}; {ending}",
        "replaced": f"the loop went on while it was well; {ending}",
        "not_connected": "",  # has no life
    }[life.loss]


def _left(life: Life) -> str:
    """Return in words which messages it has left."""
    unread = f"; {life.unread} messages of it were not read" if life.unread else ""
    unsent = f"; {life.unsent} bytes for it were not sent" if life.unsent else ""
    return unread + unsent
