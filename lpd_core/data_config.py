"""The settings of the prompts: a section of the configuration in `config.py`."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from lpd_core.model_config import Section


class LimitsConfig(Section):
    """How long a prompt to mine and its gold may be: [least, most], both included; empty bounds nothing."""

    prompt_words: list[int] = Field(default_factory=list)
    """Words of all turns of the prompt together."""
    prompt_characters: list[int] = Field(default_factory=list)
    """Characters of all turns of the prompt together."""
    gold_words: list[int] = Field(default_factory=list)
    """Words of the gold."""
    gold_characters: list[int] = Field(default_factory=list)
    """Characters of the gold."""

    @field_validator("*")
    @classmethod
    def _bounds(cls, value: list[int]) -> list[int]:
        if value and (len(value) != 2 or not 0 <= value[0] <= value[1]):
            raise ValueError(
                "write [least, most] in whole numbers, for instance [3, 400], or [] for no bounds"
            )
        return value


class DataConfig(Section):
    """Which prompts are mined and which are held out. A source is the name of an imported data set, the path of
    a data file, or a data set of the hub as `hf:owner/name@revision#config/split`; the last two are imported
    when the run starts."""

    train: list[str] = Field(default_factory=list)
    """Sources whose prompts are mined, each in at most one iteration. Rows of a source imported with a split
    contribute their train rows only."""
    dev: list[str] = Field(default_factory=list)
    """Sources for tuning and for choosing the best iteration; empty takes the dev rows of `train`'s sources."""
    test: list[str] = Field(default_factory=list)
    """Sources for reports only; empty takes the test rows of `train`'s sources."""
    shifted: dict[str, str] = Field(default_factory=dict)
    """Further held-out sets by name (benchmark name = source), measured and reported beside dev and test."""
    prompts_per_iteration: list[int] = Field(default_factory=lambda: [10_000])
    """Prompts mined in iteration 1, 2, ...; the last number serves all later ones. The paper: 50000, then 10000."""
    heldout_limit: int = Field(1000, ge=1)
    """At most this many prompts of each held-out set are measured (chosen by a stable hash)."""
    mixture: dict[str, int | float] = Field(default_factory=dict)
    """How much of each source is mined: whole numbers count prompts (25000), fractions are weights (0.25) of the
    prompts of all iterations. Sources of `train` without an entry: all of them beside counts, weight 1 beside
    weights. Names here need not stand in `train`."""
    limits: LimitsConfig = LimitsConfig()
    """Prompts outside are not mined, and counted."""
    exclude: list[str] = Field(default_factory=list)
    """Benchmark files or imported evaluation data: prompts that repeat one of theirs, word for word or in 13 words
    in a row, are not mined, and counted."""

    @model_validator(mode="after")
    def _one_kind_of_share(self) -> DataConfig:
        if any(share <= 0 for share in self.mixture.values()):
            raise ValueError("the shares of a mixture must be above 0")
        if len({type(share) for share in self.mixture.values()}) > 1:
            raise ValueError("mixture has counts and weights; write all as whole numbers or all as fractions")
        return self

    @property
    def sources(self) -> list[str]:
        """The sources that are mined, those of `train` first."""
        return list(dict.fromkeys([*self.train, *self.mixture]))
