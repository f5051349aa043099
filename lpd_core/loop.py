"""STaPLe, Monte-Carlo EM over latent principles (arXiv 2505.16927), as one loop.

    M_0 = the base model; measure it on the held-out prompts
    for t = 1 .. T:
        E-step    for each prompt x with gold yG of iteration t's own prompts, with the model M_{t-1}:
                      y1 ~ M(. | x)                        draft; baseline b = f(y1, yG)
                      z_i ~ M(. | x, y1, yG), i = 1 .. N   propose principles; the gold is a hint here only
                      y2_i ~ M(. | x, y1, z_i)             refine under each, the gold hidden
                      keep z_i, y2_i if f(y2_i, yG) > b; select the best
        cluster   the selected principles -> constitution C_t (medoids of average-linkage clusters)
        gate      a researcher edits and approves C_t (or it is approved as found)
        relabel   each z -> its representative in C_t; pruned clusters leave the training set
        M-step    M_t = M_{t-1} fine-tuned on log p(z | x, y1) + log p(y2 | x, y1, z)
        evaluate  x -> y1 -> z -> y2 by M_t on held-out prompts, no gold, no constitution shown
    the best iteration is the one with the highest held-out f(y2, yG) on dev

The loop knows the order and nothing else: `execute` runs one stage to its committed end (in this process, or as
subprocesses under another interpreter), and a stage that is committed already is passed over, so that running
the loop again is how a run resumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lpd_core import cluster_step, e_step, evaluate, m_step
from lpd_core.config import RunConfig
from lpd_core.metrics import best_iteration
from lpd_core.stage import Stage


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage does (`run`, in the stage's own process) and what is told of it afterwards (`summarise`)."""

    run: Callable[[Stage], None]
    summarise: Callable[[Stage], dict[str, Any]]
    sharded: bool = False


STAGES: dict[str, Work] = {
    "e_step": Work(e_step.mine, e_step.summarise, sharded=True),
    "cluster": Work(cluster_step.cluster, cluster_step.summarise),
    "relabel": Work(m_step.relabel, m_step.summarise),
    "m_step": Work(m_step.learn, m_step.summarise),
    "evaluate": Work(evaluate.measure, evaluate.summarise, sharded=True),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass through the loop ended: finished with its best iteration, or waiting for a review."""

    status: str
    iteration: int
    best: int | None = None


def run_em(
    config: RunConfig,
    execute: Callable[[str, int], dict[str, Any]],
    is_approved: Callable[[int], bool],
    approve: Callable[[int], None],
) -> Outcome:
    """Run, or go on with, all iterations.

    `execute(stage, iteration)` returns the stage's summary; `is_approved` and `approve` are the human gate."""
    heldout = {0: execute("evaluate", 0)}
    for iteration in range(1, config.iterations + 1):
        execute("e_step", iteration)
        execute("cluster", iteration)
        if not is_approved(iteration):
            if config.review:
                return Outcome("awaiting_review", iteration)
            approve(iteration)
        rows = execute("relabel", iteration)["training_rows"]
        if not rows and iteration > 1:  # nothing gained any more: M_{t-1} is the last model
            return Outcome("finished", iteration - 1, best_iteration(heldout))
        execute("m_step", iteration)
        heldout[iteration] = execute("evaluate", iteration)
    return Outcome("finished", config.iterations, best_iteration(heldout))
