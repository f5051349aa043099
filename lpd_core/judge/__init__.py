"""Judging by a language model: prompts, a parser that invents nothing, cached verdicts, single and paired ratings.

`Judge` asks any sampler and keeps verdicts; `pointwise` rates from 1 to 10, `pairwise` compares in both orders
and measures order bias. A verdict that cannot be read is asked for again, then it is None: unscored, never zero.
"""

from lpd_core.judge.asking import Judge, Question
from lpd_core.judge.pairwise import (
    Outcomes,
    Pairing,
    PairJudgement,
    PairSummary,
    pairwise_judgements,
    share_won,
    side_of,
    summarise_outcomes,
    summarise_pairs,
)
from lpd_core.judge.parsing import read_choice, read_rating
from lpd_core.judge.pointwise import Rated, Rating, pointwise_judgements
from lpd_core.judge.prompts import JudgePrompts, load_prompts
from lpd_core.judge.verdicts import Verdict, VerdictCache

__all__ = [
    "Judge",
    "JudgePrompts",
    "Outcomes",
    "PairJudgement",
    "PairSummary",
    "Pairing",
    "Question",
    "Rated",
    "Rating",
    "Verdict",
    "VerdictCache",
    "load_prompts",
    "pairwise_judgements",
    "pointwise_judgements",
    "read_choice",
    "read_rating",
    "share_won",
    "side_of",
    "summarise_outcomes",
    "summarise_pairs",
]
