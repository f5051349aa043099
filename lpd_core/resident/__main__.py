"""`python -m lpd_core.resident KIND`: the process itself; `client` starts it."""

import argparse

from lpd_core.resident.operations import OPERATIONS
from lpd_core.resident.place import IDLE_SECONDS, Place
from lpd_core.resident.worker import serve
from lpd_core.store import Store

parser = argparse.ArgumentParser(prog="python -m lpd_core.resident", description=__doc__)
parser.add_argument("kind", choices=sorted(OPERATIONS))
parser.add_argument(
    "--idle", type=float, default=IDLE_SECONDS, help="leave after so many seconds without work"
)
given = parser.parse_args()
store = Store()
serve(Place(store.home, given.kind), OPERATIONS[given.kind](store), given.idle)
