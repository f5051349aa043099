"""The rows of the large store (see `big_store`): SQL over ranges and hashes, vectors and merge trees with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import numpy as np

from lpd_core.constitution import digest, entries_json, from_clustering
from lpd_core.store import Store
from lpd_core.store.arrow import insert
from lpd_core.types import Cluster, Clustering, Member

CLUSTERS, VARIANTS, DIMENSIONS, GROUPS = 500, 200, 384, 25
EMBEDDER = "all-MiniLM-L6-v2"
BENCHMARKS = {"dev": 500, "test": 500, "other_topics": 250}
DATASETS = {"answers": 100_000, "reports": 26_500, **BENCHMARKS}
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Work:
    """An iteration to mine: its prompts are those from `first` on, its principles those of `clusters` groups from
    `offset` on, `variants` texts of each."""

    run_id: str
    iteration: int
    first: int
    prompts: int
    samples: int
    clusters: int
    variants: int
    offset: int

    @property
    def is_large(self) -> bool:
        """Whether this is the iteration that holds half of everything and waits for its review."""
        return self.clusters == CLUSTERS

    @property
    def values(self) -> dict[str, int | str]:
        """The bound parameters that name the iteration's rows."""
        return {"run": self.run_id, "t": self.iteration}


WORDS = """
create temp macro pick(words, h) as words[(h % len(words))::bigint + 1];
create temp macro sentence(h) as concat_ws(' ',
    pick(['The report', 'My manager', 'The second team', 'Our supplier', 'The old bridge', 'A careful reader',
          'The committee', 'The garden', 'Her answer', 'The invoice', 'This recipe', 'The late train'], h),
    pick(['names', 'covers', 'needs', 'avoids', 'repeats', 'settles', 'delays', 'describes', 'checks', 'limits'],
         h // 12),
    pick(['the open question', 'both dates', 'a smaller budget', 'the missing figures', 'every second step',
          'the risk of rain', 'its main source', 'the whole plan', 'three exceptions', 'the first reply'], h // 120),
    pick(['before Monday.', 'in one paragraph.', 'without a warning.', 'for the whole group.', 'as agreed in spring.',
          'and says so plainly.', 'at half the price.', 'with two examples.'], h // 1200));
create temp macro u(h) as (h % 1000003)::double / 1000003;
create temp macro prompt_id(n) as case when n < 100000 then 'a0a0a0a0a0a0:train-' || lpad(n::text, 6, '0')
    else 'b1b1b1b1b1b1:train-' || lpad((n - 100000)::text, 6, '0') end;
create temp macro gold_of(p) as concat_ws(' ', sentence(hash(p, 0)), sentence(hash(p, 1)), sentence(hash(p, 2)),
    sentence(hash(p, 3)), sentence(hash(p, 4)));
create temp macro draft_of(salt, p) as concat_ws(' ', sentence(hash(p, 0)), sentence(hash(salt, p, 1)),
    sentence(hash(p, 3)), sentence(hash(salt, p, 2)));
create temp macro response_of(salt, p, s) as concat_ws(' ', sentence(hash(p, 0)), sentence(hash(p, 1)),
    sentence(hash(salt, p, s)), sentence(hash(p, 3)), sentence(hash(salt, p, s, 1)));
create temp macro question(p) as concat_ws(' ', 'Write to me about case ' || (hash(p) % 100000)::text || '.',
    sentence(hash(p, 7)), 'What should I answer?');
"""
POOL = """
create temp table pool as
select n, n // 200 as cluster, concat_ws(' ',
    (['Name', 'State', 'Explain', 'Check', 'List', 'Weigh', 'Soften', 'Order', 'Justify', 'Shorten', 'Confirm',
      'Compare', 'Question', 'Illustrate', 'Repeat', 'Translate', 'Quantify', 'Date', 'Qualify', 'Summarise'])
      [n // 200 // 25 + 1],
    (['the deadline', 'the risk', 'each step', 'the source', 'the feeling', 'the price', 'the exception',
      'the next action', 'the reader''s aim', 'the main point', 'the doubt', 'the units', 'the order of events',
      'the names', 'the limits', 'the evidence', 'the counterargument', 'the tone', 'the definition', 'the audience',
      'the cost', 'the alternatives', 'the conclusion', 'the assumptions', 'the examples'])[n // 200 % 25 + 1],
    (['first', 'plainly', 'in one sentence', 'with a number', 'without jargon', 'kindly', 'before you answer',
      'at the end', 'twice', 'in the reader''s words'])[n % 10 + 1],
    (['when the stakes are high', 'for a beginner', 'in every reply', 'if anything is open', 'unless it is known',
      'as a short list', 'after the greeting', 'in the first paragraph', 'for each case', 'where it helps',
      'when time is short', 'if the user asks', 'even when unsure', 'before any detail', 'in formal letters',
      'in short notes', 'with due care', 'for the whole team', 'in plain words', 'step by step'])[n % 200 // 10 + 1]
    ) || '.' as text,
    left(sha256(rtrim(lower(text), '.')), 16) as principle_id
from range(100000) r(n);
"""
DRAFTS = """
insert into drafts (run_id, iteration, prompt_id, text, score, finish_reason, tokens)
    select $run, $t, prompt_id(n), draft_of($salt, n), 0.2 + 0.3 * u(hash($salt, n, 5)), 'stop', 45
from (select $first + i as n from range($prompts) r(i));
"""
CANDIDATES = """
insert into candidates by name
with drawn as (
    select $first + i // $samples as n, i % $samples as sample, hash($salt, n, sample, 3) as h,
           hash($salt, n, 4) % $samples = sample as best, hash($salt, n, 6) as luck,
           luck % 10 = 0 and i // $samples >= $covered as lost,
           ((case when best then (i // $samples) * 37 else h end) % ($clusters * $variants))::bigint as k,
           0.2 + 0.3 * u(hash($salt, n, 5)) as baseline,
           case when lost then -0.01 - 0.2 * u(luck) else 0.05 + 0.35 * u(luck) end as top,
           case when best then 999 else h // 11 % 1000 end as fate
    from range($prompts * $samples) r(i)),
judged as (
    select *, greatest(case when best then top else top - 0.01 - 0.5 * u(h // 13) end, -baseline) as raw,
           case when fate < 5 then 'unparsable' when fate < 15 then 'too_long' when fate < 25 then 'leaks_gold'
                when fate < 29 then 'empty' when fate < 31 then 'unscored' when raw <= 0 then 'no_gain'
                when best then 'accepted' else 'not_best' end as status
    from drawn)
select $run as run_id, $t as iteration, prompt_id(j.n) as prompt_id, sample,
       case when status = 'unparsable' then '42' else p.text end as principle,
       case when status = 'unparsable' then '42' else 'Principle: ' || p.text end as raw_principle,
       case when fate < 29 then '' else response_of($salt, j.n, sample) end as response,
       case when fate >= 31 then baseline + raw when status = 'empty' then 0.0 end as score,
       case when fate >= 31 then raw when status = 'empty' then -baseline end as gain, status,
       status = 'accepted' as selected, case when status = 'unparsable' then '73475cb40a568e8d' else p.principle_id end
       as principle_id, 58 as tokens, case when fate >= 25 then 'stop' end as finish_reason
from judged j join pool p on p.n = (($offset + k // $variants) % 500) * 200 + k % $variants
order by j.n, sample;
"""
MEMBERS = """
insert into cluster_members
select $run, $t, $t || '.' || dense_rank() over (order by p.cluster), principle_id, count(*), any_value(p.distance)
from candidates c join places p using (principle_id)
where c.run_id = $run and c.iteration = $t and c.selected group by principle_id, p.cluster;
insert into principle_coordinates
select $run, $t, m.principle_id, row_number() over (order by m.principle_id) - 1, p.x, p.y
from cluster_members m join places p using (principle_id) where m.run_id = $run and m.iteration = $t;
"""
CLUSTER_ROWS = """
insert into clusters by name
with used as (select m.cluster_id, c.* from candidates c join cluster_members m using (run_id, iteration, principle_id)
              where c.run_id = $run and c.iteration = $t),
figures as (
    select cluster_id, count(*) filter (where selected) as trajectories,
           count(distinct prompt_id) filter (where selected) as prompts, avg(gain) filter (where selected) as mean_gain,
           count(*) filter (where status in ('accepted', 'not_best')) / count(*) as acceptance_rate,
           to_json(list({prompt_id: prompt_id, sample: sample} order by gain desc) filter (where selected)[:5])
           as examples
    from used group by cluster_id),
middles as (
    select cluster_id, count(*) as size, arg_max(principle_id, (count, -distance)) as medoid_principle_id
    from cluster_members where run_id = $run and iteration = $t group by cluster_id)
select $run as run_id, $t as iteration, middles.*, figures.* exclude (cluster_id), p.text as label,
       {method: 'agglomerative', choose: 'threshold', threshold: 0.5, new_principles: null}::json as params,
       string_split(lower(rtrim(p.text, '.')), ' ')[:6] as keywords, '{"a0a0a0a0a0a0": 1.0}' as datasets
from middles join figures using (cluster_id)
join (select principle_id as medoid_principle_id, text from pool) p using (medoid_principle_id);
"""
TRAINING = """
insert into training_rows
select $run, $t, c.prompt_id, c.sample, k.label, to_json([
    {role: 'user', content: p.messages->0->>'content'}, {role: 'assistant', content: d.text},
    {role: 'user', content: 'Name one general principle, in one short imperative sentence, that would improve your answer.'},
    {role: 'assistant', content: k.label},
    {role: 'user', content: 'Rewrite your answer to follow this principle: ' || k.label || chr(10) ||
                            'Reply with the rewritten answer only.'},
    {role: 'assistant', content: c.response}]), [3, 5], 1.0, 1, $t
from candidates c join drafts d using (run_id, iteration, prompt_id)
join cluster_members m using (run_id, iteration, principle_id) join clusters k using (run_id, iteration, cluster_id)
join prompts p on p.prompt_id = c.prompt_id where c.run_id = $run and c.iteration = $t and c.selected;
insert into metrics
select $run, $t, 'm_step', step, name,
       case name when 'loss' then 0.2 + 0.6 * exp(-step / 40) + 0.05 * u(hash($salt, step))
                 when 'grad_norm' then 0.5 + u(hash($salt, step, 1)) else 0.0015 * (1 - step / 201) end, now()
from (select i + 1 as step from range(200) r(i)), (select unnest(['loss', 'grad_norm', 'learning_rate']) as name);
"""
PROMPTS = """
insert into prompts
select $dataset, $dataset || ':' || $split || '-' || lpad(i::text, 6, '0'), $split,
       to_json([{role: 'user', content: question($base + i)}]), gold_of($base + i), '{}'
from range($rows) r(i);
"""
EVALUATIONS = """
insert into evaluations by name
with drawn as (select i, $base + i as n, hash($salt, $t, n) as h, hash($salt, 0, n) as h0 from range($rows) r(i)),
scored as (select *, least(0.95, 0.3 + 0.25 * u(h0 // 3) + 0.05 * u(h // 3) + 0.015 * $t) as y1 from drawn)
select $run || '.' || $t || '.' || $benchmark as eval_id,
       $dataset || ':' || $split || '-' || lpad(i::text, 6, '0') as prompt_id,
       case when $t = 0 then 'base' else 'staple' end as system, 0 as sample, $run as run_id, $t as iteration,
       $benchmark as benchmark, draft_of(hash($salt, $t), s.n) as draft, p.text as principle,
       response_of(hash($salt, $t), s.n, 0) as response, least(1.0, y1 - 0.05 + 0.2 * u(h // 5) + 0.02 * $t) as score,
       y1 as draft_score, {"right": h // 7 % 10 < 1 + 1.5 * $t}::json as verdict
from scored s join pool p on p.n = (h % 100000)::bigint;
"""
ASSIGNED = """
insert into assignments select $run, $t, 'train', prompt_id($first + i), i from range($prompts) r(i);
"""
HELD_OUT = """
insert into assignments
select $run, 0, $benchmark, $dataset || ':' || $split || '-' || lpad(i::text, 6, '0'), i from range($rows) r(i);
"""


def write_rows(store: Store, plan: Sequence[Work]) -> None:
    """Every table of the store but runs and iterations, in one transaction."""
    with store.database.write() as connection:
        connection.execute(WORDS)
        connection.execute(POOL)
        write_prompts(connection)
        write_places(connection, max(work.variants for work in plan))
        for work in plan:
            mine(connection, work)
        for run_id in dict.fromkeys(work.run_id for work in plan):
            measure(connection, run_id, [work for work in plan if work.run_id == run_id])
        insert(connection, "merges", [row for work in plan for row in merge_rows(connection, work)])
        insert(connection, "constitution_versions", versions(connection, [w for w in plan if not w.is_large]))


def write_prompts(connection) -> None:
    """The data sets and their prompts."""
    for name, rows in DATASETS.items():
        place = placed(name)
        connection.execute(PROMPTS, place)
        connection.execute(
            """insert into datasets (dataset_id, name, source, format, sha256, n_rows, created_at)
               values (?, ?, ?, 'generic', ?, ?, ?)""",
            [place["dataset"], name, f"{name}.jsonl", place["dataset"], rows, AT],
        )


def placed(name: str) -> dict[str, int | str]:
    """A data set's id, its split, and the number of its first prompt."""
    number = list(DATASETS).index(name)
    split = "train" if name not in BENCHMARKS else "dev" if name == "dev" else "test"
    base = sum(list(DATASETS.values())[:number])
    return {"dataset": f"{'abcde'[number]}{number}" * 6, "split": split, "base": base, "rows": DATASETS[name]}


def write_places(connection, variants: int) -> None:
    """The first `variants` principles of each group with their vectors, and the temporary table `places`: distance to
    the cluster's mean, x, y."""
    random = np.random.default_rng(7)
    groups = unit(random.standard_normal((GROUPS, DIMENSIONS), dtype=np.float32))
    group = np.arange(CLUSTERS) % GROUPS
    centres = unit(
        0.6 * groups[group] + 0.8 * unit(random.standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32))
    )
    cluster = np.arange(CLUSTERS * VARIANTS) // VARIANTS
    noise = unit(random.standard_normal((len(cluster), DIMENSIONS), dtype=np.float32))
    vectors = unit(centres[cluster] + 0.6 * noise)
    angle = 2 * np.pi * group / GROUPS
    centre = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 6 + random.normal(0, 0.9, (CLUSTERS, 2))
    spot = centre[cluster] + random.normal(0, 0.12, (len(cluster), 2))
    distance = 1 - (vectors * centres[cluster]).sum(axis=1)
    used = np.arange(len(cluster)) % VARIANTS < variants
    write_vectors(connection, np.flatnonzero(used), vectors[used], distance[used], spot[used])


def write_vectors(
    connection, numbers: np.ndarray, vectors: np.ndarray, distance: np.ndarray, spot: np.ndarray
) -> None:
    """The principles of these numbers in the pool with their vectors, distances and places."""
    import pyarrow

    flat = pyarrow.ListArray.from_arrays(
        pyarrow.array(np.arange(0, vectors.size + 1, DIMENSIONS, dtype=np.int32)),
        pyarrow.array(vectors.ravel()),
    )
    columns = {
        "n": numbers,
        "embedding": flat,
        "distance": distance,
        "x": spot[:, 0],
        "y": spot[:, 1],
    }
    connection.register("vectors", pyarrow.table(columns))
    connection.execute(
        """create temp table places as select p.principle_id, p.cluster, v.distance::double distance, v.x, v.y
           from pool p join vectors v using (n)"""
    )
    connection.execute(
        "insert into principles select p.principle_id, p.text, v.embedding, ? from pool p join vectors v using (n)",
        [EMBEDDER],
    )
    connection.unregister("vectors")


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def mine(connection, work: Work) -> None:
    """Drafts, candidates and clusters of an iteration."""
    named = {
        **work.values,
        "salt": f"{work.run_id}.{work.iteration}",
        "first": work.first,
        "prompts": work.prompts,
    }
    run(connection, ASSIGNED, named)
    run(connection, DRAFTS, named)
    covered = work.clusters * work.variants if work.is_large else 0
    drawn = {name: getattr(work, name) for name in ("samples", "clusters", "variants", "offset")}
    run(connection, CANDIDATES, {**named, **drawn, "covered": covered})
    run(connection, MEMBERS, named)
    run(connection, CLUSTER_ROWS, named)
    if not work.is_large:
        run(connection, TRAINING, named)


def measure(connection, run_id: str, plan: Sequence[Work]) -> None:
    """The held-out measurements of a run, the base model's first."""
    for benchmark in BENCHMARKS:
        place = {**placed(benchmark), "run": run_id, "benchmark": benchmark}
        run(connection, HELD_OUT, place)
        for t in (0, *(work.iteration for work in plan if not work.is_large)):
            run(connection, EVALUATIONS, {**place, "t": t, "salt": run_id})


def run(connection, sql: str, values: dict) -> None:
    """Statements one after the other, each with those of the values that it names."""
    for statement in filter(str.strip, sql.split(";")):
        connection.execute(
            statement, {name: value for name, value in values.items() if f"${name}" in statement}
        )


def merge_rows(connection, work: Work) -> list[dict]:
    """The merge tree of an iteration: balanced inside a cluster, then over the clusters; distances grow upwards."""
    found = connection.execute(
        """select m.cluster_id from principle_coordinates c join cluster_members m using (run_id, iteration, principle_id)
           where c.run_id = $run and c.iteration = $t order by c.position""",
        work.values,
    ).fetchall()
    leaves: dict[str, list[tuple[float, int, int]]] = {}
    for position, (cluster_id,) in enumerate(found):
        leaves.setdefault(cluster_id, []).append((0.0, position, 1))
    merges: list[tuple[float, int, int, int, int]] = []
    tops = [joined(members, 0.05, 0.05, merges, len(found)) for members in leaves.values()]
    joined([(max(height, 0.5), node, size) for height, node, size in tops], 0.52, 0.04, merges, len(found))
    order = sorted(range(len(merges)), key=lambda i: merges[i][0])
    number = {len(found) + i: len(found) + rank for rank, i in enumerate(order)}
    rows = []
    for step, i in enumerate(order):
        distance, _, left, right, size = merges[i]
        low, high = sorted((number.get(left, left), number.get(right, right)))
        ends = {"node_left": low, "node_right": high, "distance": distance, "size": size}
        rows.append({"run_id": work.run_id, "iteration": work.iteration, "step": step, **ends})
    return rows


def joined(nodes: list[tuple[float, int, int]], start: float, step: float, merges: list, leaves: int):
    """Join (height, node, size) pairwise, level by level, into one; appends (distance, node, left, right, size)."""
    level = start
    while len(nodes) > 1:
        pairs = [nodes[i : i + 2] for i in range(0, len(nodes), 2)]
        nodes = []
        for place, pair in enumerate(pairs):
            if len(pair) == 1:
                nodes.append(pair[0])
                continue
            (_, left, a), (_, right, b) = pair
            distance, node = level + step * 0.9 * place / len(pairs), leaves + len(merges)
            merges.append((distance, node, left, right, a + b))
            nodes.append((distance, node, a + b))
        level += step
    return nodes[0]


def versions(connection, plan: Sequence[Work]) -> list[dict]:
    """The approved constitution of each iteration, as found."""
    texts = dict(connection.execute("select principle_id, text from pool").fetchall())
    rows = []
    for work in plan:
        found = connection.execute(
            """select k.cluster_id, k.label, k.medoid_principle_id, m.principle_id, m.count, m.distance
               from clusters k join cluster_members m using (run_id, iteration, cluster_id)
               where k.run_id = $run and k.iteration = $t order by k.cluster_id, m.principle_id""",
            work.values,
        ).fetchall()
        groups = [
            (key, [Member(*row[3:]) for row in group]) for key, group in groupby(found, lambda row: row[:3])
        ]
        clusters = tuple(Cluster(*key, tuple(members)) for key, members in groups)
        constitution = from_clustering(Clustering(clusters, (), (), ()), texts)
        used = {
            "training_rows": sum(member.count for _, members in groups for member in members),
            "last_seq": 0,
        }
        told = {"version": 1, "message": "as found", "author": "auto", "at": AT, "approved": True}
        entries = {"entries": entries_json(constitution), "digest": digest(constitution)}
        rows.append({"run_id": work.run_id, "iteration": work.iteration, **told, **entries, **used})
    return rows
