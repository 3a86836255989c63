"""Shows progress while cases run, and a summary afterwards."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import IO, Self, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from ipc_channel.conformance.output import Output
from ipc_channel.conformance.report import Report, Verdict
from ipc_channel.conformance.runner import Result
from ipc_channel.conformance.testee import Greeting

_COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "fixed": "bold red",
    "warned": "yellow",
    "known": "yellow",
    "skipped": "dim",
}
_VERDICTS = {
    Verdict.STRICT: "bold green",
    Verdict.CONFORMS: "bold green",
    Verdict.FAILS: "bold red",
    Verdict.OPEN: "yellow",
}
_STDERR_LINES = 8  # shown with a failure; the reports have all lines


class Display:
    """Shows a live line of progress, and prints each failure at once."""

    def __init__(self, greeting: Greeting, total: int) -> None:
        # In a file or a pipe lines are not wrapped, so that they can be searched.
        self._output = Output()
        width = None if self._output.isatty() else 500
        file = cast(IO[str], self._output)
        self._console = Console(file=file, highlight=False, width=width)
        self._greeting = greeting
        self._counts: Counter[str] = Counter()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[counts]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task(
            escape(greeting.name), total=total, counts=""
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def add(self, result: Result) -> None:
        """Show a result."""
        self._counts[result.status] += 1
        self._progress.update(self._task, advance=1, counts=_counts(self._counts))
        if result.status not in ("passed", "skipped"):
            self._console.print(_line(result))

    def summarize(self, report: Report, *, show_trace: bool) -> None:
        """Show the summary of the run."""
        print_ = self._console.print
        for result in report.results:
            if result.trace and show_trace:
                print_(f"\n[bold]{escape(result.case.name)}[/]  {escape(result.case.text)}")
                print_("\n".join(map(escape, result.trace)))
                if result.stderr.strip():
                    print_("[dim]standard error:[/]\n" + escape(result.stderr.rstrip()))
        skipped = Counter(
            result.what for result in report.results if result.status == "skipped"
        )
        for why, count in skipped.items():
            print_(f"[dim]skipped {count}: {escape(why)}[/]")
        table = Table(title=escape(f"{report.greeting.name} {report.greeting.version}"))
        table.add_column("cases of")
        for transport in report.run.transports:
            table.add_column(transport, justify="right")
        for subject, cells in report.by_subject().items():
            table.add_row(subject, *(_cell(*cell) for cell in cells))
        print_(table)
        if report.unchecked:
            print_(f"[dim]without a case: {', '.join(report.unchecked)}[/]")
        colour = _VERDICTS[report.verdict]
        verdict = f"[{colour}]{report.verdict}[/]"
        if report.verdict is Verdict.OPEN:
            verdict += ", since no case of a MUST has run"
        elif report.checked < report.total:
            verdict += f" as far as checked, {report.checked} of {report.total} cases"
        print_(
            f"{verdict}: {_counts(report.counts())} in {report.seconds:.1f} s, "
            f"seed {report.run.seed}"
        )

    def finish(self) -> int:
        """Flush the output; return the exit status that follows from it."""
        return self._output.finish()


def _line(result: Result) -> str:
    colour = _COLOURS[result.status]
    lines = [f"[{colour}]{result.status:7}[/] {escape(result.case.name)}"]
    lines.append(f"        {escape(result.case.text)} ({', '.join(result.case.covers)})")
    if result.what:
        lines.append(f"        {escape(result.what)}")
    if result.expected or result.actual:
        lines.append(f"        expected  {escape(result.expected)}")
        lines.append(f"        got       {escape(result.actual)}")
    if result.stderr.strip():
        lines.append("        its standard error ends with")
        last = result.stderr.rstrip().splitlines()[-_STDERR_LINES:]
        lines += [f"          {escape(line)}" for line in last]
    return "\n".join(lines)


def _cell(passed: int, total: int) -> str:
    colour = "green" if passed == total else "red"
    return f"[{colour}]{passed}/{total}[/]" if total else "-"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(
        f"[{_COLOURS[status]}]{counts[status]} {status}[/]"
        for status in _COLOURS
        if counts[status]
    )
