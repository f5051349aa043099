"""The tables, and the named steps that bring an older database to them, each applied once and recorded.

The columns are a contract: tools outside read them; add freely, rename none.
"""

from __future__ import annotations

from collections.abc import Callable

TABLES = """
create table datasets (
    dataset_id text primary key, name text, source text, format text, sha256 text, license text,
    n_rows integer, created_at timestamptz);
create table prompts (
    dataset_id text, prompt_id text, split text, messages json, gold text, meta json,
    primary key (dataset_id, prompt_id));
create table runs (
    run_id text primary key, name text, status text, config json, config_digest text, created_at timestamptz,
    started_at timestamptz, finished_at timestamptz, error text, manifest json);
create table iterations (
    run_id text, iteration integer, stage text, status text, model_in text, model_in_digest text,
    model_out text, model_out_digest text, started_at timestamptz, finished_at timestamptz, summary json,
    primary key (run_id, iteration));
create table assignments (
    run_id text, iteration integer, benchmark text, prompt_id text, position integer,
    primary key (run_id, iteration, benchmark, prompt_id));
create table drafts (
    run_id text, iteration integer, prompt_id text, text text, score double, finish_reason text, tokens integer,
    primary key (run_id, iteration, prompt_id));
create table candidates (
    run_id text, iteration integer, prompt_id text, sample integer, principle text, raw_principle text,
    critique text, response text, score double, gain double, status text, selected boolean, principle_id text,
    tokens integer, finish_reason text,
    primary key (run_id, iteration, prompt_id, sample));
create table principles (principle_id text, text text, embedding float[], embedder text,
    primary key (principle_id, embedder));
create table clusters (
    run_id text, iteration integer, cluster_id text, size integer, medoid_principle_id text, label text,
    params json, keywords text[], trajectories integer, prompts integer, mean_gain double,
    acceptance_rate double, datasets json, examples json,
    primary key (run_id, iteration, cluster_id));
create table cluster_members (
    run_id text, iteration integer, cluster_id text, principle_id text, count integer, distance double,
    primary key (run_id, iteration, principle_id));
create table principle_coordinates (
    run_id text, iteration integer, principle_id text, position integer, x double, y double,
    primary key (run_id, iteration, principle_id));
create table merges (
    run_id text, iteration integer, step integer, node_left integer, node_right integer, distance double,
    size integer, primary key (run_id, iteration, step));
create table constitution_edits (
    run_id text, iteration integer, seq integer, op text, args json, author text, reason text, "at" timestamptz,
    primary key (run_id, iteration, seq));
create table constitution_versions (
    run_id text, iteration integer, version integer, message text, author text, "at" timestamptz, entries json,
    approved boolean, digest text, last_seq integer, training_rows integer,
    primary key (run_id, iteration, version));
create table constitution_aliases (
    run_id text, alias text, iteration integer, version integer, "at" timestamptz,
    primary key (run_id, alias));
create table training_rows (
    run_id text, iteration integer, prompt_id text, sample integer, principle text, messages json,
    trained integer[], weight double, version integer, origin_iteration integer,
    primary key (run_id, iteration, prompt_id, sample));
create table metrics (
    run_id text, iteration integer, stage text, step integer, name text, value double, "at" timestamptz,
    primary key (run_id, iteration, stage, step, name));
create table evaluations (
    eval_id text, prompt_id text, system text, sample integer, run_id text, iteration integer, benchmark text,
    draft text, principle text, response text, score double, draft_score double, verdict json,
    primary key (eval_id, prompt_id, system, sample));
create table segments (
    run_id text, name text, ingested_at timestamptz, rows integer, primary key (run_id, name));
"""


def create_tables(connection) -> None:
    """Schema 1: every table of the contract."""
    connection.execute(TABLES)


def create_votes(connection) -> None:
    """Blind votes of people: what stood on side A and on side B, and the verdict a, b, tie or both_bad. An answer is
    y1 or y2; `prompt_id` is null for a prompt that the voter wrote."""
    connection.execute(
        """create table votes (
            vote_id text primary key, run_id text, voter text, "at" timestamptz, prompt_id text, prompt json,
            iteration_a integer, answer_a text, response_a text,
            iteration_b integer, answer_b text, response_b text, verdict text, settings json)"""
    )


def add_dataset_summary(connection) -> None:
    """What was dropped on import, by reason, and how a data set was made."""
    connection.execute("alter table datasets add column summary json")


def keep_lineages(connection) -> None:
    """Schema: how each approved constitution continues the one before, as the relabel stage found it."""
    connection.execute(
        """create table lineage_nodes (
               run_id text, iteration integer, side text, entry_id text, label text, trajectories integer, fate text,
               primary key (run_id, iteration, side, entry_id));
           create table lineage_links (
               run_id text, iteration integer, source text, target text, weight integer, how text, decisive boolean,
               distance double, primary key (run_id, iteration, source, target));"""
    )


def add_generations(connection) -> None:
    """What each role's generation was, by role: finish reason, tokens, prompt tokens, and the raw text where the row keeps
    only a part of it. Prompts are not stored: `transcripts` renders them again."""
    for table in ("drafts", "candidates", "evaluations"):
        connection.execute(f"alter table {table} add column generations json")


def keep_task_results(connection) -> None:
    """What lm-evaluation-harness measured: a row a task and metric (with its filter), its stderr and n; `settings` are those
    that the number depends on, JSON."""
    connection.execute(
        """create table task_results (
               run_id text, iteration integer, task text, metric text, value double, stderr double, n integer,
               settings text, primary key (run_id, iteration, task, metric, settings))"""
    )


def vote_across_runs(connection) -> None:
    """The run of each side of a vote; null is the vote's own."""
    for side in ("a", "b"):
        connection.execute(f"alter table votes add column run_{side} text")


MIGRATIONS: tuple[Callable, ...] = (
    create_tables,
    create_votes,
    add_dataset_summary,
    keep_lineages,
    add_generations,
    keep_task_results,
    vote_across_runs,
)
"""In order; a migration is never changed once released, a new one is added."""


def pending(connection) -> list[Callable]:
    """The migrations that this database has not seen."""
    known = connection.execute(
        "select count(*) from information_schema.tables where table_name = 'schema_migrations'"
    ).fetchone()[0]
    if not known:
        return list(MIGRATIONS)
    done = {name for (name,) in connection.execute("select name from schema_migrations").fetchall()}
    return [step for step in MIGRATIONS if step.__name__ not in done]


def migrate(connection) -> None:
    """Apply what the database has not seen yet, in one transaction each."""
    connection.execute(
        'create table if not exists schema_migrations (name text primary key, "at" timestamptz default now())'
    )
    for step in pending(connection):
        connection.begin()
        step(connection)
        connection.execute("insert into schema_migrations (name) values (?)", [step.__name__])
        connection.commit()
