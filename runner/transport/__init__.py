"""The only outbound socket: sends one request of the Lucca wire to its host and gives back the answer.

Owns aiohttp, time-outs, the least rate, and the question that decides about somebody's pay: may the bytes have left?
Must not know jobs, the journal or what an answer means.

* `answers`: what came of a request, and a body that is still to be read
* `sending`: connections, what leaves through them, and since when it may have left
"""

from runner.transport.answers import (
    ANSWER_CAP_BYTES,
    CONTENT_CAP_BYTES,
    Answer,
    BrokenAnswerError,
    LostError,
    NotSentError,
    Stream,
    TransportError,
    UnreachableError,
)
from runner.transport.sending import Timeouts, Transport

__all__ = [
    "ANSWER_CAP_BYTES",
    "CONTENT_CAP_BYTES",
    "Answer",
    "BrokenAnswerError",
    "LostError",
    "NotSentError",
    "Stream",
    "Timeouts",
    "Transport",
    "TransportError",
    "UnreachableError",
]
