"""The command line. Every command has `--json`; user mistakes exit with 2, failed checks with 1, an
environment that gave way with 75; no traceback for a foreseeable error.
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
        fail(str(cause), EXIT_INTERRUPTED)
    except LpdError as cause:
        fail(str(cause), 1)
    except BrokenPipeError:
        os._exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        fail("out of memory; lower sampler.token_budget or sampler.workers", EXIT_INTERRUPTED)
    except OSError as cause:
        if cause.errno != errno.ENOSPC:
            raise
        fail("the disk is full: free some space and resume", EXIT_INTERRUPTED)
