"""Keys: fetched a little before the requests that need them, a few side by side.

Owns which tenants wait for their key, and what waits with them for its turn. Must not know what a job is, nor where
keys are kept.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import anyio.lowlevel
import structlog
from anyio.abc import TaskGroup

from runner.credentials import CredentialError
from runner.turns import FIRST_RANK, Tenant, Turns

_log = structlog.get_logger("runner.keys")

KEYS_AT_A_TIME: Final = 8
HOSTS_AHEAD: Final = 64
"""While so many hosts wait for a place of what goes before polls, no further keys are fetched: requests go first. While
so many tenants wait for their keys, no further ones are looked at."""


class Keys:
    """Those that are still to be fetched. A few tasks fetch all, instead of one for each of thousands of tenants."""

    def __init__(
        self,
        turns: Turns,
        tasks: TaskGroup,
        missing: Callable[[Tenant, str], None],
        changed: Callable[[], None],
    ) -> None:
        """Nothing is fetched yet.

        Args:
            turns: where those go on whose key is there.
            tasks: where the fetching is done.
            missing: is told of each tenant whose key cannot be had, and why.
            changed: is called whenever there is more to fetch, or room to look at others.
        """
        self._turns = turns
        self._tasks = tasks
        self._missing = missing
        self._changed = changed
        self._keyless: deque[Tenant] = deque()
        self._fetching = 0
        self._log = _log.bind()

    @property
    def backlog(self) -> int:
        """How many tenants wait for a fetch to begin."""
        return len(self._keyless)

    def ask(self, tenant: Tenant, id_: int, priority: int) -> None:
        """Ask for a turn as soon as the tenant's key is there. Its keeper is asked once in a run."""
        tenant.waiting.append((id_, priority))
        if not tenant.key_asked:
            tenant.key_asked = True
            self._keyless.append(tenant)
            self._changed()

    def fetch(self) -> None:
        """Begin to fetch what requests can use."""
        if self._wanted():
            for _ in range(min(KEYS_AT_A_TIME - self._fetching, len(self._keyless))):
                self._fetching += 1
                self._tasks.start_soon(self._fetch_all)

    def _wanted(self) -> bool:
        return bool(self._keyless) and self._turns.backlog < HOSTS_AHEAD

    async def _fetch_all(self) -> None:
        while self._wanted():
            await self._fetch(self._keyless.popleft())
            await anyio.lowlevel.checkpoint()  # one that is at hand is fetched without any wait
        self._fetching -= 1

    async def _fetch(self, tenant: Tenant) -> None:
        try:
            tenant.key = await tenant.client.key()
        except CredentialError as error:
            self._missing(tenant, str(error))
        except Exception as error:  # noqa: BLE001 - a key ring may fail in any way; that is one tenant's trouble
            self._log.warning("key.failed", tenant=tenant.client.name, error=type(error).__name__)
            self._missing(tenant, f"its keeper failed with {type(error).__name__}")
        waiting, tenant.waiting = tenant.waiting, []
        if tenant.key is not None:
            for id_, priority in waiting:
                self._turns.ask(tenant, id_, priority, min(priority, FIRST_RANK))
        self._changed()
