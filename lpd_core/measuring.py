"""The measurements of a finished run in one pass, as data: what `evaluate RUN` prints and the report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lpd_core import benchmarks, harness, judgements, measures
from lpd_core.agreement import judge_and_people
from lpd_core.build import build_embedder, build_judge
from lpd_core.config import RunConfig, override
from lpd_core.edit_effects import run_edit_effects
from lpd_core.errors import UserError
from lpd_core.judge import Judge, load_prompts
from lpd_core.metrics import best_iteration
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store, constitutions, evaluating
from lpd_core.store import runs as run_table

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure: the held-out set, whether to ask the judge, of how many prompts and entries, and the benchmarks'
    files; `references` are MT-Bench's reference answers."""

    benchmark: str = "test"
    judge: bool = False
    prompts: int = 40
    entries: int = 8
    ifeval: Path | None = None
    mt_bench: Path | None = None
    references: Path | None = None
    alpaca_eval: Path | None = None
    tasks: harness.Wanted | None = None


def measure_run(
    store: Store, folder: RunFolder, wanted: Request, assignments: Iterable[str] = (), tell: Tell = print
) -> dict[str, Any]:
    """All measurements of a run at its best iteration. `assignments` lie over the run's settings (another judge).

    Raises `UserError` where no trained iteration has been measured on the benchmark."""
    config = override(folder.config(), assignments)
    summaries = {
        row["iteration"]: row["summary"].get("evaluate", {})
        for row in run_table.list_iterations(store, folder.run_id)
    }
    measured = sorted(t for t, summary in summaries.items() if wanted.benchmark in summary)
    best = best_iteration(summaries)
    if best is None or best not in measured:
        raise UserError(f"run {folder.run_id} has no trained iteration measured on {wanted.benchmark!r} yet")
    embedder = build_embedder(config, store.cache)
    threshold = config.cluster.lineage_threshold
    quality = {
        t: measures.run_quality(store, folder.run_id, t, wanted.benchmark, embedder, threshold)
        for t in measured
        if t > 0
    }
    told: dict[str, Any] = {
        "run_id": folder.run_id,
        "benchmark": wanted.benchmark,
        "best_iteration": best,
        "stepwise": {
            t: asdict(found)
            for t, found in measures.stepwise(store, folder.run_id, measured, wanted.benchmark).items()
        },
        "quality": {t: asdict(found) for t, found in quality.items() if found is not None},
        "strengths": _strengths(measures.run_strengths(store, folder.run_id, best)),
        "edits": [
            asdict(each)
            for each in run_edit_effects(store, folder.run_id, config, wanted.benchmark, lambda: embedder)
        ],
    }
    if wanted.judge:
        judge = build_judge(config, store.cache)
        told["judged"] = judge_run(store, folder, config, judge, best, wanted, tell)
    told["followed"] = {
        judge: _strengths(found)
        for judge, found in judgements.kept_strengths(store, folder.run_id, best).items()
    }
    told["agreement"] = [asdict(each) for each in judge_and_people(store, folder.run_id)]
    bench = benchmarks.Bench(store, folder, config, best, tell)
    if wanted.ifeval is not None:
        told["ifeval"] = benchmarks.run_ifeval(bench, wanted.ifeval)
    if wanted.mt_bench is not None:
        told["mt_bench"] = [benchmarks.run_mt_bench(bench, wanted.mt_bench, wanted.references)]
    if wanted.alpaca_eval is not None:
        told["alpaca_eval"] = [benchmarks.run_alpaca_eval(bench, wanted.alpaca_eval)]
    if wanted.tasks is not None:
        models = {t: model_of(config, folder, t) for t in (0, best)}
        told["tasks"] = harness.run_tasks(store, folder, config, models, wanted.tasks, tell)
    return told


def _strengths(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [{**asdict(each), "may_be_pruned": each.may_be_pruned} for each in found]


def judge_run(
    store: Store,
    folder: RunFolder,
    config: RunConfig,
    judge: Judge,
    best: int,
    wanted: Request,
    tell: Tell = print,
) -> dict[str, Any]:
    """M_best's y2 before the judge against M_{best-1}'s y2 and the base model's y1, principle-following, and each entry's
    strength; every judged pair is kept among the run's evaluations. Says first how many verdicts it asks for."""
    prompts = load_prompts(config.scoring.judge.rubric)
    answers, before, base = (
        evaluating.heldout_answers(store, folder.run_id, t, wanted.benchmark, wanted.prompts)
        for t in (best, best - 1, 0)
    )
    entries = _entries(store, folder.run_id, best, wanted.entries)
    pairs = judgements.answer_pairs(answers, base, "draft")
    most = judgements.questions(len(pairs), len(entries)) + 2 * len(answers)
    tell(
        f"{judge.name} is asked for at most {most} verdicts ({len(pairs)} prompts); verdicts kept before are free"
    )
    step = judgements.judge_pairs(
        f"M_{best} over M_{best - 1}", judge, prompts, judgements.answer_pairs(answers, before)
    )
    over_base = judgements.judge_pairs(f"M_{best} over the base model's y1", judge, prompts, pairs)
    following = judgements.judge_following(judge, prompts, answers, base)
    for judged, against in ((step, f"M_{best - 1} y2"), (over_base, "M_0 y1"), (following, "M_0 y1")):
        judgements.keep(store, folder, best, judged, prompts.digest, against)
    per_entry = judgements.judge_entries(judge, prompts, entries, pairs)
    for judged in per_entry.values():
        judgements.keep(store, folder, best, judged, prompts.digest, "M_0 y1")
    preferred = {each.key: each.outcome for each in over_base.judgements}
    outcomes = {name: {j.key: j.outcome for j in found.judgements} for name, found in per_entry.items()}
    followed = judgements.entry_strengths(entries, outcomes, preferred)
    return {
        "judge": judge.name,
        "prompts_digest": prompts.digest,
        "pairs": {judged.name: asdict(judged.summary) for judged in (step, over_base, following)},
        "entries": _strengths(followed),
    }


def _entries(store: Store, run_id: str, iteration: int, most: int) -> list[tuple[str, str]]:
    constitution = constitutions.approved(store, run_id, iteration)
    active = constitution.active if constitution else ()
    largest = sorted(active, key=lambda entry: (-entry.trajectories, entry.entry_id))[:most]
    return [(entry.entry_id, entry.text) for entry in largest]
