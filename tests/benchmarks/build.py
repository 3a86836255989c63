"""The programs of a pair that are not Python: where they are, and how they are built."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Contender

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass
class Tools:
    """Commands of the toolchains, and of what was built with them."""

    go: str = "go"
    node: str = "node"
    directory: str = ""
    """Where built programs are."""

    def missing(self, contenders: list[Contender]) -> list[str]:
        """Return a line for each program that is missing and that a contender needs."""
        tools = (
            ("c", "a C compiler (or the package ziglang)", c_compiler()),
            ("go", self.go, shutil.which(self.go)),
            ("node", self.node, shutil.which(self.node)),
        )
        lines = []
        for language, name, found in tools:
            who = ", ".join(one.name for one in contenders if one.peer == language)
            if who and not found:
                lines.append(f"{name} is missing; it is needed by: {who}")
        return lines

    def build(self, contenders: list[Contender]) -> None:
        """Build what the contenders need; raise CalledProcessError."""
        if any(contender.driver == "c" for contender in contenders):
            self._run(
                [*c_compiler(), "-O2", "-pthread", "-o", self._c, str(HERE / "c/main.c")]
            )
        if any(contender.peer == "go" for contender in contenders):
            self._run([self.go, "build", "-o", self._go, "./internal/benchhelper"])

    def driver(self, contender: Contender, directory: str, channels: int) -> list[str]:
        if contender.driver == "c":
            return [self._c, "driver", contender.transport, directory]
        return self._python("driver", contender, directory, channels)

    def peer(self, contender: Contender, directory: str, channels: int) -> list[str]:
        commands = {
            "c": [self._c, "peer", contender.transport],
            "go": [self._go],
            "node": [self.node, str(HERE / "helper.mjs")],
            "python": self._python("peer", contender, directory, channels),
        }
        return commands[contender.peer]

    @property
    def _c(self) -> str:
        return f"{self.directory}/helper_c"

    @property
    def _go(self) -> str:
        return f"{self.directory}/helper_go"

    def _python(
        self, role: str, contender: Contender, directory: str, channels: int
    ) -> list[str]:
        module = ("-W", "ignore", "-m", "benchmarks.end")
        return [sys.executable, *module, role, contender.name, directory, str(channels)]

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, cwd=ROOT / "go-client", check=True)


def c_compiler() -> list[str]:
    """Return a C compiler: the machine's own, or the one of ziglang, or nothing."""
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return []


def version(command: list[str]) -> str:
    """Return the first line that a version command prints, or why there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"{shlex.join(command)}: {error}"
    return done.stdout.partition("\n")[0]
