"""How many files and connections this process may have open. Owns the limit; must not know what they are for."""

import resource
from contextlib import suppress
from typing import Final

FILES_PER_REQUEST: Final = 4
"""A connection, the file that takes its answer, and the folders on the way there."""
SPARE_FILES: Final = 128
"""For the journal, the pages, and what the libraries open."""


def make_room(*, hosts: int, in_flight: int, per_host: int) -> bool:
    """Let this process open as many files as a night needs, if the system allows it.

    An idle connection is a file too: with hundreds of hosts more of them than the usual limit of 1024.

    Args:
        hosts: how many are talked to.
        in_flight: requests at a time, all together.
        per_host: the same, of one host.

    Returns:
        Whether there is room to keep the connections of every host open between two requests.
    """
    wanted = SPARE_FILES + FILES_PER_REQUEST * in_flight + per_host * hosts
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # some systems have another limit behind the one they tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return soft == resource.RLIM_INFINITY or soft >= wanted
