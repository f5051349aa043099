"""One of several training processes: `accelerate launch ... -m lpd_core.training_worker ASSIGNMENT`.

Started by `launch`, and by hand on the further machines of a training on several.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

from lpd_core.errors import EXIT_INTERRUPTED, LpdError, StageFailed, boundary
from lpd_core.events import Event, to_line
from lpd_core.launch import EVENTS, FAILURE, LAUNCHER, Assignment, check_distributed


def main(path: Path) -> int:
    """Train this process's share of an assignment; the exit code."""
    if LAUNCHER in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[LAUNCHER]),), daemon=True).start()
    from lpd_core.fsdp_on_cpu import admit_fsdp_on_cpu
    from lpd_core.training import SupervisedTrainer

    admit_fsdp_on_cpu()
    assignment = Assignment.read(path)
    is_main = os.environ.get("RANK", "0") == "0"

    def emit(event: Event) -> None:
        if is_main:
            with (path.parent / EVENTS).open("a", encoding="utf-8") as file:
                file.write(to_line(event, time.time()) + "\n")

    check = partial(check_distributed, kind=assignment.kind, processes=assignment.config.processes)
    trainer = SupervisedTrainer(assignment.config, assignment.model, assignment.iteration)
    checkpoint = Path(assignment.checkpoint) if assignment.checkpoint else None
    try:
        with boundary(StageFailed, f"train {assignment.job.model_out}"):
            trainer.fit(assignment.job, assignment.digest, checkpoint, emit, check)
    except LpdError as cause:
        print(f"error: {cause}", file=sys.stderr, flush=True)
        told = json.dumps({"kind": type(cause).__name__, "message": str(cause)})
        (path.parent / FAILURE).write_text(told, encoding="utf-8")
        return 1
    return 0


def _end_with(launcher: int) -> None:
    """End this process when the one that launched it has died, so that a resume does not meet it."""
    import psutil

    try:
        process = psutil.Process(launcher)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.2)
    except psutil.NoSuchProcess:
        pass
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
