"""Which prompts a run mines in each iteration and which are held out: sources, filters, mixture, stable hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lpd_core.config import DataConfig, RunConfig, resolve_path
from lpd_core.corpus import (
    EVALUATION_FORMATS,
    BenchmarkPrompt,
    Limits,
    content_key,
    find_drops,
    prompts_as_benchmark,
    read_benchmark,
    read_corpus,
)
from lpd_core.corpus.hub import PREFIX, fetch, parse_source
from lpd_core.errors import DataError
from lpd_core.seeds import derive_seed
from lpd_core.store import Store, corpora
from lpd_core.types import Example


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which prompts a run mines in each iteration and measures on each held-out set; how many prompts were
    left out of mining, by reason."""

    mined: tuple[tuple[Example, ...], ...]
    heldout: Mapping[str, tuple[Example, ...]]
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Located:
    """A source as a file: its path, where it is from (recorded with the data set), a name and licence, if known."""

    path: Path
    origin: str
    name: str | None = None
    license: str | None = None


def locate(store: Store, source: str) -> Located:
    """The file of a source: the path given, or a data set of the hub, fetched if it is not here yet."""
    if not source.startswith(PREFIX):
        path = resolve_path(source)
        return Located(path, str(path.absolute()))
    fetched = fetch(parse_source(source), store.cache)
    return Located(fetched.path, str(fetched.source), fetched.source.name, fetched.license)


def import_source(store: Store, source: str, split: str = "auto") -> str:
    """The id of a source's data set: an imported one by name, id or origin, else a file or a data set of the
    hub, imported now (of the latter, its valid rows). Raises `DataError` when it is none of these."""
    is_hub = source.startswith(PREFIX)
    if is_hub and (known := corpora.with_source(store, str(parse_source(source)))):
        return known
    if not is_hub and not resolve_path(source).is_file():
        try:
            return corpora.find_dataset(store, source)
        except DataError as cause:
            raise DataError(f"{source!r} is neither a file nor an imported data set: {cause}") from cause
    found = locate(store, source)
    corpus = read_corpus(found.path, name=found.name, split=split, license=found.license, skip_bad=is_hub)
    corpora.add_corpus(store, corpus, source=found.origin)
    return corpus.dataset_id


def assign_prompts(store: Store, config: RunConfig) -> Assignment:
    """Deal the prompts out: disjoint between iterations, none of them held out (invariant 4), by stable hash.

    Raises `DataError` when there are no prompts to mine or an iteration would get none."""
    datasets = {source: import_source(store, source) for source in config.data.sources}
    pool = distinct(e for name in datasets.values() for e in _rows_of(store, name, "train"))
    held = _heldout(store, config)
    taken = {content_key(e.messages) for examples in held.values() for e in examples}
    pool = [e for e in pool if content_key(e.messages) not in taken]
    pool, dropped = drop_unwanted(config.data, pool, benchmark_prompts(store, config.data.exclude))
    pool = mix(config, shuffled(pool, config.seed, "train"), datasets)
    mined, start = [], 0
    for size in wanted_sizes(config):
        mined.append(tuple(pool[start : start + size]))
        start += size
    if not mined[-1]:
        raise DataError(
            f"{len(pool)} prompts to mine are too few for {config.iterations} iterations of "
            f"{config.data.prompts_per_iteration} prompts: lower data.prompts_per_iteration or iterations, "
            "or name more data in data.train"
        )
    return Assignment(tuple(mined), held, dropped)


def wanted_sizes(config: RunConfig) -> list[int]:
    """How many prompts each iteration is to mine."""
    sizes = config.data.prompts_per_iteration or [0]
    return [sizes[min(t, len(sizes) - 1)] for t in range(config.iterations)]


def drop_unwanted(
    data: DataConfig, examples: Sequence[Example], benchmarks: Sequence[BenchmarkPrompt]
) -> tuple[list[Example], dict[str, int]]:
    """The examples within the configured limits that repeat no benchmark, and how many are not, by reason."""
    drops = find_drops(examples, Limits(**data.limits.model_dump()), benchmarks)
    counts = Counter(drop.kind for drop in drops.values())
    return [e for e in examples if e.prompt_id not in drops], dict(counts)


def mixture_counts(config: RunConfig) -> dict[str, int]:
    """How many prompts the mixture wants of each source; sources that it leaves whole are not there."""
    shares = config.data.mixture
    if all(isinstance(share, int) for share in shares.values()):
        return dict(shares)
    weights = {source: shares.get(source, 1.0) for source in config.data.sources}
    total, whole = sum(wanted_sizes(config)), sum(weights.values())
    return {source: round(total * weight / whole) for source, weight in weights.items()}


def mix(config: RunConfig, pool: Sequence[Example], datasets: Mapping[str, str]) -> list[Example]:
    """The first prompts of each source, as many as the mixture wants, in the order of the pool; `datasets`
    gives each source's data set."""
    room = Counter({datasets[source]: count for source, count in mixture_counts(config).items()})
    drawn = []
    for example in pool:
        if example.dataset_id in room:
            if room[example.dataset_id] == 0:
                continue
            room[example.dataset_id] -= 1
        drawn.append(example)
    return drawn


def benchmark_prompts(store: Store, sources: Iterable[str]) -> list[BenchmarkPrompt]:
    """The prompts of benchmarks given as files or as the names of imported evaluation data."""
    prompts = []
    for source in sources:
        path = resolve_path(source)
        if path.is_file():
            prompts += read_benchmark(path)
        else:
            dataset = corpora.find_dataset(store, source)
            prompts += prompts_as_benchmark(source, corpora.prompts_of(store, dataset))
    return prompts


def _heldout(store: Store, config: RunConfig) -> dict[str, tuple[Example, ...]]:
    sets = {
        "dev": _rows(store, config.data.dev or config.data.sources, None if config.data.dev else "dev"),
        "test": _rows(store, config.data.test or config.data.sources, None if config.data.test else "test"),
    }
    sets |= {name: _rows(store, [source], None) for name, source in config.data.shifted.items()}
    limit = config.data.heldout_limit
    return {
        name: tuple(shuffled(distinct(examples), config.seed, name)[:limit])
        for name, examples in sets.items()
        if examples
    }


def _rows(store: Store, sources: Sequence[str], split: str | None) -> list[Example]:
    return [e for source in sources for e in _rows_of(store, import_source(store, source), split)]


def _rows_of(store: Store, dataset: str, split: str | None) -> list[Example]:
    examples = corpora.prompts_of(store, dataset, split)
    check_usable(corpora.describe_dataset(store, dataset), examples, split)
    return examples


def check_usable(dataset: Mapping[str, str], examples: Sequence[Example], split: str | None) -> None:
    """Raises `DataError` where a benchmark is to be mined, or prompts without gold are to be measured by f."""
    if split == "train" and dataset["format"] in EVALUATION_FORMATS:
        raise DataError(
            f"{dataset['name']!r} is evaluation data ({dataset['format']}): it is never trained on"
        )
    bare = sum(not e.gold for e in examples)
    if bare:
        raise DataError(
            f"{bare} prompts of {dataset['name']!r} have no gold to measure f against; leave it out of the "
            "run's held-out data and measure it with a judge or its checkers"
        )


def distinct(examples: Iterable[Example]) -> list[Example]:
    """One example a prompt."""
    return list({content_key(example.messages): example for example in examples}.values())


def shuffled(examples: Sequence[Example], seed: int, purpose: str) -> list[Example]:
    """The examples in the order of a hash of seed, purpose and prompt id."""
    return sorted(examples, key=lambda e: derive_seed(seed, "assign", purpose, e.prompt_id))
