"""Processes that keep a model in memory and answer pages, so that the dashboard's server never loads one.

There is one process a kind and home: `embed` holds a sentence embedder. It is started when first asked, detached;
it answers one request a connection over a Unix socket that only the same user can open, in JSON lines; and it
leaves by itself `IDLE_SECONDS` after its last answer, which frees its memory. `client` asks, `worker` answers,
`place` says where they meet.
"""

from lpd_core.resident.client import embed

__all__ = ["embed"]
