"""``ipc-channel conformance --init``: skeletons of a testee, in several languages.

What is written consists of a small client and of what the control language needs
around it. Nothing here needs the extra ``conformance``.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from ipc_channel.conformance.vectors import specification

_PLACE = Path(__file__).with_name("skeletons")


@dataclass(frozen=True)
class Skeleton:
    """A testee in one language, in a directory below ``skeletons``."""

    files: tuple[str, ...]
    run: str
    """How to start the testee in its directory."""
    build: str = ""
    """How to build it there, if that is needed."""


SKELETONS = {
    "python": Skeleton(("testee.py",), "python3 testee.py"),
    "go": Skeleton(("testee.go", "go.mod"), "./testee", "go build -o testee ."),
    "node": Skeleton(("testee.mjs",), "node testee.mjs"),
    "c": Skeleton(
        ("testee.c", "support.h"),
        "./testee",
        "cc -std=c11 -Wall -Wextra -O2 -o testee testee.c",
    ),
    "java": Skeleton(
        ("Testee.java", "Json.java"), "java Testee", "javac Testee.java Json.java"
    ),
    "rust": Skeleton(
        ("src/main.rs", "src/support.rs", "Cargo.toml"),
        "target/release/testee",
        "cargo build --release",
    ),
}
"""By language. Files are listed by name, since compilers may add others."""

_FIRST_RUN = "ipc-channel conformance --run connect/server-first --transport tcp"
_NEXT_STEPS = """\
Wrote {files} to {directory}: a testee, which speaks the
control language, around a client that does the simplest thing over TCP.

Run it as it is; this case passes:
    {steps}

Then put your client in its place (connect, read, write, close), or go on with this one:
each TODO names the requirements that it is about. When the client can do more than TCP,
say so in the greeting. The suite shows what is left to do:
    ipc-channel conformance -- {run}

The specification is in {specification}
    implementing.md  a client on a page, and the traps
    conformance.md   the control language
"""


def write_skeleton(language: str, directory: Path) -> None:
    """Write the skeleton for ``language``; raise ValueError or OSError on failure."""
    if language not in SKELETONS:
        known = ", ".join(SKELETONS)
        raise ValueError(f"there is no skeleton for {language!r}; there are {known}")
    files = SKELETONS[language].files
    for name in files:
        if os.path.lexists(directory / name):
            raise ValueError(
                f"{directory / name} exists and is not overwritten; name another DIRECTORY"
            )
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        with (directory / name).open("xb") as file:
            file.write((_PLACE / language / name).read_bytes())


def next_steps(language: str, directory: str) -> str:
    """Return the next steps with the files that were written."""
    skeleton = SKELETONS[language]
    run = f"{_FIRST_RUN} -- {skeleton.run}"
    go_there = "" if directory == "." else f"cd {shlex.quote(directory)}"
    return _NEXT_STEPS.format(
        files=", ".join(skeleton.files),
        directory=directory,
        steps="\n    ".join(filter(None, (go_there, skeleton.build, run))),
        run=skeleton.run,
        specification=specification(),
    )
