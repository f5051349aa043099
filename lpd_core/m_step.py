"""The M-step: principle learning, section 4. First the training rows, then SFT on z and y2 only.

`relabel` replaces every trajectory's principle by its representative in the approved constitution and drops
those of pruned ones; y2 stays as written unless re-refinement is on. `learn` fits the rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from lpd_core import curation
from lpd_core.errors import StageFailed
from lpd_core.events import Measured
from lpd_core.parts import Sampler
from lpd_core.prompts import gold_row, refine_chat, training_row
from lpd_core.seeds import derive_seed
from lpd_core.stage import Stage, model_of, open_sampler
from lpd_core.store import constitutions, corpora, lineages, results
from lpd_core.types import Pair, SampleRequest, TrainingJob, TrainingRow, Trajectory


def relabel(stage: Stage) -> None:
    """Commit the iteration's training rows under the approved constitution, naming its version, and how that
    constitution continues the one before."""
    rows = _gold_rows(stage) if stage.config.m_step.target == "gold" else _mined_rows(stage)
    if stage.config.m_step.rows == "all":
        rows += constitutions.earlier_training_rows(stage.store, stage.run_id, stage.iteration)
    continued = curation.lineage(stage.store, stage.folder, stage.iteration)
    stage.commit(0, {"training_rows": rows, **lineages.lineage_tables(continued)})


def _mined_rows(stage: Stage) -> list[dict[str, Any]]:
    mined = results.trajectories(stage.store, stage.run_id, stage.iteration)
    replaced = _replaced(stage, mined)
    if stage.config.cluster.rerefine:
        own = {(t.prompt_id, t.sample): t.principle for t in mined}
        changed = [t for t in replaced if t.principle != own[t.prompt_id, t.sample]]
        kept = [t for t in replaced if t.principle == own[t.prompt_id, t.sample]]
        sampler = open_sampler(stage)
        replaced = kept + _rerefine(stage, sampler, changed)
    settings = stage.config.m_step
    named = settings.target == "staple"
    return _stored(stage, [training_row(stage.templates, t, settings.train_draft, named) for t in replaced])


def _gold_rows(stage: Stage) -> list[dict[str, Any]]:
    examples = corpora.assigned(stage.store, stage.run_id, stage.iteration, "train")
    return _stored(stage, [gold_row(stage.templates, example) for example in examples])


def _replaced(stage: Stage, mined: Sequence[Trajectory]) -> list[Trajectory]:
    representative = constitutions.approved_replacements(stage.store, stage.run_id, stage.iteration)
    keep_own = stage.config.cluster.label == "none"
    kept = []
    for trajectory in mined:
        text = representative.get(trajectory.principle_id)
        if text is not None:
            kept.append(trajectory if keep_own else replace(trajectory, principle=text))
    return kept


def _rerefine(stage: Stage, sampler: Sampler, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Write y2 anew where z was replaced, and keep the trajectory only if it still gains over the draft."""
    examples = {e.prompt_id: e for e in corpora.assigned(stage.store, stage.run_id, stage.iteration, "train")}
    settings = stage.config.e_step
    requests = [
        SampleRequest(
            refine_chat(stage.templates, t.messages, t.draft, t.principle),
            derive_seed(stage.config.seed, stage.iteration, "rerefine", t.prompt_id, t.sample),
        )
        for t in trajectories
    ]
    answers = sampler.sample(requests, settings.refine)
    golds = [examples[t.prompt_id].gold for t in trajectories]
    scores = stage.parts.scorer.score(
        [Pair(a.text.strip(), g, t.messages) for a, g, t in zip(answers, golds, trajectories, strict=True)]
    )
    drafts = stage.parts.scorer.score(
        [Pair(t.draft, g, t.messages) for t, g in zip(trajectories, golds, strict=True)]
    )
    return [
        replace(trajectory, response=answer.text.strip(), gain=score - draft)
        for trajectory, answer, score, draft in zip(trajectories, answers, scores, drafts, strict=True)
        if answer.finish_reason == "stop"
        and answer.text.strip()
        and score is not None
        and draft is not None
        and score > draft + settings.margin
    ]


def _stored(stage: Stage, rows: Sequence[TrainingRow]) -> list[dict[str, Any]]:
    version = constitutions.approved_version(stage.store, stage.run_id, stage.iteration)
    return [
        {
            **asdict(row),
            "messages": json.dumps([dict(message) for message in row.messages], ensure_ascii=False),
            "trained": list(row.trained),
            "version": version,
            "origin_iteration": stage.iteration,
        }
        for row in rows
    ]


def learn(stage: Stage) -> None:
    """Fine-tune on the training rows: maximise log p(z | x, y1) + log p(y2 | x, y1, z)."""
    rows = results.training_rows(stage.store, stage.run_id, stage.iteration)
    if not rows:
        raise StageFailed(
            f"iteration {stage.iteration} has no training rows: no candidate gained, or every cluster was pruned; "
            "raise e_step.n, lower e_step.margin, or restore a cluster"
        )
    start = 0 if stage.config.m_step.start == "base" else stage.iteration - 1
    job = TrainingJob(
        rows=tuple(rows),
        model_in=model_of(stage.config, stage.folder, start),
        model_out=str(stage.folder.checkpoint(stage.iteration)),
        work_dir=str(stage.folder.root / "training" / f"iter-{stage.iteration}"),
        seed=derive_seed(stage.config.seed, stage.iteration, "train") % 2**31,
    )
    result = stage.parts.trainer(stage.iteration).train(job, stage.emit)
    stage.commit(0, {"metrics": _history(stage)})
    stage.clock.update({k: v for k, v in asdict(result).items() if k != "model_out"})


def _history(stage: Stage) -> list[dict[str, Any]]:
    """The training curve from the run's events; a step that a resume repeated counts once, the last time."""
    found = {}
    for at, event in stage.folder.events()[0]:
        if isinstance(event, Measured) and (event.iteration, event.stage) == (stage.iteration, stage.name):
            row = {"stage": event.stage, "step": event.step, "name": event.name, "value": event.value}
            found[event.step, event.name] = {**row, "at": datetime.fromtimestamp(at, UTC)}
    return list(found.values())


def summarise(stage: Stage) -> dict[str, Any]:
    """Training rows and the weights that came out."""
    rows = results.training_rows(stage.store, stage.run_id, stage.iteration)
    return {"training_rows": len(rows), "principles": len({row.principle for row in rows})}
