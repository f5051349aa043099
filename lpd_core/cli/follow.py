"""Watching a run from the terminal: a progress bar a stage on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import Any

from lpd_core.events import Measured, Progress, StageFinished, StageStarted, Warned
from lpd_core.store import RunFolder, RunState

ENDED = {"awaiting_review", "finished", "failed", "stopped", "interrupted"}


def follow(folder: RunFolder, since: int = 0) -> RunState:
    """Show a run's events from byte `since` on until it ends or waits; returns its state then."""
    watch = _bars() if sys.stderr.isatty() else _Lines()
    with watch.live if watch.live is not None else nullcontext():
        while True:
            state = folder.state()
            found, since = folder.events(since)
            for _, event in found:
                watch.take(event)
            if state.status in ENDED and not folder.is_driven():
                return folder.state()
            time.sleep(0.2)


class _Lines:
    """A line when a stage begins and when it ends."""

    def __init__(self):
        self.live: Any = None
        self.begun: set[tuple[int, str]] = set()

    def take(self, event: Any) -> None:
        line = _line(event)
        if isinstance(event, StageStarted):
            # A stage that works through several lists, or in several processes, begins once for people.
            line = "" if (event.iteration, event.stage) in self.begun else line
            self.begun.add((event.iteration, event.stage))
        if line:
            print(line, file=sys.stderr, flush=True)


def _line(event: Any) -> str:
    if isinstance(event, StageStarted):
        return f"iteration {event.iteration}  {event.stage}: started"
    if isinstance(event, StageFinished):
        return f"iteration {event.iteration}  {event.stage}: {event.seconds:.1f} s  {_brief(event.summary)}"
    if isinstance(event, Warned):
        return f"warning: iteration {event.iteration}  {event.stage}: {event.message}"
    return ""


def _brief(summary: dict[str, Any]) -> str:
    if "acceptance" in summary:
        return ", ".join(f"{name} {count}" for name, count in summary["acceptance"].items())
    if "constitution_size" in summary:
        return f"{summary['principles']} principles in {summary['constitution_size']} clusters"
    if "training_rows" in summary:
        return f"{summary['training_rows']} training rows"
    if "dev" in summary:
        dev = summary["dev"]
        return f"dev f(y1) {dev['draft']['mean']:.3f}, f(y2) {dev['response']['mean']:.3f}"
    return ""


def _bars():
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    class Watch:
        """A bar for the stage at work, the finished ones as lines above it."""

        def __init__(self):
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.live = Bars(*columns, console=Console(stderr=True))
            self.shards: dict[tuple[int, str], dict[int, tuple[int, int]]] = {}
            self.tasks: dict[tuple[int, str], Any] = {}
            self.loss = 0.0

        def take(self, event: Any) -> None:
            if isinstance(event, StageStarted | Progress):
                self._advance(event)
            elif isinstance(event, Measured) and event.name == "loss":
                self.loss = event.value
            elif line := _line(event):
                self._close(event)
                self.live.console.print(line, markup=False, highlight=False)

        def _advance(self, event: Any) -> None:
            key = (event.iteration, event.stage)
            self.shards.setdefault(key, {})[event.shard] = (event.done, event.total)
            done, total = (sum(pair[i] for pair in self.shards[key].values()) for i in (0, 1))
            if key not in self.tasks:
                self.tasks[key] = self.live.add_task(f"iteration {key[0]}  {key[1]}", total=total)
            told = f"  loss {self.loss:.3f}" if event.stage == "m_step" and self.loss else ""
            name = f"iteration {key[0]}  {key[1]}{told}"
            self.live.update(self.tasks[key], completed=done, total=total, description=name)

        def _close(self, event: Any) -> None:
            task = self.tasks.pop((getattr(event, "iteration", None), getattr(event, "stage", None)), None)
            if task is not None and isinstance(event, StageFinished):
                self.live.remove_task(task)

    return Watch()
