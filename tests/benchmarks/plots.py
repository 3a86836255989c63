"""Three plots as SVG, readable on light and dark backgrounds, the same each time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")  # before pyplot is imported

import matplotlib.pyplot as plt

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.figures import Figures
from benchmarks.workloads import CHANNEL_COUNTS, ONE_WAY

_INK = "#808890"  # stands out from white and from black
_STYLE = {
    "svg.hashsalt": "ipc-channel",
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "font.size": 9,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "grid.color"), _INK
    ),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}
_COLORS = {
    "limit": "#8c96a0",
    "bare loop": "#5b6570",
    "ipc-channel": "#2f81f7",
    "ipc-channel go": "#1fa7b8",
    "ipc-channel node": "#3fa34d",
    "original": "#e5534b",
    "asyncio streams": "#d29922",
    "asyncio protocol": "#9aab2b",
    "stdin and stdout": "#d4739b",
    "multiprocessing": "#a371f7",
    "pyzmq": "#c13fa8",
    "pynng": "#b07d4f",
    "grpc": "#e8703a",
}
_TWINS = {"grpc-stream"}  # one way it is what another one is
_SIZES = ("64", "1 Ki", "64 Ki", "1 Mi", "16 Mi")
_DASHES = {"named_pipe": "-", "tcp": "--", "unix": ":"}


def draw(figures: Figures, output: Path) -> None:
    """Draw what was measured into ``output``."""
    with mpl.rc_context(_STYLE):
        _round_trip(figures, output / "round_trip.svg")
        _throughput(figures, output / "throughput.svg")
        _channels(figures, output / "channels.svg")


def _round_trip(figures: Figures, path: Path) -> None:
    measured = [
        (one, found)
        for one in CONTENDERS
        if (found := figures.spread(one.name, "rt-64")) is not None
    ]
    measured.sort(key=lambda pair: -pair[1].median)
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.22 * len(measured)))
    errors = [
        [(found.median - found.low) / 1e3 for _, found in measured],
        [(found.high - found.median) / 1e3 for _, found in measured],
    ]
    bars = axes.barh(
        [one.name for one, _ in measured],
        [found.median / 1e3 for _, found in measured],
        color=[_COLORS.get(one.family, _INK) for one, _ in measured],
        xerr=errors,
        ecolor=_INK,
    )
    axes.bar_label(bars, fmt="%.1f", padding=4, color=_INK)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="µs", title="Round trip of 64 B: median, 95 % range")
    _save(figure, path)


def _throughput(figures: Figures, path: Path) -> None:
    """Draw a panel for each kind of stream, and ours over pipes beside Unix sockets."""
    figure, grid = plt.subplots(2, 2, figsize=(10, 9), sharey=True)
    *panels, last = grid.flat
    drawn: dict[str, Any] = {}
    titles = {
        "named_pipe": "pipes",
        "unix": "Unix sockets, and ours over pipes",
        "tcp": "TCP",
    }
    for axes, (transport, title) in zip(panels, titles.items(), strict=True):
        for one in CONTENDERS:
            beside = transport == "unix" and one.name.startswith("ipc-pipe-")
            if (one.transport == transport or beside) and one.name not in _TWINS:
                _line(axes, one, _rates(figures, one))
        axes.set(xscale="log", yscale="log", xlabel="bytes of a message", ylabel="MB/s")
        axes.set_title(f"One way: {title}")
        axes.set_xticks([work.size for work in ONE_WAY], _SIZES)
        drawn |= {line.get_label(): line for line in axes.lines}
    last.axis("off")
    last.legend(drawn.values(), drawn.keys(), loc="center", ncols=2)
    _save(figure, path)


def _rates(figures: Figures, one: Contender) -> dict[int, float]:
    return {
        work.size: work.size * 1e3 / found.median
        for work in ONE_WAY
        if (found := figures.spread(one.name, work.name)) is not None
    }


def _channels(figures: Figures, path: Path) -> None:
    figure, both = plt.subplots(1, 2, figsize=(10, 4.5), sharex=True)
    figure.suptitle("Round trips of 64 B over many channels in one loop")
    for axes, what, title in zip(both, ("wall", "cpu"), ("time", "CPU time"), strict=True):
        for one in CONTENDERS:
            points = {
                count: found.median / 1e3
                for count in CHANNEL_COUNTS
                if (found := figures.spread(one.name, f"channels-{count}", what))
                is not None
            }
            _line(axes, one, points)
        axes.set(xscale="log", yscale="log", xlabel="channels", ylabel="µs per round trip")
        axes.set_title(title)
        axes.set_xticks(CHANNEL_COUNTS, [str(count) for count in CHANNEL_COUNTS])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    _finish(figure, both, path)


def _line(axes: Any, one: Contender, points: dict[int, float]) -> None:
    if points:
        axes.plot(
            list(points),
            list(points.values()),
            label=one.name,
            color=_COLORS.get(one.family, _INK),
            linestyle=_DASHES[one.transport],
            marker=_marker(one),
            markersize=5,
            linewidth=2.5 if one.family == "ipc-channel" else 1,
            zorder=3 if one.family == "ipc-channel" else 2,
        )


def _marker(one: Contender) -> str:
    if one.family == "limit":
        return {"c": "^", "python": "v"}[one.driver] if one.adapter == "blocking" else "x"
    return "o" if one.loop == "uvloop" else "."


def _finish(figure: Any, axes: Iterable[Any], path: Path) -> None:
    lines, labels = next(iter(axes)).get_legend_handles_labels()
    if lines:
        figure.legend(lines, labels, loc="outside right center", fontsize=7.5)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
