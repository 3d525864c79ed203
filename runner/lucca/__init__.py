"""The Lucca wire without I/O: builds each request, reads each answer and error.

Owns every path, query, field name and status of the API, one function per step of the guides: `exports` and `reports`
are a guide each, `statuses` is what hosts say besides, `documents` how JSON is read. Must not know sockets, time, jobs
or the journal: what it reads becomes plain values or one of the four `troubles`. What the guides leave open is told
where it is decided, marked [inferred].
"""

from runner.lucca.documents import local_moment
from runner.lucca.exports import (
    LEAST_PAGE,
    LOOK_BACK,
    ExportIdentity,
    ListedExport,
    Unknown,
    export_content,
    export_identity,
    exports_after,
    latest_exports,
    read_export_identity,
    read_export_list,
    read_run_answer,
    run_export,
)
from runner.lucca.reports import (
    check_report_content,
    create_report,
    create_template,
    read_created_id,
    read_report_status,
    read_template_id,
    report_content,
    report_status,
)
from runner.lucca.statuses import (
    announcement,
    check_status,
    error_message,
    one_line,
    retry_after_seconds,
    server_date,
)
from runner.lucca.troubles import NotContentError, PassingError, RefusedError, ThrottledError, TroubleError
from runner.lucca.wire import Purpose, Request

__all__ = [
    "LEAST_PAGE",
    "LOOK_BACK",
    "ExportIdentity",
    "ListedExport",
    "NotContentError",
    "PassingError",
    "Purpose",
    "RefusedError",
    "Request",
    "ThrottledError",
    "TroubleError",
    "Unknown",
    "announcement",
    "check_report_content",
    "check_status",
    "create_report",
    "create_template",
    "error_message",
    "export_content",
    "export_identity",
    "exports_after",
    "latest_exports",
    "local_moment",
    "one_line",
    "read_created_id",
    "read_export_identity",
    "read_export_list",
    "read_report_status",
    "read_run_answer",
    "read_template_id",
    "report_content",
    "report_status",
    "retry_after_seconds",
    "run_export",
    "server_date",
]
