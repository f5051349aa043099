"""Re-scoring before an edit is made: re-refine some affected trajectories under the new principle and compare f."""

from __future__ import annotations

from dataclasses import dataclass

from lpd_core.build import build_parts
from lpd_core.constitution import Impact
from lpd_core.errors import EditRefused
from lpd_core.metrics import interval
from lpd_core.prompts import load_templates, refine_chat
from lpd_core.seeds import derive_seed
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store, corpora, results
from lpd_core.types import Interval, SampleRequest


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
    the edit relabels none."""
    config = folder.config()
    texts = {c.principle_id: (c.before, c.after) for c in effect.changes if c.before and c.after}
    found = [t for t in results.trajectories(store, folder.run_id, iteration) if t.principle_id in texts]
    if not found:
        raise EditRefused("the edit relabels no trajectory, so there is nothing to re-score")
    found = sorted(found, key=lambda t: derive_seed(config.seed, "rescore", t.prompt_id))[:limit]
    golds = {e.prompt_id: e.gold for e in corpora.assigned(store, folder.run_id, iteration, "train")}
    parts = build_parts(config, store.cache)
    templates, sampler = (
        load_templates(config.prompts),
        parts.sampler(model_of(config, folder, iteration - 1)),
    )
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
        scores.append(
            parts.scorer.score(
                [(a.text.strip(), golds[t.prompt_id]) for a, t in zip(answers, found, strict=True)]
            )
        )
    pairs = [(a, b) for a, b in zip(*scores, strict=True) if a is not None and b is not None]
    return Rescored(
        n=len(pairs),
        before=sum(a for a, _ in pairs) / len(pairs),
        after=sum(b for _, b in pairs) / len(pairs),
        change=interval([b - a for a, b in pairs]),
    )
