"""Processes that keep a model in memory and answer pages, so that the dashboard's server never loads one.

There is one process a kind and home: `embed` holds sentence embedders, `model` the checkpoints that were last
asked. It is started when first asked, detached; it answers one request a connection over a Unix socket that only
the same user can open, in JSON lines; and it leaves by itself some minutes after its last answer, which frees its
memory. `client` asks, `worker` takes requests, `operations` answer them, `place` says where they meet, `room`
whether there is memory.
"""

from lpd_core.resident.client import Step, chain, embed
from lpd_core.resident.room import AtWork, Room, room

__all__ = ["AtWork", "Room", "Step", "chain", "embed", "room"]
