"""Comparisons of two responses in both orders: agreement, ties, failures and the judge's liking for a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lpd_core.judge.asking import Judge, Question
from lpd_core.judge.prompts import JudgePrompts
from lpd_core.judge.verdicts import Verdict
from lpd_core.metrics import interval
from lpd_core.types import Interval, Message

POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}
AS_SHOWN = {"first": "a", "second": "b", "tie": "tie"}
TURNED = {"first": "b", "second": "a", "tie": "tie"}
Outcomes = tuple[Sequence[str | None], Sequence[str | None]]
"""The verdicts "a", "b", "tie" or None (not given) of each order, a shown first and b shown first."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two responses, of systems a and b, to one conversation; `key` finds it again."""

    key: str
    messages: tuple[Message, ...]
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class PairJudgement:
    """The verdicts on a pairing, a vote each: with a shown first (`forward`), with b shown first (`backward`;
    empty where only one order was asked)."""

    key: str
    forward: tuple[Verdict, ...]
    backward: tuple[Verdict, ...]

    @property
    def outcomes(self) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
        """ "a", "b", "tie" or None of each verdict, forward and backward, in terms of the systems."""
        return (
            tuple(AS_SHOWN.get(verdict.value or "") for verdict in self.forward),
            tuple(TURNED.get(verdict.value or "") for verdict in self.backward),
        )

    @property
    def share(self) -> float | None:
        """The share of verdicts that a wins, as `share_won` has it."""
        return share_won(self.outcomes)

    @property
    def outcome(self) -> str | None:
        """Who wins: "a" or "b" with more than half of the verdicts, else "tie"; None where unjudged. With one vote, a
        judge whose verdict turns with the order gives a tie."""
        return side_of(self.share)


def share_won(outcomes: Outcomes) -> float | None:
    """The share of verdicts that a wins, a tie half, the orders weighing the same; None where an order that was asked
    has no verdict."""
    shares = []
    for order in filter(None, outcomes):
        points = [POINTS[outcome] for outcome in order if outcome]
        if not points:
            return None
        shares.append(sum(points) / len(points))
    return sum(shares) / len(shares) if shares else None


def side_of(share: float | None) -> str | None:
    """Who wins with a share of the verdicts: "a", "b" or "tie"; None where there is none."""
    if share is None:
        return None
    return "tie" if share == 0.5 else "a" if share > 0.5 else "b"


@dataclass(frozen=True, slots=True)
class PairSummary:
    """What many pairings say of system a against b and of the judge. `win_rate` counts a tie half, over the n judged
    pairings; `order_bias` is the share of the verdicts for one side that chose the response shown first, minus
    one half (0 is fair, 0.5 always the first), over pairings judged in both orders; NaN where there are none."""

    pairings: int
    win_rate: Interval
    wins: int
    losses: int
    ties: int
    unjudged: int
    verdicts: int
    failed_verdicts: int
    tied_verdicts: int
    agreement: float
    order_bias: float


def pairwise_judgements(
    judge: Judge,
    prompts: JudgePrompts,
    pairings: Sequence[Pairing],
    votes: int = 1,
    both_orders: bool = True,
) -> list[PairJudgement]:
    """`votes` verdicts on each pairing in each order."""
    questions = []
    for pairing in pairings:
        orders = [(pairing.a, pairing.b), (pairing.b, pairing.a)][: 2 if both_orders else 1]
        questions += [
            Question(prompts.compare(pairing.messages, *order), "choice", vote)
            for order in orders
            for vote in range(votes)
        ]
    verdicts = judge.ask(questions)
    size = votes * (2 if both_orders else 1)
    parts = [tuple(verdicts[n * size : (n + 1) * size]) for n in range(len(pairings))]
    return [
        PairJudgement(pairing.key, part[:votes], part[votes:])
        for pairing, part in zip(pairings, parts, strict=True)
    ]


def summarise_pairs(judgements: Sequence[PairJudgement]) -> PairSummary:
    """Wins, ties, failures, agreement and order bias of judgements, nothing guessed where a verdict is missing."""
    return summarise_outcomes([judgement.outcomes for judgement in judgements])


def summarise_outcomes(outcomes: Sequence[Outcomes]) -> PairSummary:
    """The same from the outcomes alone, as they are stored. `agreement` is the share of the pairs with every verdict in
    which both orders gave the same outcomes."""
    shares = [share_won(each) for each in outcomes]
    sides = [side_of(share) for share in shares]
    verdicts = [verdict for each in outcomes for order in each for verdict in order]
    both = [
        (tuple(forward), tuple(backward))
        for forward, backward in outcomes
        if backward and None not in (*forward, *backward)
    ]
    chose_first = [
        verdict == first
        for forward, backward in both
        for first, order in (("a", forward), ("b", backward))
        for verdict in order
        if verdict != "tie"
    ]
    return PairSummary(
        pairings=len(outcomes),
        win_rate=interval([share for share in shares if share is not None]),
        wins=sides.count("a"),
        losses=sides.count("b"),
        ties=sides.count("tie"),
        unjudged=sides.count(None),
        verdicts=len(verdicts),
        failed_verdicts=sum(verdict is None for verdict in verdicts),
        tied_verdicts=sum(verdict == "tie" for verdict in verdicts),
        agreement=sum(f == b for f, b in both) / len(both) if both else float("nan"),
        order_bias=sum(chose_first) / len(chose_first) - 0.5 if chose_first else float("nan"),
    )
