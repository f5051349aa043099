"""What the E-step on Ray Data costs beside this machine's own processes: same prompts, same rows, the demo's model.

The same run's E-step is timed three ways: one process, Ray on this machine with one replica for each of draft, propose
and refine, and a cluster of three local nodes. Told are the seconds of the stage, those until the first chunk began
(Ray's start, actors importing torch, loading the model: paid once a stage) and those after it. `python -m bench.ray`;
Ray's environment is made where it is missing (`make cluster-env`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPTS, N, CHUNK = 48, 2, 4


def settings(name: str, **assignments: object) -> list[str]:
    """The demo's configuration, greedy, with one small iteration and hardly anything beside its E-step."""
    cold = [f"e_step.{role}.temperature=0.0" for role in ("draft", "propose", "refine")]
    small = [f"e_step.n={N}", f"e_step.chunk_prompts={CHUNK}", "iterations=1", "sampler.workers=1"]
    small += [f"data.prompts_per_iteration=[{PROMPTS}]", "data.heldout_limit=2", "m_step.epochs=1"]
    told = [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
        for key, value in assignments.items()
    ]
    return [f'name="{name}"', *cold, *small, *told]


def e_step_of(home: Path, assignments: list[str]) -> tuple[float, float, list[dict]]:
    """Run the E-step alone: seconds of the stage, seconds until the first chunk began, the candidates' rows."""
    from lpd_core import jobs
    from lpd_core.config import load_config
    from lpd_core.events import Progress
    from lpd_core.execution import execution_of
    from lpd_core.store import Store

    store = Store(home)
    folder = jobs.create_run(store, load_config("demo", assignments=assignments))
    started = time.time()
    execution_of(store, folder)("e_step", 1)
    seconds = time.time() - started
    events, _ = folder.events()
    work = [
        event.detail["work"] for _, event in events if isinstance(event, Progress) and "work" in event.detail
    ]
    last = max(at for at, event in events if isinstance(event, Progress))
    rows = store.database.query("select * exclude run_id from candidates order by prompt_id, sample")
    return seconds, last - started - work[-1], rows


def main() -> dict[str, float]:
    """Print the three ways and what Ray adds."""
    from tests.cluster.environment import ENVIRONMENT
    from tests.cluster.nodes import cluster

    reason = ENVIRONMENT.install()
    if reason:
        print(f"not measured: {reason}")
        return {}
    python = str(ENVIRONMENT.interpreter)
    spread = {"e_step.engine": "ray", "sampler.python": python}
    with tempfile.TemporaryDirectory() as folder:
        ways = {"one process": e_step_of(Path(folder, "single"), settings("single"))}
        ways["Ray on this machine"] = e_step_of(Path(folder, "ray"), settings("ray", **spread))
        with cluster(python, count=3, cpus=2) as nodes:
            at = {**spread, "ray.address": nodes.address}
            ways["Ray, three local nodes"] = e_step_of(Path(folder, "nodes"), settings("nodes", **at))
    seconds, start, expected = ways["one process"]
    machine = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"E-step, greedy, {PROMPTS} prompts, N = {N}, chunks of {CHUNK}, {machine}")
    for name, (whole, begun, rows) in ways.items():
        same = "same rows" if rows == expected else "OTHER ROWS"
        print(
            f"  {name}: {whole:.1f} s in all, {begun:.1f} s before the first chunk, {whole - begun:.1f} s after it; "
            f"{same} ({len(rows)})"
        )
    local = ways["Ray on this machine"]
    print(
        f"  Ray adds {local[1] - start:.1f} s of start and takes {(local[0] - local[1]) / (seconds - start):.2f} times as "
        "long after it (three replicas instead of one process)"
    )
    if any(rows != expected for _, _, rows in ways.values()):
        sys.exit("error: the rows differ")
    return {name: whole for name, (whole, _, _) in ways.items()}


if __name__ == "__main__":
    main()
