"""Ids of Lucca: what counts as one, wherever it stands. Pure; knows no answer and no request."""

from typing import Final

_BELOW: Final = 2**63  # what a 64-bit column of the journal holds
_MOST_DIGITS: Final = len(str(_BELOW))


def id_in(value: object) -> int | None:
    """The id that a value of JSON is: a number from 1, or the digits of one; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _BELOW:
        return None
    return value
