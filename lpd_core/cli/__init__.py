"""The command line. Every command has `--json`; user mistakes exit with 2, failed checks with 1, an
environment that gave way with 2 (75 in the hidden stage processes); no traceback for a foreseeable error.
"""

from __future__ import annotations

import os
import sys

from lpd_core.errors import EXIT_INTERRUPTED, DataError, Interrupted, LpdError, UserError, gave_way


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
    except Exception as cause:
        told = gave_way(cause)
        if told:
            fail(told, _interrupted())
        if isinstance(cause, OSError) and cause.filename is not None and not _is_at_work():
            fail(f"cannot use {cause.filename}: {cause.strerror}", 2)
        raise


def _interrupted() -> int:
    """A stage or driver tells its parent that a resume can go on; a person is told to mend something."""
    return EXIT_INTERRUPTED if _is_at_work() else 2


def _is_at_work() -> bool:
    """Whether this is a run's driver or one of its stages, whose traceback belongs into a log."""
    return sys.argv[1:2] in (["stage"], ["drive"])
