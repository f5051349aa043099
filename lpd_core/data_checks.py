"""The checks of a run's data before its first token: sources, held-out sets, counts, filters and mixture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from lpd_core.assignment import (
    benchmark_prompts,
    check_usable,
    distinct,
    drop_unwanted,
    mix,
    mixture_counts,
    wanted_sizes,
)
from lpd_core.config import RunConfig, resolve_path
from lpd_core.corpus import content_key, read_corpus
from lpd_core.corpus.hub import PREFIX, parse_source
from lpd_core.errors import DataError
from lpd_core.findings import Preflight
from lpd_core.store import Store, corpora
from lpd_core.types import Example


def check_data(report: Preflight, store: Store, config: RunConfig) -> dict[str, list[Example]]:
    """Check the sources, and give the prompts of `train` and of every held-out set."""
    if not config.data.sources:
        report.error("data.train names no data", "name a JSONL file or an imported data set in data.train")
        return {}
    pools: dict[str, list[Example]] = {}
    datasets: dict[str, str] = {}
    unknown = False
    for name, source in _sources(config):
        wanted = name if name == "train" or _is_default(config, name) else None
        examples = report.guard(_examples, store, source, wanted)
        if examples:
            datasets[source] = examples[0].dataset_id
            pools.setdefault(name, []).extend(e for e in examples if wanted in (None, e.split))
        elif examples is None and source.startswith(PREFIX) and not report.errors:
            report.warn(f"{source} is not imported yet", "it is fetched from the hub when the run starts")
            unknown = True
    for name in ("dev", "test"):
        if not report.errors and not unknown and not pools.get(name):
            report.warn(
                f"there are no {name} prompts", f"name some in data.{name}: without them nothing is measured"
            )
    if not unknown:
        _check_counts(report, store, config, pools, datasets)
    return pools


def _sources(config: RunConfig) -> Iterator[tuple[str, str]]:
    yield from (("train", source) for source in config.data.sources)
    for name, sources in (("dev", config.data.dev), ("test", config.data.test)):
        yield from ((name, source) for source in sources or config.data.sources)
    yield from config.data.shifted.items()


def _is_default(config: RunConfig, name: str) -> bool:
    return (name == "dev" and not config.data.dev) or (name == "test" and not config.data.test)


def _examples(store: Store, source: str, split: str | None) -> list[Example] | None:
    """The source's examples; None for a data set of the hub that is not here yet."""
    path = resolve_path(source)
    if path.is_file():
        return list(read_corpus(path).examples)
    if source.startswith(PREFIX):
        wanted = str(parse_source(source))
        dataset = corpora.with_source(store, wanted) if store.database.is_begun() else None
        return corpora.prompts_of(store, dataset) if dataset else None
    if not store.database.is_begun():
        raise DataError(f"{source!r} is neither a file nor an imported data set; use `data import FILE`")
    dataset = corpora.find_dataset(store, source)
    examples = corpora.prompts_of(store, dataset)
    check_usable(corpora.describe_dataset(store, dataset), examples, split)
    return examples


def _check_counts(
    report: Preflight,
    store: Store,
    config: RunConfig,
    pools: Mapping[str, list[Example]],
    datasets: Mapping[str, str],
) -> None:
    held = {content_key(e.messages) for name, pool in pools.items() if name != "train" for e in pool}
    mined = {content_key(e.messages) for e in pools.get("train", [])}
    overlap = len(mined & held)
    if overlap:
        report.warn(f"{overlap} prompts stand in train and held-out data", "they are held out, not mined")
    sizes = config.data.prompts_per_iteration
    if not sizes or min(sizes) < 1:
        report.error(f"data.prompts_per_iteration = {sizes}", "give one or more positive numbers")
        return
    _check_heldout(report, pools)
    wanted = wanted_sizes(config)
    pool = [e for e in distinct(pools.get("train", [])) if content_key(e.messages) not in held]
    there = len(_drawn(report, store, config, pool, datasets))
    report.facts["prompts"] = {"mined": there, **{n: len(p) for n, p in pools.items() if n != "train"}}
    if there <= sum(wanted[:-1]) and not report.errors:
        report.error(
            f"{there} prompts to mine are too few for {config.iterations} iterations of {wanted}",
            "lower data.prompts_per_iteration or iterations, or name more data in data.train",
        )
    elif there < sum(wanted):
        report.warn(f"the last iteration gets {there - sum(wanted[:-1])} prompts, not {wanted[-1]}")


def _drawn(
    report: Preflight, store: Store, config: RunConfig, pool: list[Example], datasets: Mapping[str, str]
) -> list[Example]:
    """What filters and mixture leave of the pool, told with what they take."""
    benchmarks = report.guard(benchmark_prompts, store, config.data.exclude) or []
    pool, dropped = drop_unwanted(config.data, pool, benchmarks)
    if dropped:
        report.facts["dropped"] = dropped
        told = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        report.warn(f"prompts left out: {told}", "they are counted in the run's manifest")
    there = Counter(e.dataset_id for e in pool)
    for source, wanted in mixture_counts(config).items():
        found = there[datasets.get(source, "")]
        if found < wanted:
            report.warn(f"{source} has {found} prompts to mine, the mixture wants {wanted}")
    return mix(config, pool, datasets) if set(datasets) >= set(config.data.mixture) else pool


def _check_heldout(report: Preflight, pools: Mapping[str, list[Example]]) -> None:
    """A held-out prompt belongs to one set only, else tuning and reporting would not be apart."""
    seen: dict[str, str] = {}
    for name, pool in pools.items():
        if name == "train":
            continue
        shared = [key for e in pool if seen.get(key := content_key(e.messages), name) != name]
        if shared:
            report.error(
                f"{len(shared)} prompts of {name} stand in {seen[shared[0]]} too",
                "give each held-out set prompts of its own",
            )
        seen.update((content_key(e.messages), name) for e in pool)
