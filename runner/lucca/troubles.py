"""What an answer can be instead of what was asked for: one of four troubles, each with what follows from it."""


class TroubleError(Exception):
    """An answer that is not what was asked for. `detail` is safe to show."""

    def __init__(self, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class PassingError(TroubleError):
    """Will pass by itself: 408, 5xx, or an unknown fault. Wait and ask again."""


class ThrottledError(TroubleError):
    """429: too many requests; nothing was executed."""


class NotContentError(TroubleError):
    """An answer that is no content: HTML, a redirect, a wrong shape. Ask again a few times."""


class RefusedError(TroubleError):
    """A definite no. `code` is one of key_refused, forbidden, not_found, rejected."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
