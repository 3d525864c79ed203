"""Faults in what is kept: answers that are false or torn, files, the journal and its lock, what a crash leaves."""

from typing import Final

from tests.controls.model import Change, Control

_DISK: Final = "runner/output/disk.py"
_PLACE: Final = "runner/journal/place.py"
_SPOOL: Final = "runner/output/spool.py"
_FILES: Final = "runner/steps/files.py"
_STORE: Final = "runner/output/store.py"
_ANSWERS: Final = "runner/transport/answers.py"
_SENDING: Final = "runner/transport/sending.py"
_WRITER: Final = "runner/journal/writer.py"

_LIES: Final = (
    "tests/test_answers_that_lie.py::test_a_lie_for_ever_is_asked_again_five_times_and_ends_as_a_bad_answer"
)
_POWER: Final = (
    "tests/test_power_cuts.py::"
    "test_a_power_cut_between_any_two_effects_costs_nothing_that_was_said_to_be_there"
)

WHOLE: Final = (
    Control(
        "cut-body-accepted",
        "An answer shorter than its announced length, or without its last chunk, is taken for whole.",
        (
            Change(
                _ANSWERS,
                "ClientPayloadError:\n            raise",
                "ClientPayloadError:\n            return\n            raise",
            ),
        ),
        (
            "tests/test_transport.py::test_an_answer_that_is_not_whole_is_refused",
            f"{_LIES}[report.download, cut in the middle]",
        ),
    ),
    Control(
        "endless-report-accepted",
        "A report whose end cannot be told is taken for whole.",
        (Change(_FILES, "if not stream.length_known:", "if stream.status < 0:"),),
        (f"{_LIES}[report.download, cut where only the content tells]",),
    ),
    Control(
        "encoding-end-unchecked",
        "A compressed answer that was cut is taken for whole.",
        (Change(_ANSWERS, "            decoder.check_end()\n", ""),),
        ("tests/test_transport.py::test_a_gzip_cut_anywhere_is_noticed",),
    ),
    Control(
        "encoding-unknown-accepted",
        "An answer in an encoding that nobody can end is stored as it came.",
        (
            Change(
                "runner/encodings.py",
                'raise EncodingError("an encoding that nobody asked for")',
                "return _Identity()",
            ),
        ),
        ("tests/test_transport.py::test_an_answer_that_is_not_whole_is_refused",),
    ),
    Control(
        "encoding-asked-for",
        "Compressed answers are asked for.",
        (Change(_SENDING, '"Accept-Encoding: identity', '"Accept-Encoding: gzip'),),
        (
            "tests/test_transport.py::test_a_request_carries_the_key_the_tenants_host_and_asks_for_no_encoding",
        ),
    ),
    Control(
        "no-cap",
        "An answer may be a hundred times as large as it may.",
        (Change(_ANSWERS, "if total > cap_bytes:", "if total > 100 * cap_bytes:"),),
        ("tests/test_transport.py::test_an_answer_over_the_cap_is_dropped_there",),
    ),
    Control(
        "trickle-accepted",
        "An answer that comes a byte at a time is listened to for ever.",
        (Change(_ANSWERS, "if self._size_bytes < LEAST_RATE_BYTES_PER_SECOND", "if self._size_bytes < -1"),),
        ("tests/test_transport.py::test_a_body_that_comes_too_slowly_is_dropped",),
    ),
    Control(
        "page-as-report",
        "A login page is stored as a report.",
        (
            Change(
                "runner/lucca/reports.py",
                'if "text/html" in kind or (page and',
                'if kind == "?" and (page and',
            ),
        ),
        (f"{_LIES}[report.download, a login page]",),
    ),
    Control(
        "overwritten",
        "A file that stands in the way is overwritten.",
        (
            Change(
                _STORE,
                "self._disk.link(source, target, folder=folder)",
                "self._disk.rename(source, target, folder=folder)",
            ),
            Change(_STORE, 'if found == "other":', 'if found == "?":'),
            Change(_STORE, 'if found == "none":', 'if found != "same":'),
        ),
        (
            "tests/test_output.py::test_what_stands_in_the_way_is_neither_overwritten_nor_removed",
            "tests/test_output.py::test_a_file_that_appears_at_the_last_moment_is_not_overwritten",
            "tests/e2e/test_files.py::test_a_file_that_somebody_changed_is_told_and_not_overwritten",
        ),
    ),
    Control(
        "overwritten-at-the-last-moment",
        "A file that appears while ours is put in place is overwritten.",
        (
            Change(
                _STORE,
                "self._disk.link(source, target, folder=folder)",
                "self._disk.rename(source, target, folder=folder)",
            ),
        ),
        ("tests/test_output.py::test_a_file_that_appears_at_the_last_moment_is_not_overwritten",),
    ),
    Control(
        "file-not-flushed",
        "A file is put in place before its bytes are on disk.",
        (Change(_SPOOL, "self._disk.flush(self._fd)", "pass"),),
        (_POWER,),
    ),
    Control(
        "table-not-flushed",
        "A derived file is put in place before its bytes are on disk.",
        (Change(_SPOOL, "self._disk.flush(fd)", "pass"),),
        (_POWER,),
    ),
    Control(
        "name-not-flushed",
        "The journal says that a file is in place before its name is on disk.",
        (
            Change(
                _STORE,
                'flushing this folder to disk"):\n                    self._disk.flush_folder(folder)',
                'flushing this folder to disk"):\n                    pass',
            ),
        ),
        (_POWER,),
    ),
    Control(
        "page-not-flushed",
        "run.json is replaced before its bytes are on disk.",
        (
            Change(
                _STORE,
                "self._disk.flush(fd)\n                    finally",
                "pass\n                    finally",
            ),
        ),
        (_POWER,),
    ),
    Control(
        "placed-before-named",
        "A file is put in place before the journal knows its name and hash.",
        (
            Change(_FILES, "await tools.record(ev.Named(", "_named_later(job, ev.Named("),
            Change(
                _FILES,
                "    if result.missing:\n",
                "    if job.id in _LATER:\n"
                "        await tools.record(_LATER.pop(job.id))\n"
                "    if result.missing:\n",
            ),
            Change(
                _FILES,
                'R = TypeVar("R")\n',
                'R = TypeVar("R")\n'
                "_LATER = {}\n\n\n"
                "def _named_later(job, event):\n"
                "    _LATER[job.id] = event\n"
                "    return replace(job, files=(*job.files, *event.files))\n\n\n",
            ),
        ),
        ("tests/e2e/test_kill_matrix.py::test_a_night_killed_anywhere_is_ended_by_the_next_run[4]",),
    ),
    Control(
        "journal-not-flushed",
        "A change counts as stored before it is on disk.",
        (Change(_WRITER, '"PRAGMA synchronous = FULL" if', '"PRAGMA synchronous = NORMAL" if'),),
        (
            "tests/test_journal_writer.py::test_what_must_survive_a_power_cut_is_committed_where_sqlite_flushes_its_log",
        ),
    ),
    Control(
        "journal-opened-unflushed",
        "The journal is opened without flushing its transactions.",
        (
            Change(
                "runner/journal/database.py", '"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = NORMAL"'
            ),
        ),
        (
            "tests/test_journal_writer.py::test_what_must_survive_a_power_cut_is_committed_where_sqlite_flushes_its_log",
        ),
    ),
    Control(
        "record-need-process",
        "A change to a job is written like a mere note: not flushed.",
        (
            Change(
                "runner/journal/sqlite.py",
                "self._writer.store(changes, Need.POWER)",
                "self._writer.store(changes, Need.PROCESS)",
            ),
        ),
        ("tests/test_journal_writer.py::test_a_lone_call_waits_for_nobody",),
    ),
    Control(
        "no-lock",
        "The journal has no lock: two runners work at once.",
        (Change(_PLACE, "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_UN"),),
        (
            "tests/test_journal_lock.py::test_a_second_runner_is_refused_at_once_and_told_who_is_there",
            "tests/e2e/test_commands.py::test_of_two_runners_one_leaves_having_sent_nothing",
        ),
    ),
    Control(
        "stale-epoch-accepted",
        "A runner whose journal was taken over writes on.",
        (Change(_WRITER, "if epoch > self._epoch:", "if epoch < 0:"),),
        (
            "tests/test_journal_contract.py::test_once_the_journal_is_taken_its_old_holder_writes_nothing_at_all",
        ),
    ),
    Control(
        "newer-epoch-overwritten",
        "A job that a later runner wrote is written over.",
        (Change("runner/journal/queries.sql", "WHERE id = ?1 AND epoch <= ?2", "WHERE id = ?1"),),
        ("tests/test_journal_writer.py::test_one_that_fails_does_not_cost_the_others_of_its_batch",),
    ),
    Control(
        "share-accepted",
        "A journal on a network share, where locks may not hold, is used.",
        (Change(_PLACE, "if kind is not None:", 'if kind == "?":'),),
        ("tests/e2e/test_storage.py::test_a_journal_on_a_network_share_is_refused_before_anything_is_sent",),
    ),
    Control(
        "link-followed",
        "A folder that somebody replaced by a link is written through.",
        (Change(_DISK, "_FOLDER | os.O_NOFOLLOW", "_FOLDER"),),
        ("tests/test_output.py::test_a_folder_that_is_a_symbolic_link_is_refused",),
    ),
    Control(
        "readable-by-all",
        "Payroll files may be read by every user of the machine.",
        (Change(_DISK, "_FILE_MODE = 0o600", "_FILE_MODE = 0o644"),),
        (
            "tests/test_output.py::test_only_the_owner_may_read_even_under_an_open_umask",
            "tests/e2e/test_secrets.py::test_what_a_night_writes_is_for_its_owner_alone",
        ),
    ),
    Control(
        "cut-file-not-missed",
        "A file that was cut on disk counts as there.",
        (Change(_STORE, "and status.st_size == record.size_bytes", ""),),
        ("tests/test_output.py::test_what_is_not_on_disk_with_its_size_is_missing",),
    ),
    Control(
        "left-unsaid",
        "What a crash left in its place without saying so is not said by a run that is stopped at once.",
        (Change("runner/engine.py", " and (self._fatal is not None or not agenda.unplaced(job))", ""),),
        (
            (
                "tests/test_simulation_findings.py::"
                "test_a_file_that_a_crash_left_unsaid_is_told_even_by_a_run_that_is_stopped_at_once"
            ),
        ),
    ),
    Control(
        "leftovers-stay",
        "What a night that died left beside is cleaned only if that night is run again.",
        (Change("runner/app/nightly.py", "output.clean([died])", "output.clean([])"),),
        (
            (
                "tests/test_simulation_findings.py::"
                "test_what_a_crash_leaves_before_the_night_has_begun_is_cleaned_by_the_next_night"
            ),
        ),
        simulated=True,
    ),
    Control(
        "lost-beside-a-failure",
        "Files that were moved away with one that failed are not missed, and the night ends well without them.",
        (Change("runner/app/intake.py", "if r.placed and r.remote_id", "if not r.path and r.remote_id"),),
        ("tests/e2e/test_files.py::test_what_was_moved_away_with_a_changed_file_comes_again_with_it",),
    ),
    Control(
        "empty-export-passes",
        "An export without entries is no reason for anybody to look.",
        (
            Change(
                "runner/jobs/model.py",
                "Flag.DUPLICATE, Flag.EMPTY, Flag.DERIVED",
                "Flag.DUPLICATE, Flag.DERIVED",
            ),
        ),
        ("tests/test_summary_document.py::test_the_exit_code_is_the_first_that_holds",),
        simulated=True,
    ),
)
