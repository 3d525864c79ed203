"""What is told of a night: run.json (`document`), the morning page, words for a terminal (`story`), the exit code.

Plain values in, text out: nothing here stores, sends or reads a clock; its own templates are all that it loads.
"""

from runner.summary.document import BEGINNING_BYTES, document_pieces, encode, run_document, says_running
from runner.summary.exitcode import exit_code
from runner.summary.night import Night, Outcome, Problem, TenantInfo, counts, outcome
from runner.summary.page import page_pieces, verdict_line
from runner.summary.schema import run_schema
from runner.summary.story import StatusTable, status_table, story
from runner.summary.texts import LANGUAGES, Language

__all__ = [
    "BEGINNING_BYTES",
    "LANGUAGES",
    "Language",
    "Night",
    "Outcome",
    "Problem",
    "StatusTable",
    "TenantInfo",
    "counts",
    "document_pieces",
    "encode",
    "exit_code",
    "outcome",
    "page_pieces",
    "run_document",
    "run_schema",
    "says_running",
    "status_table",
    "story",
    "verdict_line",
]
