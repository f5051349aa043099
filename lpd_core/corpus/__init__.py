"""Corpora: a data file becomes validated examples (prompt turns, gold response, split). Writes nothing.

`importing` is the way in; `reading` and `tables` turn files into rows, `formats` turns rows into prompts and
golds, `chats` and `rows` hold the checks, `splits` the held-out split. Knows no store, model or setting.
"""

from lpd_core.corpus.formats import FORMATS
from lpd_core.corpus.importing import FIELDS, Corpus, read_corpus
from lpd_core.corpus.reading import MAX_ROW_BYTES
from lpd_core.corpus.rows import Problem
from lpd_core.corpus.splits import SPLITS, content_key, split_of

__all__ = [
    "FIELDS",
    "FORMATS",
    "MAX_ROW_BYTES",
    "SPLITS",
    "Corpus",
    "Problem",
    "content_key",
    "read_corpus",
    "split_of",
]
