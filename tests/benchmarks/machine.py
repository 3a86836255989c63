"""What the figures were measured on, since they mean little without."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.build import ROOT, Tools, c_compiler, version

PACKAGES = ("open-aea", "uvloop", "pyzmq", "pynng", "grpcio")

Cores = frozenset[int] | None
"""The cores that a process may run on; None for any."""


def describe(tools: Tools, cores: tuple[Cores, Cores]) -> dict[str, str]:
    """Return the machine, its kernel, the versions and the pinning."""
    return {
        "processor": _find("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": _find("/proc/meminfo", "MemTotal") or "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": load(),
        "pinning": _pinning(cores),
        "commit": _commit(),
        "Python": sys.version.split()[0],
        "C": version([*(c_compiler() or ["cc"]), "--version"]),
        "Go": version([tools.go, "version"]),
        "Node": version([tools.node, "--version"]),
        **{name: _package(name) for name in PACKAGES},
    }


def pick_cores() -> tuple[Cores, Cores]:
    """Return the cores for the driver and those for the peer, or none if there is one.

    Each gets half, since some contenders have threads of their own. What shares
    hardware stays together. Neighbours go to different halves, so that both have the
    same mix where cores differ.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    groups: dict[str, list[int]] = {}
    for core in usable:
        groups.setdefault(_siblings(core), []).append(core)
    units = list(groups.values()) if len(groups) > 1 else [[core] for core in usable]
    half = len(units) // 2
    return _every_other(units[: 2 * half]), _every_other(units[1 : 2 * half])


def _every_other(units: list[list[int]]) -> Cores:
    return frozenset(core for unit in units[::2] for core in unit) or None


def _siblings(core: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return path.read_text() if path.exists() else str(core)


def _pinning(cores: tuple[Cores, Cores]) -> str:
    driver, peer = cores
    if not driver or not peer:
        return "none"
    common = set(map(_siblings, driver)) & set(map(_siblings, peer))
    shared = ", threads of one core" if common else ""
    return f"driver to {_names(driver)}, peer to {_names(peer)}{shared}"


def _names(cores: frozenset[int]) -> str:
    return f"core{'s' * (len(cores) > 1)} {' '.join(map(str, sorted(cores)))}"


def load() -> str:
    """Return the load of the last minute, of five and of fifteen."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _find(path: str, key: str) -> str | None:
    """Return the value of ``key`` in a file of ``key: value`` lines."""
    if not Path(path).exists():
        return None
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), None)


def _commit() -> str:
    commit = version(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    results = ":(exclude)tests/benchmarks/results"
    paths = (
        "python",
        "go-client",
        "js-client",
        "tests/benchmarks",
        "pyproject.toml",
        results,
    )
    changed = version(["git", "-C", str(ROOT), "status", "--porcelain", *paths])
    return f"{commit}, changed" if changed else commit


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
