"""The exit code: what a scheduler learns of a run. Owns its precedence; knows no words for people."""

from collections.abc import Container, Sequence
from typing import Final

from runner.jobs.model import Job
from runner.summary.night import Problem

OK: Final = 0
INTERNAL: Final = 1
NEEDS_A_PERSON: Final = 3
UNFINISHED: Final = 4
LOCKED: Final = 5
STORAGE: Final = 6
SIGINT: Final = 130
SIGTERM: Final = 143

PRECEDENCE: Final = (SIGINT, SIGTERM, INTERNAL, LOCKED, STORAGE, UNFINISHED, NEEDS_A_PERSON)
"""Of several, the first. What stops a command before its night begins (2, 5) is told by its error, see `errors`."""

_OF_REASON: Final = {
    "SIGINT": SIGINT,
    "SIGTERM": SIGTERM,
    "SIGHUP": SIGTERM,  # a closed terminal or a lost connection ends a night as a system does
    "internal": INTERNAL,
    "locked": LOCKED,
    "stale": LOCKED,
    "storage": STORAGE,
    "deadline": OK,  # what it left unfinished is counted by itself
}


def exit_code(
    *,
    jobs: Sequence[Job] = (),
    orphans: Container[int] = (),
    problems: Sequence[Problem] = (),
    reason: str | None = None,
) -> int:
    """The code to exit with.

    Args:
        jobs: the selected jobs, as they stand at the end.
        orphans: the numbers of those that no run goes on with by itself: one that is unfinished waits for a person.
        problems: faults of the manifest, those of the selected tenants.
        reason: why the run stopped early, as in `Night.reason`.
    """
    found = {_OF_REASON.get(reason, OK) if reason else OK}
    unfinished = [job.id for job in jobs if not job.finished]
    if any(id_ not in orphans for id_ in unfinished):
        found.add(UNFINISHED)
    if problems or unfinished or any(job.needs_a_person for job in jobs):
        found.add(NEEDS_A_PERSON)
    return next((code for code in PRECEDENCE if code in found), OK)
