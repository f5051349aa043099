"""Whether a judge says what people say: Cohen's kappa between its verdicts and the blind votes on the same answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpd_core.judge import side_of
from lpd_core.metrics import wilson
from lpd_core.statistics import kappa_interval
from lpd_core.store import Store, evaluating, votes
from lpd_core.store.votes import System
from lpd_core.types import Interval

AGAINST = re.compile(r"M_(\d+) (y[12])")
COMPARISON = re.compile(r"judge:M_\d+ over ")
"""The comparisons that ask which answer is better; whether a principle is followed is another question."""

FEWEST = 4
"""Votes below which kappa and its interval would say nothing."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge beside the people who voted on M_t's y2 against another answer.

    `kappa` is over three outcomes (either side, or a tie; both bad is one), `decided` over the votes where neither the
    voter nor the judge ties, each with a bootstrap interval over prompts; n counts votes. `same` is the plain share of
    equal outcomes. `unjudged` votes have no verdict of the judge on their prompt."""

    iteration: int
    against: str
    judge: str
    prompts_digest: str
    kappa: Interval
    decided: Interval
    same: Interval
    voters: int
    prompts: int
    people_ties: int
    judge_ties: int
    unjudged: int


def judge_and_people(store: Store, run_id: str) -> list[Agreement]:
    """Every judged comparison of a run's answers beside the votes on the same two systems; those without a vote are left
    out."""
    cast = votes.on_stored_answers(store, run_id)
    groups: dict[tuple[Any, ...], dict[str, str | None]] = {}
    for row in evaluating.judged_rows(store, run_id) if cast else ():
        told = row["verdict"]
        if COMPARISON.match(row["benchmark"]):
            name = (row["iteration"], told["against"], row["system"].removeprefix("judge:"), told["prompts"])
            groups.setdefault(name, {})[row["prompt_id"]] = side_of(row["score"])
    found = []
    for (iteration, against, judge, digest), verdicts in groups.items():
        match = AGAINST.fullmatch(against)
        pair = (System(iteration), System(int(match[1]), match[2])) if match else ()
        own = [vote for vote in cast if {vote["a"], vote["b"]} == set(pair)]
        if own:
            found.append(_agreement(iteration, against, judge, digest, own, verdicts))
    return found


def _agreement(
    iteration: int,
    against: str,
    judge: str,
    digest: str,
    cast: Sequence[Mapping[str, Any]],
    verdicts: Mapping[str, str | None],
) -> Agreement:
    both = [
        (vote["prompt_id"], _turned(vote, iteration), verdicts[vote["prompt_id"]])
        for vote in cast
        if verdicts.get(vote["prompt_id"]) is not None
    ]
    decided = [each for each in both if "tie" not in each[1:]]
    equal = sum(people == said for _, people, said in both)
    return Agreement(
        iteration=iteration,
        against=against,
        judge=judge,
        prompts_digest=digest,
        kappa=_kappa(both),
        decided=_kappa(decided),
        same=wilson(equal / len(both) if both else 0.0, len(both)),
        voters=len({vote["voter"] for vote in cast}),
        prompts=len({prompt for prompt, _, _ in both}),
        people_ties=sum(people == "tie" for _, people, _ in both),
        judge_ties=sum(said == "tie" for _, _, said in both),
        unjudged=len(cast) - len(both),
    )


def _turned(vote: Mapping[str, Any], iteration: int) -> str:
    """The vote as the judge has it: "a" for M_t's y2."""
    if vote["verdict"] in ("tie", "both_bad"):
        return "tie"
    chosen = vote["a"] if vote["verdict"] == "a" else vote["b"]
    return "a" if chosen == System(iteration) else "b"


def _kappa(rows: Sequence[tuple[str, str, str]]) -> Interval:
    if len(rows) < FEWEST:
        return Interval(float("nan"), float("nan"), float("nan"), len(rows))
    prompts, people, said = zip(*rows, strict=True) if rows else ((), (), ())
    return kappa_interval(people, said, groups=prompts)
