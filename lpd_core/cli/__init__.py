"""The command line. Every command has `--json`; user mistakes exit with 2, failed checks with 1, an
environment that gave way with 2 (75 in the hidden stage processes); no traceback for a foreseeable error.
"""

from __future__ import annotations

import errno
import os
import sys

from lpd_core.errors import DataError, Interrupted, LpdError, UserError

EXIT_INTERRUPTED = 75


def main() -> None:
    """Run the command line and exit with its code."""
    from lpd_core.cli.app import app
    from lpd_core.cli.output import fail

    try:
        app()
    except UserError as cause:
        fail(str(cause), 2, cause.problems if isinstance(cause, DataError) else ())
    except Interrupted as cause:
        fail(str(cause), _interrupted())
    except LpdError as cause:
        fail(str(cause), 1)
    except BrokenPipeError:
        os._exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        fail("out of memory; lower sampler.token_budget or sampler.workers", _interrupted())
    except OSError as cause:
        if cause.errno != errno.ENOSPC:
            raise
        fail("the disk is full: free some space and try again", _interrupted())


def _interrupted() -> int:
    """A stage or driver tells its parent that a resume can go on; a person is told to mend something."""
    return EXIT_INTERRUPTED if sys.argv[1:2] in (["stage"], ["drive"]) else 2
