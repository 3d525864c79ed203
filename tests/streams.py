"""A stream that tells when it was left: for whoever stands between the turns and the transport."""

from collections.abc import Callable

from runner.transport import Stream


class Followed(Stream):
    """Another stream, and what happens behind its end: `left` is told whether it was left in good order."""

    def __init__(self, stream: Stream, left: Callable[[bool], None]) -> None:
        vars(self).update(vars(stream))
        self._left = left

    async def __aexit__(self, kind: object = None, *rest: object) -> None:
        await super().__aexit__(kind, *rest)
        self._left(kind is None)
