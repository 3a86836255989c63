"""The surroundings: what each changes about the process that runs the tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from named_tests import files_of
from surroundings import stage

Words = Callable[[Path], list[str]]

_USER, _POOR_USER = 54321, 54322  # ids that no other user has
_BACKGROUND = ["sh", "-c", '"$@" & wait $!', "sh"]
_HOG = str(Path(__file__).with_name("hog.py"))
_ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _nothing() -> None:
    pass


def _possible() -> str | None:
    return None


@dataclass(frozen=True)
class Surrounding:
    """One of them."""

    name: str
    before: Words = lambda _: []
    """Words before the command, given a directory of its own that does not exist yet."""
    change: stage.Change = _nothing
    env: Mapping[str, str | None] = field(default_factory=dict)
    """Variables that are set, or taken away if None."""
    options: tuple[str, ...] = ()
    """Of pytest."""
    place: str = "place"
    """Name of the directory for temporary files, and for the copy."""
    user: int | None = None
    """Another user, which owns that directory."""
    sessions: tuple[str, ...] = ()
    """Tests of sessions that are connected which it can change: most of them it cannot."""
    tests: tuple[str, ...] = ()
    """The only files to run, where others need what it takes away."""
    copy: bool = False
    """Whether the tests run from a copy of the tree in that directory."""
    hindrance: Callable[[], str | None] = _possible
    """Why this machine cannot have it."""


def as_user(user: int, *more: str) -> Words:
    return lambda scratch: [*stage.as_user(user, sys.executable, scratch), *more]


SURROUNDINGS = (
    Surrounding("nohup", before=lambda _: ["nohup"]),
    Surrounding("a job in the background", before=lambda _: _BACKGROUND),
    Surrounding("no terminal, stdin closed", change=stage.leave_the_terminal),
    Surrounding(
        "SIGPIPE at its default",
        options=("-p", "surroundings.sigpipe"),
        sessions=(
            *("aio/close", "aio/faults", "aio/sender", "channel", "crash"),
            *("transports/streams", "transports/tcp_socket", "transports/connect_races"),
        ),
    ),
    Surrounding("SIGPIPE ignored", change=stage.ignore(signal.SIGPIPE)),
    Surrounding(
        "SIGCHLD ignored", change=stage.ignore(signal.SIGCHLD), sessions=("fork", "use")
    ),
    Surrounding("signals blocked", change=stage.block_signals, sessions=("fork",)),
    Surrounding("umask 000", change=stage.umask(0)),
    Surrounding(
        "umask 022",
        change=stage.umask(0o022),
        env={"PYTHONHASHSEED": "0"},
    ),
    # Hypothesis is deterministic there, and pytest says more.
    Surrounding("continuous integration", env={"CI": "true"}),
    Surrounding("umask 077", change=stage.umask(0o077)),
    Surrounding("a path with spaces", place="a path with späces", copy=True),
    Surrounding("a long TMPDIR", place="long-" * 40),
    Surrounding(
        "few descriptors",
        change=stage.few_descriptors(64),
        sessions=("aio/endpoint", "channel", "fork", "transports/tcp_listener"),
    ),
    Surrounding("the C locale", env=_ASCII),
    Surrounding("development mode", env={"PYTHONDEVMODE": "1"}),
    Surrounding("no HOME, no TMPDIR", env={"HOME": None, "TMPDIR": None}),
    Surrounding(
        "an ordinary user",
        sessions=(
            *("channel", "crash", "messages_of_errors", "transports/peer_user"),
            *("transports/tcp_listener", "transports/unix_path_races"),
            *("transports/unix_client", "transports/unix_removed", "use"),
        ),
        before=as_user(_USER),
        user=_USER,
        copy=True,
        hindrance=stage.can_become_another,
    ),
    Surrounding(
        "no quota of pipe buffers left",
        # The others fill pipes, and know how much one takes.
        tests=tuple(
            files_of(
                *("aio/close", "aio/endpoint", "channel", "fork", "helper/helper"),
                "helper/dying",
                "transports/connect_races",
            )
        ),
        before=as_user(_POOR_USER, sys.executable, _HOG),
        user=_POOR_USER,
        copy=True,
        hindrance=stage.can_become_another,
    ),
)


def together(*names: str) -> Surrounding:
    """Return one surrounding that has what several change."""
    parts = [one for one in SURROUNDINGS if one.name in names]
    assert len(parts) == len(names)
    assert not any(part.tests for part in parts)
    changed = [name for part in parts for name in part.env]
    changed += ["TMPDIR" for part in parts if part.place != Surrounding.place]
    assert len(changed) == len(set(changed)), "one would take away what another one changes"

    def change() -> None:
        for part in parts:
            part.change()

    def hindrance() -> str | None:
        return next(filter(None, (part.hindrance() for part in parts)), None)

    places = [part.place for part in parts if part.place != Surrounding.place]
    return Surrounding(
        " and ".join(names),
        before=lambda scratch: [word for part in parts for word in part.before(scratch)],
        change=change,
        env={name: value for part in parts for name, value in part.env.items()},
        options=tuple(option for part in parts for option in part.options),
        place="/".join(places) or Surrounding.place,
        user=next((part.user for part in parts if part.user is not None), None),
        sessions=tuple(name for part in parts for name in part.sessions),
        copy=any(part.copy for part in parts),
        hindrance=hindrance,
    )


# Every test takes its time in each run; so what can be had together is.
USUAL = (
    together("SIGPIPE at its default", "few descriptors", "no HOME, no TMPDIR"),
    together("an ordinary user", "umask 022", "continuous integration"),
    together("umask 000", "a path with spaces", "development mode"),
    together(
        *("nohup", "a job in the background", "no terminal, stdin closed"),
        *("SIGPIPE ignored", "SIGCHLD ignored", "signals blocked"),
        *("umask 077", "a long TMPDIR", "the C locale"),
    ),
    *(one for one in SURROUNDINGS if one.name == "no quota of pipe buffers left"),
)
"""All surroundings in as few runs as possible, the longest first."""

BY_NAME = {one.name: one for one in (*SURROUNDINGS, *USUAL)}
