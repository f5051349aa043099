"""The constitution as a versioned, editable object: pure data and pure functions, without any storage.

`state` holds the records, `edits` and `log` what people do to them, `impact` what that does to the training
set, `diff` and `lineage` compare versions and iterations, `replay` repeats a log on another clustering,
`document`, `markdown` and `imports` are the files that go out and come in.
"""

from lpd_core.constitution.dendrogram import groups_by_k, groups_by_threshold
from lpd_core.constitution.diff import Change, Diff, diff
from lpd_core.constitution.document import digest, entries_json, from_json, from_yaml, to_yaml
from lpd_core.constitution.edits import Edit
from lpd_core.constitution.impact import (
    Impact,
    TrajectoryIndex,
    affected,
    impact,
    index_trajectories,
    reanchor,
    with_rest,
)
from lpd_core.constitution.imports import Imported, additions, read_principles
from lpd_core.constitution.lineage import Lineage, Link, Node, discovery_rate, match, successors
from lpd_core.constitution.log import History, effective_edits, go_on, record, replay_log, start
from lpd_core.constitution.markdown import to_markdown
from lpd_core.constitution.replay import Outcome, Replayed, replay
from lpd_core.constitution.state import (
    Constitution,
    Entry,
    Tally,
    edit_prefix,
    free_prefix,
    from_clustering,
    replacement,
    replacements,
    tally,
)
from lpd_core.constitution.words import Words, word_diff

__all__ = [
    "Change",
    "Constitution",
    "Diff",
    "Edit",
    "Entry",
    "History",
    "Impact",
    "Imported",
    "Lineage",
    "Link",
    "Node",
    "Outcome",
    "Replayed",
    "Tally",
    "TrajectoryIndex",
    "Words",
    "additions",
    "affected",
    "diff",
    "digest",
    "discovery_rate",
    "edit_prefix",
    "effective_edits",
    "entries_json",
    "free_prefix",
    "from_clustering",
    "from_json",
    "from_yaml",
    "go_on",
    "groups_by_k",
    "groups_by_threshold",
    "impact",
    "index_trajectories",
    "match",
    "read_principles",
    "reanchor",
    "record",
    "replacement",
    "replacements",
    "replay",
    "replay_log",
    "start",
    "successors",
    "tally",
    "to_markdown",
    "to_yaml",
    "with_rest",
    "word_diff",
]
