"""Measurements of a run beyond the held-out gain: steps between models, the constitution's quality, each principle's
strength. Each is a pure function over rows or vectors, and one that reads a run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lpd_core.constitution import Constitution
from lpd_core.metrics import interval, wilson
from lpd_core.parts import Embedder
from lpd_core.statistics import Comparison, compare_scores
from lpd_core.store import Store, constitutions, evaluating
from lpd_core.trials import TrialBook, may_be_pruned
from lpd_core.types import Interval

if TYPE_CHECKING:
    import numpy as np

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Quality:
    """A constitution as a whole. `diversity` is the mean cosine distance of its pairs of entries; `redundancy` the share
    of entries with another within `threshold`; `coverage` the share of held-out principles within it of an entry."""

    size: int
    diversity: float
    redundancy: Interval
    coverage: Interval
    threshold: float


@dataclass(frozen=True, slots=True)
class Strength:
    """What one entry does. `applies` is the share of the scored candidates that state it; `effect` the mean of a
    candidate's gain less that of the same prompt's other candidates, over n candidates; `weight` the coefficient of
    a logistic regression of gaining on all entries, with its Wald interval."""

    entry_id: str
    text: str
    applies: Interval
    effect: Interval
    weight: Interval

    @property
    def may_be_pruned(self) -> bool:
        """Whether following it makes gaining less likely, beyond doubt: the weight's interval is below 0."""
        return may_be_pruned(self.weight)


def stepwise(store: Store, run_id: str, iterations: Sequence[int], benchmark: str) -> dict[int, Comparison]:
    """For each measured iteration but the first, the win rate by f of M_t's y2 over M_{t-1}'s."""
    scores = {
        t: {row["prompt_id"]: row["score"] for row in evaluating.heldout_answers(store, run_id, t, benchmark)}
        for t in iterations
    }
    return {after: compare_scores(scores[after], scores[before]) for before, after in pairwise(iterations)}


def constitution_quality(entries: np.ndarray, heldout: np.ndarray, threshold: float) -> Quality:
    """The quality of entries from unit vectors [entries, d] and those of held-out principles [prompts, d]."""
    import numpy as np

    n = len(entries)
    distances = 1.0 - entries @ entries.T if n else np.zeros((0, 0))
    pairs = distances[np.triu_indices(n, 1)]
    near = (distances + 2.0 * np.eye(n)).min(axis=1) <= threshold if n > 1 else np.zeros(n, bool)
    covered = (1.0 - heldout @ entries.T).min(axis=1) <= threshold if n and len(heldout) else np.zeros(0)
    return Quality(
        size=n,
        diversity=float(pairs.mean()) if len(pairs) else float("nan"),
        redundancy=wilson(float(near.mean()) if n else 0.0, n),
        coverage=wilson(float(covered.mean()) if len(covered) else 0.0, len(covered)),
        threshold=threshold,
    )


def run_quality(
    store: Store, run_id: str, iteration: int, benchmark: str, embedder: Embedder, threshold: float
) -> Quality | None:
    """The quality of an iteration's approved constitution against the principles of M_t's held-out trajectories; None
    where none is approved."""
    constitution = constitutions.approved(store, run_id, iteration)
    if constitution is None:
        return None
    entries = embedder.embed([entry.text for entry in constitution.active])
    answers = evaluating.heldout_answers(store, run_id, iteration, benchmark)
    stated = [row["principle"] for row in answers if row["principle"]]
    return constitution_quality(entries, embedder.embed(stated), threshold)


def run_strengths(store: Store, run_id: str, iteration: int) -> list[Strength]:
    """The strength of each active entry of an iteration's approved constitution; none where none is approved."""
    constitution = constitutions.approved(store, run_id, iteration)
    if constitution is None:
        return []
    return principle_strengths(constitution, evaluating.gains_by_principle(store, run_id, iteration))


def principle_strengths(constitution: Constitution, trials: Sequence[Mapping[str, Any]]) -> list[Strength]:
    """The strength of each active entry over candidates (prompt_id, principle_id, gain), strongest effect first."""
    counts: dict[str, tuple[int, int]] = {}
    for trial in trials:
        gained, lost = counts.get(trial["principle_id"], (0, 0))
        up = trial["gain"] > 0
        counts[trial["principle_id"]] = (gained + up, lost + (not up))
    book = TrialBook(counts)
    weights, effects = book.weights(constitution), _effects(constitution, trials)
    found = [
        Strength(
            entry.entry_id,
            entry.text,
            wilson(sum(book.of(entry)) / book.total if book.total else 0.0, book.total),
            interval(effects.get(entry.entry_id, ()), 1000),
            weights[entry.entry_id],
        )
        for entry in constitution.active
    ]
    return sorted(found, key=lambda s: (-s.effect.mean if s.effect.n else float("inf"), s.entry_id))


def _effects(constitution: Constitution, trials: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """By entry, the gain of each candidate that states it, less the mean of its prompt's candidates that do not; those of
    prompts where all state it compare with nothing and are left out."""
    entry_of = {m.principle_id: e.entry_id for e in constitution.active for m in e.members}
    whole: dict[str, list[float]] = {}
    own: dict[tuple[str, str], list[float]] = {}
    for trial in trials:
        whole.setdefault(trial["prompt_id"], []).append(trial["gain"])
        if (entry := entry_of.get(trial["principle_id"])) is not None:
            own.setdefault((trial["prompt_id"], entry), []).append(trial["gain"])
    found: dict[str, list[float]] = {}
    for (prompt, entry), gains in own.items():
        rest = len(whole[prompt]) - len(gains)
        if rest:
            mean = (sum(whole[prompt]) - sum(gains)) / rest
            found.setdefault(entry, []).extend(gain - mean for gain in gains)
    return found


def logistic_weights(features: Sequence[Sequence[float]], labels: Sequence[bool]) -> list[Interval]:
    """The weight of each feature in a logistic regression with L2 of strength 1 and an intercept, as scikit-learn fits
    it, with its Wald interval from the penalised likelihood's curvature; n is the items where the feature is not 0.
    NaN with n = 0 where the labels are all alike, or the feature is never other than 0."""
    import numpy as np

    matrix = np.asarray(features, dtype=np.float64)
    width = matrix.shape[1] if matrix.ndim == 2 else 0
    unknown = Interval(float("nan"), float("nan"), float("nan"), 0)
    if not width or len(set(labels)) < 2:
        return [unknown] * width
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(matrix, np.asarray(labels))
    chance = fitted.predict_proba(matrix)[:, 1]
    full = np.hstack([matrix, np.ones((len(matrix), 1))])
    penalty = np.diag([1.0] * width + [0.0])
    spread = np.sqrt(np.diag(np.linalg.pinv((full.T * (chance * (1 - chance))) @ full + penalty)))
    used = (matrix != 0).sum(axis=0)
    return [
        Interval(float(w), float(w - Z95 * s), float(w + Z95 * s), int(n)) if n else unknown
        for w, s, n in zip(fitted.coef_[0], spread[:width], used, strict=True)
    ]
