"""Faults that would let one client's trouble reach another, overspend a budget, or tell a key."""

from typing import Final

from tests.controls.model import Change, Control

_AGENDA: Final = "runner/jobs/agenda.py"
_ENGINE: Final = "runner/engine.py"
_MEMORY: Final = "runner/app/memory.py"
_NIGHTLY: Final = "runner/app/nightly.py"
_PACING: Final = "runner/pacing.py"
_LOGS: Final = "runner/app/logs.py"
_SENDING: Final = "runner/transport/sending.py"
_TURNS: Final = "runner/turns.py"
_ALONE: Final = (
    "tests/e2e/test_setting_aside.py::"
    "test_an_unfinished_job_that_left_the_manifest_waits_for_a_person_and_not_for_the_next_run"
)
_ANSWERED: Final = "        return Stream(message, content, connection, self._clock, self._limits)\n"
_GIVEN_UP: Final = (
    "tests/test_engine.py::"
    "test_a_report_that_cannot_be_had_in_its_time_makes_room_for_the_others_and_is_made_anew"
)
_TWICE: Final = (
    "tests/test_steps.py::"
    "test_a_content_that_nobody_may_use_is_made_twice_in_a_night_however_many_reports_share_it"
)

APART: Final = (
    Control(
        "limiter-off-by-one",
        "One request more than the budget leaves in a minute.",
        (Change(_PACING, "limit = self._limit - (", "limit = self._limit + 1 - ("),),
        (
            "tests/test_pacing.py::test_the_delay_is_exactly_what_the_record_asks_for",
            "tests/test_engine.py::test_the_budget_of_a_host_is_kept_however_many_tenants_share_it",
        ),
        simulated=True,
    ),
    Control(
        "budget-forgotten",
        "A restart begins with a whole budget, whatever was sent a moment ago.",
        (Change(_NIGHTLY, "spent=tuple(spent.get(tenant.domain, ()))", "spent=()"),),
        ("tests/e2e/test_files.py::test_a_budget_holds_over_restarts",),
        simulated=True,
    ),
    Control(
        "budget-per-tenant",
        "Tenants that share a host each have its whole budget.",
        (Change(_TURNS, "domain = self._domains.get(client.domain)", "domain = None"),),
        ("tests/test_engine.py::test_the_budget_of_a_host_is_kept_however_many_tenants_share_it",),
    ),
    Control(
        "report-in-trouble-stays-first",
        "A report whose POST is answered 500 each time keeps all others of its host waiting, every night.",
        (
            Change(
                _ENGINE,
                "            lane.append(id_)\n        else",
                "            lane.insert(0, id_)\n        else",
            ),
        ),
        (
            "tests/test_engine.py::test_a_report_that_is_in_trouble_for_ever_keeps_no_other_of_its_host_waiting",
        ),
    ),
    Control(
        "report-never-given-up",
        "A report that Lucca never manages to send keeps all others of its host waiting, every night.",
        (
            Change(
                _AGENDA,
                "    return elapsed is not None and elapsed >= policy.report_timeout_seconds\n",
                "    return elapsed is not None and elapsed < 0\n",
            ),
        ),
        (_GIVEN_UP,),
    ),
    Control(
        "template-for-each-refused",
        "Of a key that may use no template each report leaves one more with the client, every night.",
        (
            Change(
                _MEMORY,
                "if (domain, sha256, tenant) in self._forgotten:",
                "if len(self._forgotten) > 3:",
            ),
            Change(
                _MEMORY,
                "self._forgotten.add((domain, sha256, tenant))",
                "self._forgotten.add((domain, sha256, tenant + str(template_id)))",
            ),
        ),
        (_TWICE,),
    ),
    Control(
        "silent-repetition",
        "A GET that met a dead connection is sent again on the spot, outside of the budget.",
        (
            Change(
                _SENDING,
                '            raise _no_answer(sent, f"the connection broke',
                "            if request.body is None and sent.maybe:\n"
                "                return await self._open(domain, key, request, _Sent(int))\n"
                '            raise _no_answer(sent, f"the connection broke',
            ),
        ),
        ("tests/test_transport.py::test_a_stale_connection_gets_no_second_request_by_itself",),
    ),
    Control(
        "unasked-answer",
        "What a host said unasked on a kept connection is taken for the answer to whoever asks next.",
        (Change(_SENDING, "if protocol.should_close:", "if False:"),),
        ("tests/test_transport.py::test_what_nobody_asked_for_is_no_answer_to_whoever_asks_next",),
    ),
    Control(
        "goodbye-unread",
        "A trigger is written to a kept connection that the host closed, counts as sent, and costs an hour.",
        (Change(_SENDING, "_TURNS_TO_READ if triggers else 0", "0"),),
        ("tests/test_transport.py::test_a_trigger_is_not_written_where_a_goodbye_was_not_read",),
    ),
    Control(
        "disk-never-waited-for",
        "However slow the disk is, hosts are asked for more, and memory fills with what waits for it.",
        (Change("runner/steps/files.py", "async with output.room:", "if output.room:"),),
        ("tests/test_engine.py::test_a_slow_disk_costs_time_and_no_memory",),
    ),
    Control(
        "patience-ignored",
        "A host that asks for patience is asked again at once.",
        (Change(_ENGINE, "entry.tenant.domain.pause(entry.not_before)", "pass"),),
        (
            "tests/test_engine.py::test_a_host_that_asks_for_patience_is_left_alone_for_so_long_and_the_others_are_not[list-429]",
        ),
    ),
    Control(
        "hosts-in-turn-whatever-they-ask",
        "Hosts take turns whatever they ask for: with very many of them no look is followed by its trigger in time.",
        (
            Change(
                _TURNS,
                "self._queues[domain.asking[0][3]]",
                "self._patient",
            ),
        ),
        (
            (
                "tests/test_engine.py::"
                "test_however_many_hosts_wait_for_a_place_a_look_is_followed_by_its_trigger_before_it_is_too_old"
            ),
        ),
    ),
    Control(
        "asked-again-goes-first",
        "What is asked again after trouble goes before what others begin: an outage of some stops all.",
        (Change(_ENGINE, "LAST_RANK if troubled else None", "None"),),
        ("tests/test_engine.py::test_downloads_that_fail_all_night_leave_the_healthy_their_places",),
    ),
    Control(
        "place-held-for-a-job",
        "A job keeps its place among the requests in flight until it is done.",
        (
            Change(
                _ENGINE,
                "        if turn is not None:\n            turn.end()\n        for event",
                "        for event",
            ),
            Change(
                _ENGINE,
                "                else:\n                    if self.reason is None:\n",
                "                elif isinstance(action, Wait) and turn is not None:\n"
                "                    await self._clock.wait(action.until_boot_seconds - now.boot_seconds)\n"
                "                elif isinstance(action, Do) and turn is not None:\n"
                "                    await self._take(id_, action.step, turn)\n"
                "                else:\n                    if self.reason is None:\n",
            ),
        ),
        ("tests/test_engine.py::test_a_waiting_job_holds_no_place",),
    ),
    Control(
        "no-places",
        "More requests are in flight than allowed.",
        (Change(_TURNS, "self._running < self._limits.in_flight", "self._running >= 0"),),
        ("tests/test_engine.py::test_no_more_requests_are_in_flight_than_allowed_in_all_and_for_each_host",),
    ),
    Control(
        "slow-hosts-hold-all",
        "Hosts that hang may hold every place.",
        (Change(_TURNS, "if domain.name in self._slow and not", "if domain.name in () and not"),),
        ("tests/test_turns.py::test_slow_hosts_together_hold_half_of_the_places_and_the_others_the_rest",),
    ),
    Control(
        "one-fault-stops-all",
        "A fault of the program in one job ends the night of all.",
        (Change(_ENGINE, "except RunnerError as error:", "except Exception as error:"),),
        ("tests/test_engine.py::test_a_fault_of_ours_in_one_job_leaves_the_others_alone",),
    ),
    Control(
        "refused-key-shown-on",
        "After a 401 the tenant's other jobs go on showing the refused key.",
        (
            Change(
                _ENGINE,
                "if code is m.ErrorCode.KEY_REFUSED and",
                "if code is m.ErrorCode.SECRET and",
            ),
        ),
        (
            "tests/test_engine.py::test_a_refused_key_parks_its_tenant_after_two_requests_and_the_others_go_on",
        ),
    ),
    Control(
        "left-alone-and-gone-on-with",
        "A job that left the manifest is told as one that the next run goes on with.",
        (
            Change(
                "runner/summary/exitcode.py",
                "if any(id_ not in orphans for id_ in unfinished):",
                "if unfinished:",
            ),
        ),
        (_ALONE,),
    ),
    Control(
        "set-aside-while-at-work",
        "A job is set aside while Lucca may still be at work on its request, and what comes of it is missed.",
        (Change("runner/app/deciding.py", "and left > 0:", "and left < 0:"),),
        (_ALONE,),
    ),
    Control(
        "failure-exits-well",
        "A night with a failed job ends with 0.",
        (
            Change(
                "runner/summary/exitcode.py",
                "if problems or unfinished or any(job.needs_a_person for job in jobs):",
                "if problems:",
            ),
        ),
        ("tests/test_summary_document.py::test_the_exit_code_is_the_first_that_holds",),
        simulated=True,
    ),
    Control(
        "redirects-followed",
        "Redirects are followed, and the key with them to another host.",
        (
            Change(
                _SENDING,
                _ANSWERED,
                "        if 300 <= message.code < 400:\n"
                '            place = URL("http://a").join(URL(message.headers["Location"]))\n'
                "            self._gateway = str(place.origin())\n"
                f"            return await self._open(domain, key, request, sent)\n{_ANSWERED}",
            ),
        ),
        ("tests/test_transport.py::test_no_redirect_takes_the_key_to_another_host",),
    ),
    Control(
        "any-host-allowed",
        "A host that only begins like Lucca's gets the key.",
        (Change("runner/hosts.py", "if _LUCCA_HOST.fullmatch(domain):", "if _LUCCA_HOST.match(domain):"),),
        ("tests/test_manifest.py::test_a_host_that_is_not_luccas_is_refused",),
    ),
    Control(
        "certificates-unchecked",
        "Any certificate will do.",
        (
            Change(
                _SENDING,
                "aiohttp.TCPConnector(\n        limit=0,",
                "aiohttp.TCPConnector(\n        ssl=False,\n        limit=0,",
            ),
        ),
        ("tests/test_transport.py::test_by_itself_a_transport_trusts_only_the_systems_authorities",),
    ),
    Control(
        "proxy-of-the-environment",
        "Requests, and the keys in them, go through whatever proxy the environment names.",
        (
            Change(
                _SENDING,
                'aiohttp.ClientRequest("GET", URL(url), loop=loop)',
                'aiohttp.ClientRequest("GET", URL(url), loop=loop, '
                "proxy=aiohttp.helpers.get_env_proxy_for_url(URL(url))[0])",
            ),
        ),
        ("tests/test_transport.py::test_no_proxy_that_the_environment_names_sees_a_request",),
    ),
    Control(
        "cookies-kept",
        "A session made for one key is sent back with another key of the same host.",
        (
            Change(
                _SENDING,
                'f"{described}',
                "f\"{getattr(_bytes_of, 'cookie', '')}{described}",
            ),
            Change(
                _SENDING,
                _ANSWERED,
                '        kept = message.headers.get("Set-Cookie")\n'
                f'        setattr(_bytes_of, "cookie", f"Cookie: {{kept}}\\r\\n")\n{_ANSWERED}',
            ),
        ),
        ("tests/test_transport.py::test_a_cookie_is_never_sent_back",),
    ),
    Control(
        "echo-told",
        "A server that echoes the key gets it into the page and run.json.",
        (
            Change(
                _TURNS,
                "return text if self.key is None else",
                "return text if self.key is None or text else",
            ),
        ),
        (
            "tests/test_turns.py::test_no_echo_of_the_key_is_told",
            "tests/test_answers_that_lie.py::test_a_server_that_echoes_the_key_gets_it_into_no_file",
        ),
    ),
    Control(
        "damaged-page-believed",
        "A proxy's error page that is cut, or packed unasked, fails a job whose trouble would have passed by itself.",
        (
            Change(
                "runner/transport/answers.py",
                "if self.status < HTTPStatus.BAD_REQUEST:\n                raise",
                "raise",
            ),
        ),
        ("tests/test_transport.py::test_an_error_is_known_by_its_status_however_damaged_its_page_comes",),
    ),
    Control(
        "encoded-echo-told",
        "A server that echoes the key in base64, or escaped, gets it into the page and run.json.",
        (
            Change(
                "runner/credentials.py",
                "and self.stands_in(text.encode()) else text",
                "and not key else text",
            ),
        ),
        (
            "tests/test_turns.py::test_no_echo_of_the_key_is_told",
            "tests/test_answers_that_lie.py::test_a_server_that_echoes_the_key_gets_it_into_no_file",
        ),
    ),
    Control(
        "key-in-log",
        "The debug log tells each key that is fetched.",
        (
            Change(
                "runner/keys.py",
                "tenant.key = await tenant.client.key()\n",
                "tenant.key = await tenant.client.key()\n"
                '            _log.debug("key.fetched", key=tenant.key.reveal())\n',
            ),
        ),
        ("tests/e2e/test_files.py::test_no_key_is_anywhere_and_no_employee_where_none_belongs",),
    ),
    Control(
        "locals-in-tracebacks",
        "A traceback in the log shows the values of local variables, so keys.",
        (Change(_LOGS, "show_locals=False", "show_locals=True"),),
        ("tests/e2e/test_secrets.py::test_a_fault_of_ours_prints_where_it_was_and_no_value[json]",),
    ),
    Control(
        "locals-on-the-console",
        "A traceback on the console shows the values of local variables, so keys.",
        (
            Change(
                _LOGS,
                "plain = structlog.dev.plain_traceback",
                "plain = structlog.dev.RichTracebackFormatter(show_locals=True)",
            ),
        ),
        ("tests/e2e/test_secrets.py::test_a_fault_of_ours_prints_where_it_was_and_no_value[console]",),
    ),
    Control(
        "environment-for-the-keeper",
        "The command that gives one key sees the runner's environment, other keys included.",
        (
            Change(
                "runner/credentials.py",
                "env={name: environ[name] for name in _COMMAND_ENVIRONMENT if name in environ}",
                "env=dict(environ)",
            ),
        ),
        (
            "tests/test_credentials.py::test_a_key_comes_from_a_command_that_sees_a_clean_environment",
            "tests/e2e/test_secrets.py::test_no_other_process_sees_a_key_and_a_command_sees_nothing_of_the_runners",
        ),
    ),
    Control(
        "secret-shows-itself",
        "A key that is printed by mistake is printed.",
        (Change("runner/credentials.py", "return \"Secret('**********')\"", "return self._value"),),
        ("tests/test_credentials.py::test_a_secret_shows_itself_to_nobody",),
    ),
    Control(
        "page-runs-scripts",
        "Words of a server are markup on the morning page.",
        (Change("runner/summary/page.py", "autoescape=True", "autoescape=False"),),
        ("tests/test_summary_page.py::test_hostile_words_stay_words",),
    ),
)
