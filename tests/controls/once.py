"""Faults that would have hours sent twice, lost, or taken for another's: the trigger, the hour, whose an export is."""

from typing import Final

from tests.controls.model import Change, Control

_AGENDA: Final = "runner/jobs/agenda.py"
_INTAKE: Final = "runner/app/intake.py"
_EXPORTS: Final = "runner/lucca/exports.py"
_FINDING: Final = "runner/jobs/finding.py"
_MACHINE: Final = "runner/jobs/machine.py"
_ASKING: Final = "runner/steps/asking.py"
_FILES: Final = "runner/steps/files.py"
_SENDING: Final = "runner/transport/sending.py"
_LIES: Final = (
    "tests/test_answers_that_lie.py::test_a_lie_for_ever_is_asked_again_five_times_and_ends_as_a_bad_answer"
)
_TIME: Final = "tests/test_time.py::test_a_clock_that_is_set_between_two_runs_does_not_shorten_the_hour"
_LATE_FIRST: Final = (
    "tests/test_steps.py::"
    "test_a_late_first_export_is_found_though_a_later_number_was_seen_before_the_second_trigger"
)

_JOBS: Final = "tests/test_jobs_exports.py::"
_STEPS: Final = "tests/test_steps.py::"
_FOUND: Final = "tests/test_simulation_findings.py::"
_OTHER: Final = "tests/test_other_lucca.py::"
_MENDED: Final = "tests/test_mended_manifests.py::"
_DONE_ONCE: Final = f"{_STEPS}test_an_export_that_was_downloaded_once_is_never_triggered_again_though_it_"

ONCE: Final = (
    Control(
        "post-before-intent",
        "The POST leaves before its intent is stored.",
        (
            Change(
                _ASKING,
                "job = await tools.record(ev.Triggered(_stamp(job, tools)))",
                "intent = ev.Triggered(_stamp(job, tools))",
            ),
            Change(
                _ASKING,
                "        answer = await turn_of(tools).send(request)\n    except NotSentError",
                "        try:\n"
                "            answer = await turn_of(tools).send(request)\n"
                "        finally:\n"
                "            job = await tools.record(intent)\n"
                "    except NotSentError",
            ),
        ),
        (
            "tests/test_engine.py::test_no_trigger_leaves_whose_intent_could_not_be_stored",
            "tests/e2e/test_kill_matrix.py::test_a_night_killed_anywhere_is_ended_by_the_next_run[0]",
        ),
        simulated=True,
    ),
    Control(
        "intent-not-awaited",
        "The intent is handed to the journal, and the POST does not wait for it to be on disk.",
        (
            Change(
                _ASKING,
                "job = await tools.record(ev.Triggered(_stamp(job, tools)))",
                "import asyncio\n"
                "    intent = asyncio.ensure_future(tools.record(ev.Triggered(_stamp(job, tools))))",
            ),
            Change(
                _ASKING,
                "        answer = await turn_of(tools).send(request)\n    except NotSentError",
                "        try:\n"
                "            answer = await turn_of(tools).send(request)\n"
                "        finally:\n"
                "            job = await intent\n"
                "    except NotSentError",
            ),
        ),
        ("tests/test_engine.py::test_no_trigger_leaves_whose_intent_could_not_be_stored",),
        simulated=True,
    ),
    Control(
        "lost-intent-forgotten",
        "An intent found after a crash counts as never sent.",
        (
            Change(_AGENDA, "Conclude(Resumed())", "Conclude(TriggerUnsent())"),
            Change(_AGENDA, "ReportTimedOut, Resumed", "ReportTimedOut, Resumed, TriggerUnsent"),
        ),
        ("tests/test_agenda.py::test_a_post_whose_answer_was_lost_counts_as_sent",),
        simulated=True,
    ),
    Control(
        "lost-post-unsent",
        "A POST whose connection broke counts as never executed.",
        (Change(_SENDING, "return LostError(detail) if sent.maybe else", "return"),),
        ("tests/test_transport.py::test_once_a_post_was_written_it_may_have_been_executed",),
        simulated=True,
    ),
    Control(
        "error-means-unsent",
        "A POST answered with 500 or 504 counts as never executed.",
        (
            Change(
                _EXPORTS, "return Unknown(trouble.detail)", "raise ThrottledError(trouble.detail) from None"
            ),
            Change(
                _EXPORTS,
                "import NotContentError, PassingError",
                "import NotContentError, PassingError, ThrottledError",
            ),
        ),
        ("tests/test_lucca.py::test_an_answer_that_leaves_it_open_means_poll",),
        simulated=True,
    ),
    Control(
        "retrigger-early",
        "An export is triggered again a minute before the hour is over.",
        (Change(_AGENDA, "- elapsed\n", "- elapsed - 60.0\n"),),
        ("tests/test_agenda.py::test_within_the_hour_it_is_never_triggered_again",),
        simulated=True,
    ),
    Control(
        "hour-from-intent",
        "The hour counts from the intent, not from when the POST was let go.",
        (
            Change(
                _MACHINE,
                "return replace(job, state=state, triggers=(*job.triggers[:-1], event.stamp))",
                "return replace(job, state=state)",
            ),
        ),
        ("tests/test_jobs_exports.py::test_the_hour_counts_from_when_the_post_was_let_go",),
    ),
    Control(
        "hour-by-wall-clock",
        "The hour is measured by the wall clock, which anybody can set.",
        (
            Change(
                _AGENDA,
                "return now.boot_seconds - last.boot_seconds",
                "return (now.wall - last.wall).total_seconds()",
            ),
        ),
        (
            "tests/test_agenda.py::test_within_one_boot_only_the_boot_clock_counts",
            f"{_TIME}[an hour forward-of one boot]",
        ),
        simulated=True,
    ),
    Control(
        "clock-set-back-ignored",
        "After a reboot, a wall clock that reads earlier than the trigger is taken at its word.",
        (Change(_AGENDA, "return elapsed if elapsed >= 0 else None", "return abs(elapsed)"),),
        ("tests/test_agenda.py::test_a_wall_clock_that_was_set_back_is_told_and_waits_for_a_person",),
    ),
    Control(
        "no-last-poll",
        "An export is triggered again without a last look whether it came meanwhile.",
        (
            Change(
                _AGENDA, "if polled < hour_up or now.boot_seconds - polled > FRESH_SECONDS:", "if polled < 0:"
            ),
        ),
        ("tests/test_agenda.py::test_once_the_hour_is_up_it_is_polled_once_more_then_triggered",),
        simulated=True,
    ),
    Control(
        "one-trigger-more",
        "An export is triggered once more often than allowed.",
        (Change(_AGENDA, "job.forgiven >= policy.max_triggers", "job.forgiven > policy.max_triggers"),),
        ("tests/test_agenda.py::test_after_the_last_trigger_the_hour_is_waited_once_more_and_then_it_fails",),
        simulated=True,
    ),
    Control(
        "baseline-refreshed",
        "The baseline is taken anew before a second trigger, so a late first export is never seen.",
        (
            Change(
                _MACHINE,
                "state=TRIGGERED if job.state is PENDING else RETRIED,\n",
                "state=TRIGGERED if job.state is PENDING else RETRIED,\n"
                "        baseline_id=max((job.baseline_id or 0, *job.live.known)),\n",
            ),
        ),
        (
            "tests/test_jobs_exports.py::test_the_baseline_is_never_refreshed",
            _LATE_FIRST,
        ),
    ),
    Control(
        "first-item-only",
        "Of a list of exports only the first line is looked at.",
        (Change(_EXPORTS, "for item in items:", "for item in items[:1]:"),),
        ("tests/test_lucca.py::test_a_list_is_read_however_it_is_dressed",),
        simulated=True,
    ),
    Control(
        "made-by-hand-ignored",
        "An export of the same end that exists already is not adopted but triggered a second time.",
        (Change(_FINDING, "    if ours:\n", "    if ours and job.triggers:\n"),),
        ("tests/test_jobs_exports.py::test_an_export_of_the_same_end_is_adopted_and_not_made_a_second_time",),
        simulated=True,
    ),
    Control(
        "behind-the-ledger",
        "An export is triggered although a later one has passed its period.",
        (Change(_FINDING, "    if later:\n", "    if later and job.triggers:\n"),),
        ("tests/test_jobs_exports.py::test_behind_a_later_end_nothing_is_triggered",),
        simulated=True,
    ),
    Control(
        "twin-dropped",
        "Of two exports that both arrived only the first is kept.",
        (
            Change(
                _FINDING,
                "state=DOWNLOADING, remote_ids=tuple(ours)",
                "state=DOWNLOADING, remote_ids=tuple(ours[:1])",
            ),
        ),
        ("tests/test_jobs_exports.py::test_two_exports_of_ours_are_both_kept_and_shown",),
        simulated=True,
    ),
    Control(
        "stranger-unnamed",
        "An export that appeared above the baseline is neither on disk nor named.",
        (
            Change(
                _FINDING,
                "{*job.foreign_ids, *(id_ for id_ in job.live.known if id_ > baseline)}",
                "{*job.foreign_ids}",
            ),
        ),
        ("tests/test_jobs_exports.py::test_any_other_end_is_foreign_and_the_job_goes_on",),
        simulated=True,
    ),
    Control(
        "another-export-taken",
        "The content of another export is taken for the one that was asked for.",
        (Change(_FILES, "if told.id != remote_id:", "if told.id < 0:"),),
        (f"{_LIES}[content, another export]",),
    ),
    Control(
        "another-end-taken",
        "An export of another end is kept as if it answered ours.",
        (Change(_FILES, "raise _NotOursError(", "_NotOursError("),),
        (
            "tests/test_answers_that_lie.py::test_a_list_and_a_content_that_differ_about_the_end_are_a_bad_answer",
        ),
    ),
    Control(
        "gone-and-asked-for-anew",
        "An export that was downloaded once, whose file was lost and which Lucca no longer has, is triggered again.",
        (
            Change(
                _FILES,
                "if remote_id not in job.live.known and not job.downloaded_before:",
                "if remote_id not in job.live.known:",
            ),
        ),
        (f"{_DONE_ONCE}is_gone_with_its_file",),
        simulated=True,
    ),
    Control(
        "other-end-asked-for-anew",
        "A downloaded export is given up for another end that its content tells now, and triggered again.",
        (Change(_FILES, "== wanted or job.downloaded_before:", "== wanted:"),),
        (f"{_DONE_ONCE}tells_another_end_now",),
    ),
    Control(
        "archived-is-waited-for",
        "An adopted export that was archived before its download fails every night, and keeps its twin back.",
        (
            Change(
                _FILES,
                "if remote_id not in job.live.known and not",
                "if job.triggers and remote_id not in job.live.known and not",
            ),
        ),
        (
            f"{_STEPS}test_an_adopted_export_that_staff_replaced_before_it_was_downloaded_stands_in_nobodys_way",
            "tests/test_steps.py::test_of_two_exports_the_one_that_staff_archived_does_not_keep_back_the_other",
        ),
        simulated=True,
    ),
    Control(
        "shown-and-gone-unnamed",
        "An export that a list showed, and that is gone before its download, is neither on disk nor named.",
        (Change(_FILES, "exists=shown)", "exists=False)"),),
        (
            f"{_STEPS}test_an_export_that_a_list_showed_and_that_is_gone_is_named_though_another_takes_its_place",
        ),
    ),
    Control(
        "known-page-is-the-last",
        "A page of a list that holds nothing new is taken for the last: behind a hundred strangers ours is not found.",
        (
            Change(
                _ASKING,
                "or not items or again\n",
                "or all(item.id in job.live.known for item in items)\n",
            ),
        ),
        ("tests/test_steps.py::test_behind_hundreds_of_strangers_ours_is_found_by_every_poll",),
        simulated=True,
    ),
    Control(
        "unread-is-a-strangers",
        "An export that a list shows before it can be read is a stranger's for the rest of the run.",
        (
            Change(_FINDING, "again = job.state is POLLING and", "again = job.state is PENDING and"),
            Change(_AGENDA, "    if doubtful(job):\n", "    if doubtful(job) and job.finished:\n"),
        ),
        (f"{_STEPS}test_an_export_that_the_list_shows_before_it_can_be_read_is_not_asked_for_a_second_time",),
        simulated=True,
    ),
    Control(
        "unread-not-asked-at-last",
        "Before an export is asked for again, what could not be read is not asked once more whose it is.",
        (Change(_AGENDA, "    if doubtful(job):\n", "    if doubtful(job) and job.finished:\n"),),
        (
            f"{_STEPS}test_where_polls_are_few_what_could_not_be_read_is_asked_once_more_before_another_is_asked_for",
        ),
        simulated=True,
    ),
    Control(
        "unread-at-first-is-nobodys",
        "What a bare list shows and cannot be read at the first look is nobody's, and the same hours are asked for.",
        (Change(_AGENDA, "if not doubtful(job):", "if not doubtful(job) or job.live.known:"),),
        (
            f"{_STEPS}test_an_export_made_by_hand_that_cannot_be_read_at_the_first_look_is_adopted_all_the_same",
        ),
    ),
    Control(
        "unread-asked-by-every-poll",
        "What never tells its end is asked by every poll, so that a small budget never triggers again.",
        (Change(_FINDING, "polls % ASKED_AGAIN_BY_EVERY == 0", "polls >= 0"),),
        (
            f"{_JOBS}test_an_export_that_did_not_tell_its_end_is_asked_again_by_every_tenth_poll_that_shows_it",
        ),
    ),
    Control(
        "empty-is-believed",
        "An empty answer is believed, though staff exported the hours between our look and our POST.",
        (Change(_MACHINE, "if empty and not job.live.polls:", "if empty and job.live.polls:"),),
        ("tests/test_steps.py::test_hours_that_staff_exported_between_our_look_and_our_post_are_not_lost",),
        simulated=True,
    ),
    Control(
        "earlier-night-forgotten",
        "A job that an earlier night left unfinished is not taken up.",
        (Change(_INTAKE, "            *unfinished,\n", ""),),
        ("tests/e2e/test_files.py::test_older_dates_of_a_configuration_go_first",),
        simulated=True,
    ),
    Control(
        "newest-date-first",
        "Of two dates of one configuration the newer is triggered first, and swallows the older one's hours.",
        (Change(_AGENDA, "not in_flight, day, job.id", "not in_flight, -day.toordinal(), job.id"),),
        ("tests/test_engine.py::test_older_dates_of_a_configuration_go_first_and_one_at_a_time",),
    ),
    Control(
        "report-mutex-gone",
        "Two reports of one host are made at a time, and the second deletes the first.",
        (
            Change(
                "runner/jobs/model.py",
                'return self.domain, "report"',
                'return self.domain, f"report/{self.name}"',
            ),
        ),
        (
            "tests/test_jobs_reports.py::test_all_reports_of_a_domain_take_turns",
            "tests/test_engine.py::test_reports_of_a_host_go_one_at_a_time_from_the_post_to_the_last_byte",
        ),
        simulated=True,
    ),
    Control(
        "unselected-lane-forgotten",
        "A later date that is selected is asked for while an older one, which is not, may be on its way.",
        (
            Change(
                "runner/app/nightly.py",
                "engine.add(intake.taken, intake.underway)",
                "engine.add(intake.taken)",
            ),
        ),
        (f"{_FOUND}test_an_export_that_is_not_selected_keeps_its_lane_while_lucca_may_be_working_on_it",),
    ),
    Control(
        "since-for-new-jobs-alone",
        "What an earlier run had stored is triggered though `since` was moved behind it.",
        (Change("runner/plan.py", "and (begun or _is_ours(tenant, spec))", "and (begun or bool(tenant))"),),
        (
            "tests/test_plan.py::test_a_since_that_was_moved_holds_for_what_was_not_begun",
            f"{_OTHER}test_a_since_that_was_moved_keeps_an_earlier_run_s_export_from_being_asked_for",
        ),
    ),
    Control(
        "mended-end-for-new-jobs-alone",
        "What an earlier run had stored is triggered though its `ends_at` was mended since.",
        (
            Change(
                "runner/plan.py",
                "return any(e.ends_at.latest(spec.due) == spec.ends_at for e in _exports_like(tenant, spec))",
                "return bool(_exports_like(tenant, spec))",
            ),
        ),
        (f"{_OTHER}test_an_end_that_was_mended_keeps_an_earlier_run_s_export_from_being_asked_for",),
    ),
    Control(
        "broken-twin-first",
        "Of two exports that answer a job one that cannot be had keeps the other from the disk.",
        (Change(_FILES, "if all(other in job.live.put_off for other, _ in others):", "if True:"),),
        (f"{_STEPS}test_of_several_exports_one_that_cannot_be_had_keeps_no_other_from_the_disk",),
    ),
    Control(
        "hours-gone-with-a-stranger",
        "An export of another end that took our hours just before our POST is seen and not named.",
        (
            Change(
                _FINDING,
                "in_time = job.state in (PENDING, POLLING) or job.unlisted",
                "in_time = job.state in (PENDING, POLLING)",
            ),
        ),
        (f"{_STEPS}test_an_export_of_another_end_that_took_our_hours_just_before_our_post_is_named",),
    ),
    Control(
        "trigger-beside-an-unreadable-export",
        "An export that came and cannot be read is asked for a second time: it may have been ours.",
        (Change(_ASKING, " or job.live.doubted or of_the_host", " or of_the_host"),),
        (f"{_STEPS}test_nothing_is_triggered_again_while_an_export_that_came_cannot_be_read",),
    ),
    Control(
        "old-template",
        "A report is asked for again from the template that the manifest had before.",
        (
            Change(
                _AGENDA,
                "isinstance(spec.template, TemplateBody) and not job.live.templated",
                "isinstance(spec.template, TemplateBody) and job.template_id is None",
            ),
        ),
        (f"{_MENDED}test_a_report_is_asked_for_again_from_the_template_that_the_manifest_has_now",),
    ),
    Control(
        "amounts-as-floats",
        "Amounts pass through a float on their way into the table.",
        (
            Change(
                "runner/derived.py",
                "msgspec.Raw(literal.encode())",
                "msgspec.Raw(str(float(literal)).encode())",
            ),
        ),
        ("tests/test_derived.py::test_awkward_amounts_are_literal",),
    ),
)
