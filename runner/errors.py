"""The error tree. Owns every exception that a user may meet; knows nothing of the rest of the program.

    RunnerError                 1   something we did not foresee
    ├── UsageError              2   flags, settings or the manifest; nothing was sent
    │   └── ManifestError       2   one or more faults, each with its place
    ├── LockHeldError           5   another runner holds this journal; nothing was sent
    ├── StorageError            6   the output or the journal could not be written or read
    └── InterruptedEarlyError 130   a SIGINT while there was no night under way yet, or in another verb
        └── TerminatedEarlyError 143   the same of SIGTERM, and of SIGHUP

Each class knows its exit code. What can go wrong with one job is not an exception but a `jobs.JobError` value in
the journal: a job's failure never travels up the stack, so it cannot stop another tenant.
"""

from collections.abc import Sequence


class RunnerError(Exception):
    """Something went wrong that stops the whole command."""

    exit_code = 1
    code = "internal"


class UsageError(RunnerError):
    """The command line, a setting or the manifest is wrong. Nothing was sent."""

    exit_code = 2
    code = "usage"


class ManifestError(UsageError):
    """The manifest cannot be used. `faults` holds one line per fault, each with its place."""

    code = "manifest"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class LockHeldError(RunnerError):
    """Another runner holds this journal. Nothing was sent."""

    exit_code = 5
    code = "locked"


class StorageError(RunnerError):
    """The output or the journal could not be written or read."""

    exit_code = 6
    code = "storage"


class InterruptedEarlyError(RunnerError):
    """A SIGINT came while no night was under way that could end consistently by itself."""

    exit_code = 130
    code = "interrupted"


class TerminatedEarlyError(InterruptedEarlyError):
    """The same of SIGTERM, and of SIGHUP."""

    exit_code = 143
