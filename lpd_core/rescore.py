"""Re-scoring before an edit is made: re-refine some affected trajectories under the new principle and compare f."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lpd_core.build import build_parts, build_sampler
from lpd_core.constitution import Impact
from lpd_core.errors import EditRefused
from lpd_core.metrics import interval
from lpd_core.prompts import load_templates, refine_chat
from lpd_core.seeds import derive_seed
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store, corpora, results
from lpd_core.types import Interval, Pair, SampleRequest, Trajectory


@dataclass(frozen=True, slots=True)
class Rescored:
    """Mean f(y2, gold) of n trajectories under the old and the new principle, and the paired change."""

    n: int
    before: float
    after: float
    change: Interval


def rescore(store: Store, folder: RunFolder, iteration: int, effect: Impact, limit: int) -> Rescored:
    """Write y2 anew for up to `limit` relabelled trajectories, under both principles, with the run's sampler.

    Both sides are sampled with the same seeds, so that the change is the principle's. Raises `EditRefused` when
    the limit is below 1, the edit relabels none, or none could be scored on both sides."""
    if limit < 1:
        raise EditRefused(f"cannot re-score {limit} prompts; give 1 or more")
    config = folder.config()
    texts = {c.principle_id: (c.before, c.after) for c in effect.changes if c.before and c.after}
    found = [t for t in results.trajectories(store, folder.run_id, iteration) if t.principle_id in texts]
    if not found:
        raise EditRefused("the edit relabels no trajectory, so there is nothing to re-score")
    found = sorted(found, key=lambda t: derive_seed(config.seed, "rescore", t.prompt_id))[:limit]
    scored = _scores(store, folder, iteration, found, texts)
    pairs = [(before, after) for before, after in scored if before is not None and after is not None]
    if not pairs:
        raise EditRefused(f"the scorer gave no score to any of the {len(found)} re-refined responses")
    return Rescored(
        n=len(pairs),
        before=sum(a for a, _ in pairs) / len(pairs),
        after=sum(b for _, b in pairs) / len(pairs),
        change=interval([b - a for a, b in pairs]),
    )


def _scores(
    store: Store,
    folder: RunFolder,
    iteration: int,
    found: Sequence[Trajectory],
    texts: Mapping[str, tuple[str, str]],
) -> list[tuple[float | None, float | None]]:
    """f(y2, gold) of responses written anew under both texts, given by the id of each one's own principle."""
    config = folder.config()
    golds = {e.prompt_id: e.gold for e in corpora.assigned(store, folder.run_id, iteration, "train")}
    parts, templates = build_parts(config, store.cache), load_templates(folder.prompts(config))
    model = model_of(config, folder, iteration - 1)
    if config.sampler.kind != "scripted" and Path(model).is_dir():
        # Whatever sampled in the run: a few answers need no engine or server, and the weights are the same.
        local = config.sampler.model_copy(update={"kind": "transformers"})
        config = config.model_copy(update={"sampler": local})
    sampler = build_sampler(config, model)
    scores = []
    for side in (0, 1):
        requests = [
            SampleRequest(
                refine_chat(templates, t.messages, t.draft, texts[t.principle_id][side]),
                derive_seed(config.seed, iteration, "rescore", t.prompt_id, t.sample),
            )
            for t in found
        ]
        answers = sampler.sample(requests, config.e_step.refine)
        rows = [
            Pair(a.text.strip(), golds[t.prompt_id], t.messages) for a, t in zip(answers, found, strict=True)
        ]
        scores.append(parts.scorer.score(rows))
    return list(zip(*scores, strict=True))
