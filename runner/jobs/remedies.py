"""The words of a job's failure: what happened, for whom, and what to do next.

Owns the message of every error code, so that the same trouble reads the same wherever it is found. Details come from
the server only through `detail`, shortened and on one line by whoever read them.
"""

from collections.abc import Sequence

from runner.jobs.model import ErrorCode, ExportSpec, JobError, Spec

_WHAT: dict[ErrorCode, tuple[str, str]] = {
    ErrorCode.SECRET: (
        "the API key could not be read",
        "mend the api_key entry of this tenant, then run again",
    ),
    ErrorCode.KEY_REFUSED: (
        "Lucca refused the API key (401)",
        "ask the client for a valid key, put it where api_key points, then run again",
    ),
    ErrorCode.FORBIDDEN: (
        "the API key has no right to do this (403)",
        "have the key's role allowed to create Timesheet exports and reports, then run again",
    ),
    ErrorCode.NOT_FOUND: (
        "Lucca does not know what was asked for (404)",
        "check the domain and the configuration or template id in the manifest, then run again",
    ),
    ErrorCode.REJECTED: (
        "Lucca rejected the request",
        "read its words, mend the manifest or the settings in Lucca, then run again",
    ),
    ErrorCode.NO_EXPORT: (
        "no export appeared although every trigger was used",
        "look in Lucca whether it can be made by hand; every run looks for it; `runner retry` triggers again",
    ),
    ErrorCode.REPORT_ERROR: (
        "Lucca could not generate the report",
        "generate it once by hand in Lucca; if that fails too, write to Lucca's support; then `runner retry`",
    ),
    ErrorCode.SUPERSEDED: (
        "a later export of this configuration exists already, so this period is behind the ledger",
        "find its hours in the later export in Lucca; this job triggers nothing",
    ),
    ErrorCode.UNREACHABLE: (
        "the host cannot be reached safely",
        "check the domain in the manifest, and its certificate, then run again",
    ),
    ErrorCode.BAD_ANSWER: (
        "Lucca went on answering with something that is not the content",
        "open the tenant in a browser (maintenance, login page?); the next run asks again",
    ),
    ErrorCode.STORAGE: (
        "a file could not be put in its place",
        "see to the disk or to the file in the way, then run again",
    ),
}


def job_error(code: ErrorCode, spec: Spec, detail: str = "") -> JobError:
    """The error of this code for this job.

    Args:
        code: what went wrong.
        spec: the job that it happened to.
        detail: what else is known, without secrets, names or line breaks.
    """
    what, remedy = _WHAT[code]
    subject = f"{spec.tenant}/{spec.name} ({spec.domain})"
    if isinstance(spec, ExportSpec):
        subject += f", configuration {spec.configuration_id}, before {spec.ends_at.isoformat()}"
    detail = f" ({detail})" if detail else ""
    return JobError(code, f"{subject}: {what}{detail}. To do: {remedy}.")


def gone(spec: ExportSpec, export_id: int) -> JobError:
    """The error of an export that was downloaded once, whose file is lost, and which Lucca no longer has."""
    return JobError(
        ErrorCode.NOT_FOUND,
        f"{spec.tenant}/{spec.name} ({spec.domain}), before {spec.ends_at.isoformat()}: export {export_id} was "
        "downloaded once; its file is no longer there, and Lucca no longer has it (404). To do: look for a copy of the "
        f"file, and for who removed it; then `runner skip {spec.tenant}/{spec.name}`, or every run looks for it again.",
    )


def naming(error: JobError, export_ids: Sequence[int]) -> JobError:
    """The error that also names these: lists showed them, and the job failed before they told whose they are."""
    if not export_ids:
        return error
    ids = ", ".join(map(str, export_ids))
    return JobError(error.code, f"{error.message} Seen meanwhile, not known whose: {ids}.")
