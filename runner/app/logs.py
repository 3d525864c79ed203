"""The log's shape: structured events on stderr. Only `run` has any; the other verbs do not wait for its imports."""

import logging
import os
import sys
from typing import Any, TextIO

import structlog


def log_to_stderr(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Structured events on stderr: JSON lines, or columns for a terminal. Never with the values of local variables."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors += [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    else:
        plain = structlog.dev.plain_traceback
        colors = (stream or sys.stderr).isatty() and not os.environ.get("NO_COLOR")
        processors += [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries speak through `logging`. Their debug talk may hold headers, so only what is wrong is let through.
    logging.basicConfig(
        level=logging.WARNING, stream=stream or sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
