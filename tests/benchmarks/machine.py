"""What the figures were measured on, since they mean little without."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.build import ROOT, Tools, c_compiler, version

PACKAGES = ("open-aea", "uvloop", "pyzmq", "pynng", "grpcio")


def describe(tools: Tools, cores: tuple[int | None, int | None]) -> dict[str, str]:
    """Return the machine, its kernel, the versions and the pinning."""
    return {
        "processor": _find("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": _find("/proc/meminfo", "MemTotal") or "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "pinning": _pinning(cores),
        "commit": _commit(),
        "Python": sys.version.split()[0],
        "C": version([*(c_compiler() or ["cc"]), "--version"]),
        "Go": version([tools.go, "version"]),
        "Node": version([tools.node, "--version"]),
        **{name: _package(name) for name in PACKAGES},
    }


def pick_cores() -> tuple[int | None, int | None]:
    """Return two cores to pin a pair to, of different hardware if possible, or none."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return None, None
    others = (core for core in usable[1:] if _siblings(core) != _siblings(usable[0]))
    return usable[0], next(others, usable[1])


def _siblings(core: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return path.read_text() if path.exists() else str(core)


def _pinning(cores: tuple[int | None, int | None]) -> str:
    driver, peer = cores
    if driver is None or peer is None:
        return "none"
    shared = ", threads of one core" if _siblings(driver) == _siblings(peer) else ""
    return f"driver to core {driver}, peer to core {peer}{shared}"


def _find(path: str, key: str) -> str | None:
    """Return the value of ``key`` in a file of ``key: value`` lines."""
    if not Path(path).exists():
        return None
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), None)


def _commit() -> str:
    commit = version(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    paths = ("python", "go-client", "js-client", "tests/benchmarks/*.py")
    changed = version(["git", "-C", str(ROOT), "status", "--porcelain", *paths])
    return f"{commit}, changed" if changed else commit


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
