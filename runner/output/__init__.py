"""The output directory: the only place that writes below it (the journal apart).

A visible data file is whole. It is written beside its place under a name of ours, checked, flushed to disk, then put in
place without overwriting; what a crash leaves beside is removed by the next run. Must not know what a job is beyond its
file records, nor how bytes arrive. Nothing waits for the disk on the event loop: blocking work goes through `Offload`.

* `disk`: the primitive effects, the port where tests put faults and crashes
* `names`: every file name there is, and the checksum list
* `tree`: folders that are real folders, files beside their place, errors in words
* `spool`: one download on its way to disk
* `quarantine`: refused answers, kept for a person to look at
* `store`: `Output`, which prepares, cleans, places, verifies and publishes
"""

from runner.output.disk import Disk
from runner.output.names import sha256sums
from runner.output.quarantine import KEPT_BYTES, Quarantine
from runner.output.spool import Derivation, Part, Reader, Spool, Spooled, TooLargeError
from runner.output.store import ANSWERS_AT_THE_DISK, InTheWayError, Output, PlaceResult
from runner.output.tree import Offload, PlaceError

__all__ = [
    "ANSWERS_AT_THE_DISK",
    "KEPT_BYTES",
    "Derivation",
    "Disk",
    "InTheWayError",
    "Offload",
    "Output",
    "Part",
    "PlaceError",
    "PlaceResult",
    "Quarantine",
    "Reader",
    "Spool",
    "Spooled",
    "TooLargeError",
    "sha256sums",
]
