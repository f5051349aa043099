"""The settings of the similarity f and of the judge: sections of the configuration in `config.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from lpd_core.model_config import ModelConfig, SamplerConfig, Sampling, Section

SCORERS = ("rouge_l", "embedding", "judge")


class JudgeConfig(Section):
    """A language model that judges responses. Its verdicts are cached and carry its name and the prompt's digest."""

    mode: Literal["pointwise", "pairwise"] = "pointwise"
    """`pointwise` rates a response from 1 to 10 beside the gold, mapped to [0, 1]; `pairwise` sets it against the gold in
    both orders: the share of verdicts it wins, a tie half."""
    model: ModelConfig = ModelConfig()
    """The judge's weights; an empty path takes the run's own M_0, the same in every iteration."""
    sampler: SamplerConfig = SamplerConfig()
    """The engine that samples the judge, chosen as the run's own; `openai` asks a server, whose name for the judge is
    `served`."""
    rubric: str = ""
    """A file with the words by which to judge; empty takes the shipped ones."""
    votes: int = Field(1, ge=1, le=64)
    """Judgements of each response (and order), each with a seed of its own; f is their mean."""
    retries: int = Field(2, ge=0, le=20)
    """Further tries of a judgement without a readable verdict; then it is unscored, never zero."""
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=512)
    """Sampling of the judge's words; tries after the first are sampled at 0.7 at least."""

    @model_validator(mode="after")
    def _votes_differ(self) -> JudgeConfig:
        if self.votes > 1 and self.sampling.temperature == 0:
            raise ValueError(
                "votes of a greedy judge are all the same; raise sampling.temperature or set votes = 1"
            )
        return self


class ScoringConfig(Section):
    """The similarity f(response, gold) in [0, 1] by which candidates are accepted."""

    kind: Literal["rouge_l", "embedding", "judge", "mixture"] = "rouge_l"
    """Rouge-L F1 [paper], cosine of sentence embeddings, a judge [paper: the alternative], or a weighted mixture."""
    stemmer: bool = True
    """Rouge-L: Porter stemming of words longer than three letters, as the rouge_score package offers it."""
    embedder: str = "all-MiniLM-L6-v2"
    """Embedding: sentence-transformers model, as in cluster.embedder; f is (1 + cosine) / 2."""
    judge: JudgeConfig = JudgeConfig()
    mixture: dict[str, int | float] = Field(default_factory=dict)
    """Mixture: weights of rouge_l, embedding and judge; f is the weighted mean. One part unscored is unscored."""

    @field_validator("mixture")
    @classmethod
    def _known_parts(cls, value: dict[str, int | float]) -> dict[str, int | float]:
        unknown = sorted(set(value) - set(SCORERS))
        if unknown or any(weight <= 0 for weight in value.values()):
            raise ValueError(f"a mixture gives weights above 0 to some of {', '.join(SCORERS)}")
        return value

    @model_validator(mode="after")
    def _mixture_has_parts(self) -> ScoringConfig:
        if self.kind == "mixture" and not self.mixture:
            raise ValueError(
                'kind = "mixture" needs weights, for instance mixture = { rouge_l = 1, judge = 2 }'
            )
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """The scorers in use: the parts of a mixture, or the one of this kind."""
        return tuple(self.mixture) if self.kind == "mixture" else (self.kind,)
