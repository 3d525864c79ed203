"""The wire: what is asked is what the guides ask, and every answer, however odd, is read as one plain thing."""

import json
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import lucca
from runner.lucca import (
    ExportIdentity,
    ListedExport,
    NotContentError,
    PassingError,
    Purpose,
    RefusedError,
    ThrottledError,
    TroubleError,
    Unknown,
    check_report_content,
    check_status,
    error_message,
    local_moment,
    one_line,
    read_created_id,
    read_export_identity,
    read_export_list,
    read_report_status,
    read_run_answer,
    read_template_id,
    retry_after_seconds,
    server_date,
)

LOGIN_PAGE = b"  <!DOCTYPE html><html><body>Connexion</body></html>"
DEEP = b'{"data":' + b"[" * 100_000
STACKED = b'{"errors":' + b"[" * 900 + b'"x"' + b"]" * 900 + b"}"
NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"\xff\xfe{",
    b'{"data": "\xff"}',
    b'{"data": NaN}',
    b'{"data": 1e999}',
    LOGIN_PAGE,
    DEEP,
]
SENT = "Tue, 24 Nov 2026 01:00:00 GMT"


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def query_of(request: lucca.Request) -> dict[str, str]:
    """The query, each key standing once: unknown or doubled keys would be taken as filters."""
    pairs = parse_qsl(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_latest_exports_are_asked_for_newest_first_and_not_the_archived_ones() -> None:
    request = lucca.latest_exports(3)
    assert (request.method, urlsplit(request.target).path) == ("GET", "/api/v3/timmiexports")
    assert query_of(request) == {
        "configurationId": "3",
        "orderBy": "createdAt,desc,id,desc",
        "archivedAt": "null",
        "paging": "0,100",
        "fields": "id,createdat,endsAt",
    }
    assert (request.purpose, request.body) == (Purpose.ASK, None)


def test_an_export_is_triggered_for_midnight_without_a_zone() -> None:
    request = lucca.run_export(3, date(2026, 11, 23))
    assert (request.method, request.target) == ("POST", "/api/v3/timmiexports/run?fields=id")
    assert json.loads(request.body or b"") == {"endsAt": "2026-11-23T00:00:00", "configurationId": 3}
    assert request.purpose is Purpose.TRIGGER


def test_the_poll_asks_for_what_is_above_the_baseline_page_by_page_in_an_order() -> None:
    query = query_of(lucca.exports_after(3, 289, 100))
    assert query == {
        "configurationId": "3",
        "id": "greaterthan,289",
        "archivedAt": "null",
        "orderBy": "id,asc",
        "paging": "100,100",
        "fields": "id,createdat,endsAt",
    }
    assert query_of(lucca.exports_after(3, 0))["paging"] == "0,100"


@pytest.mark.parametrize(
    "doubled, path", [(False, "/api/v3/timmiexports/290"), (True, "/api/v3/api/v3/timmiexports/290")]
)
def test_an_export_is_asked_for_under_either_spelling_of_its_path(doubled: bool, path: str) -> None:
    light, whole = lucca.export_identity(290, doubled=doubled), lucca.export_content(290, doubled=doubled)
    assert urlsplit(light.target).path == urlsplit(whole.target).path == path
    assert query_of(light) == {"fields": "id,configurationId,endsAt"}
    assert light.purpose is Purpose.ASK
    assert query_of(whole)["fields"].startswith(
        "id,name,createdAt,configurationId,startsAt,endsAt,exportFiles,entries["
    )
    assert query_of(whole)["fields"].endswith("axisSections[id,name,code,axisId,active,startOn,endOn]]")
    assert whole.purpose is Purpose.DOWNLOAD


def test_a_template_is_sent_as_it_was_given() -> None:
    request = lucca.create_template(b'{"id": 0,  "name":"x"}')
    assert (request.method, request.target) == ("POST", "/timmi-timesheet/api/report-templates")
    assert request.body == b'{"id": 0,  "name":"x"}'


@pytest.mark.parametrize(
    "starts_on, ends_on, dates",
    [
        (date(2026, 11, 1), date(2026, 11, 30), ("2026-11-01", "2026-11-30")),
        (None, None, (None, None)),
    ],
)
def test_a_report_is_asked_for_with_its_dates_or_the_templates_own(
    starts_on: date | None, ends_on: date | None, dates: tuple[str | None, str | None]
) -> None:
    request = lucca.create_report(12, starts_on, ends_on)
    assert (request.method, request.target) == ("POST", "/timmi-timesheet/api/reports")
    assert json.loads(request.body or b"") == {"templateId": 12, "startsOn": dates[0], "endsOn": dates[1]}


def test_a_report_is_polled_and_downloaded_under_its_id() -> None:
    assert lucca.report_status(7) == lucca.Request("GET", "/timmi-timesheet/api/reports/7")
    for format_ in ("csv", "excel"):
        request = lucca.report_content(7, format_)
        assert request.target == f"/timmi-timesheet/api/reports/7/download-{format_}"
        assert request.purpose is Purpose.DOWNLOAD


# ── lists of exports ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "body, lines",
    [
        ({"data": {"items": []}}, ()),
        ({"data": []}, ()),
        (
            {"data": {"items": [{"id": 290, "createdAt": "2021-02-01T12:23:12Z"}]}},
            (ListedExport(290, None),),
        ),
        (
            {"DATA": {"Items": [{"ID": "290", "ENDSAT": "2026-11-23T00:00:00"}]}},
            (ListedExport(290, "2026-11-23T00:00:00"),),
        ),
        # The order is the server's, and an id that comes twice is one export.
        ({"data": [{"id": 9}, {"id": 3}, {"id": 9}]}, (ListedExport(9, None), ListedExport(3, None))),
        ({"data": [{"id": 9, "endsAt": None}]}, (ListedExport(9, None),)),
        ({"data": [{"id": 9, "endsAt": 20261123}]}, (ListedExport(9, None),)),
        (
            {"data": {"count": 1, "items": [{"id": 9, "more": {"id": "x"}}]}, "header": None},
            (ListedExport(9, None),),
        ),
    ],
)
def test_a_list_is_read_however_it_is_dressed(body: object, lines: tuple[ListedExport, ...]) -> None:
    assert read_export_list(encoded(body)) == lines


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": {"items": None}},
        {"data": {"items": {}}},
        {"data": "x"},
        {"data": [1]},
        {"data": [None]},
        {"data": [{}]},
        {"items": []},
        [],
        None,
        290,
    ],
)
def test_what_is_no_list_of_exports_is_no_empty_list_either(body: object) -> None:
    """An empty list means "trigger": nothing else may be taken for one."""
    with pytest.raises(NotContentError, match="another shape"):
        read_export_list(encoded(body))


@pytest.mark.parametrize(
    "id_",
    [None, True, False, 0, -1, 2**63, 1.0, 290.5, "", "-1", "x", "٣", "9" * 19, "1e3", [], {}],
    ids=repr,
)
def test_what_is_no_id_is_refused(id_: object) -> None:
    with pytest.raises(NotContentError, match="expected an id"):
        read_export_list(encoded({"data": [{"id": id_}]}))


def status_of(body: bytes) -> str:
    return read_report_status(body, 1)


@pytest.mark.parametrize("body", NOT_JSON)
def test_what_is_no_json_is_no_content(body: bytes) -> None:
    for read in (read_export_list, read_export_identity, read_created_id, status_of):
        with pytest.raises(NotContentError, match=r"not JSON|HTML page instead of JSON"):
            read(body)


def test_a_login_page_is_called_a_page() -> None:
    with pytest.raises(NotContentError, match="an HTML page instead of JSON"):
        read_export_list(LOGIN_PAGE)


@pytest.mark.parametrize(
    "written, read",
    [
        ("2026-11-23T00:00:00", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00:00Z", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00:00+01:00", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00:00.0000000", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00Z", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00+01:00", "2026-11-23T00:00:00"),
        ("2026-11-23 00:00:00", "2026-11-23T00:00:00"),
        ("20261123T000000.1234", "2026-11-23T00:00:00"),
        ("2026-11-23", "2026-11-23T00:00:00"),
    ],
)
def test_an_end_is_the_same_end_however_it_is_written(written: str, read: str) -> None:
    assert read_export_list(encoded({"data": [{"id": 9, "endsAt": written}]}))[0].ends_at == read


@pytest.mark.parametrize("written", ["", "soon", "2026-11-31T00:00:00", "2026-11-23T25:00:00", "23/11/2026"])
def test_an_end_that_is_no_date_is_not_told_by_the_list_and_no_content_of_an_export(written: str) -> None:
    assert read_export_list(encoded({"data": [{"id": 9, "endsAt": written}]}))[0].ends_at is None
    with pytest.raises(NotContentError, match="a date"):
        read_export_identity(encoded({"data": {"id": 9, "endsAt": written}}))


# ── one export ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "data, identity",
    [
        (
            {"id": 290, "configurationId": 3, "endsAt": "2026-11-23T00:00:00"},
            ExportIdentity(290, 3, "2026-11-23T00:00:00"),
        ),
        ({"Id": "290", "CONFIGURATIONID": "3"}, ExportIdentity(290, 3, None)),
        ({"id": 290, "configurationId": None, "endsAt": None}, ExportIdentity(290, None, None)),
    ],
)
def test_an_export_tells_whose_it_is(data: object, identity: ExportIdentity) -> None:
    assert read_export_identity(encoded({"data": data})) == identity


@pytest.mark.parametrize(
    "body", [{}, {"data": None}, {"data": []}, {"data": {}}, {"data": {"id": 1, "configurationId": "x"}}]
)
def test_what_tells_no_identity_is_no_export(body: object) -> None:
    with pytest.raises(NotContentError):
        read_export_identity(encoded(body))


# ── the answer to the trigger ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_an_answered_trigger_gives_the_id(status: int) -> None:
    assert read_run_answer(status, {}, encoded({"data": {"id": 290}})) == 290


@pytest.mark.parametrize(
    "body",
    [
        b"",
        LOGIN_PAGE,
        b"{}",
        b"null",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": {"id": 0}}',
        b'{"data": [290]}',
        DEEP,
    ],
)
def test_a_success_without_an_id_is_unknown(body: bytes) -> None:
    assert isinstance(read_run_answer(200, {}, body), Unknown)


@pytest.mark.parametrize(
    "status, body",
    [
        *(
            (status, b"")
            for status in (301, 302, 303, 304, 307, 308, 399, 408, 425, 500, 501, 502, 503, 504, 599)
        ),
        (302, LOGIN_PAGE),
        (500, b'{"Status": 500, "Message": "boom"}'),
        (503, LOGIN_PAGE),
        (400, b""),
        (400, b"   "),
        (400, b"{"),
        (400, LOGIN_PAGE),
        (400, b'{"Status": 400}'),
        (400, b'{"Status": 400, "Message": "  "}'),
        (409, b""),
        (100, b""),
    ],
)
def test_an_answer_that_leaves_it_open_means_poll(status: int, body: bytes) -> None:
    unknown = read_run_answer(status, {}, body)
    assert isinstance(unknown, Unknown)
    assert str(status) in unknown.why


@pytest.mark.parametrize(
    "status, body, code",
    [
        (401, b"", "key_refused"),
        (401, b'{"Status": 401, "Message": "Unauthorized"}', "key_refused"),
        (403, LOGIN_PAGE, "forbidden"),
        (404, b"", "not_found"),
        (410, b"", "not_found"),
        (400, b'{"Status": 400, "Message": "endsAt must be midnight"}', "rejected"),
        (400, b'"endsAt must be midnight"', "rejected"),
        (400, b'["endsAt must be midnight"]', "rejected"),
        (409, b'{"title": "Conflict"}', "rejected"),
        (422, b'{"errors": {"endsAt": ["must be midnight"]}}', "rejected"),
    ],
)
def test_an_answer_that_says_no_is_definite(status: int, body: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_run_answer(status, {}, body)
    assert caught.value.code == code
    assert caught.value.detail.startswith((f"{status}: ", f"status {status}"))


def test_a_throttled_trigger_was_not_executed() -> None:
    with pytest.raises(ThrottledError) as caught:
        read_run_answer(429, {"retry-after": "30"}, b"")
    assert caught.value.retry_after_seconds == 30


# ── statuses ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(100, 999), st.binary(max_size=40))
def test_every_status_means_one_thing(status: int, body: bytes) -> None:
    if 200 <= status < 300:
        check_status(status, {}, body)
        return
    with pytest.raises(TroubleError) as caught:
        check_status(status, {}, body)
    assert str(status) in caught.value.detail
    assert isinstance(caught.value, ThrottledError) == (status == 429)
    assert isinstance(caught.value, NotContentError) == (status < 400)
    assert isinstance(caught.value, PassingError) or status < 500


@pytest.mark.parametrize("status", [408, 425, 500, 503])
def test_passing_trouble_carries_how_long_the_host_wants_to_be_left_alone(status: int) -> None:
    with pytest.raises(PassingError) as caught:
        check_status(status, {"retry-after": "120"}, b"")
    assert caught.value.retry_after_seconds == 120


def test_a_redirect_is_told_and_one_to_the_login_page_by_name() -> None:
    with pytest.raises(NotContentError, match=r"a redirect$"):
        check_status(302, {"location": "/elsewhere"}, b"")
    with pytest.raises(NotContentError, match=r"a redirect to the login page$"):
        check_status(302, {"location": "https://acme.ilucca.net/Identity/Login?returnUrl=x"}, b"")


# ── words of the server ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "document, message",
    [
        ({"Status": 401, "Message": "Unauthorized"}, "Unauthorized"),
        (
            {"title": "Bad Request", "status": 400, "detail": "endsOn is missing"},
            "Bad Request; endsOn is missing",
        ),
        (
            {"title": "Invalid", "errors": {"templateId": ["unknown", "old"], "endsOn": "late"}},
            "Invalid; templateId: unknown; templateId: old; endsOn: late",
        ),
        ({"errors": [{"code": "X1", "text": "no"}]}, "code: X1; text: no"),
        ({"errors": [[[["deep enough"]]]]}, "deep enough"),
        ({"errors": [[[[["too deep"]]]]]}, ""),
        ({"errors": list("abcdefgh")}, "a; b; c; d; e"),
        ({"title": "same", "detail": "same"}, "same"),
        ({"MESSAGE": " spaced \r\n out "}, "spaced out"),
        ({"message": 12, "detail": None, "title": True}, ""),
        ({"status": 400}, ""),
        ("a bare string", "a bare string"),
        (["a", "list"], "a; list"),
        (12, ""),
        (None, ""),
    ],
)
def test_the_servers_reason_is_found_in_all_its_shapes(document: object, message: str) -> None:
    assert error_message(encoded(document)) == message


@pytest.mark.parametrize("body", NOT_JSON)
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    assert error_message(body) == ""


def test_a_bomb_of_brackets_says_nothing_and_harms_nothing() -> None:
    assert error_message(STACKED) == ""


@given(st.text(max_size=400))
def test_words_of_a_server_are_short_and_on_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 200
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)
    assert len(line.splitlines()) <= 1


def test_words_that_are_cut_say_so_and_none_is_written_backwards() -> None:
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 199 + "…"
    assert one_line("a\u202eb\u2066c\x1b[31m") == "a b c [31m"


# ── Retry-After and Date ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": " 30 "}, 30.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9" * 400}, 999_999_999_999.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 01:02:00 GMT", "date": SENT}, 120.0),
        ({"retry-after": "Tue, 24 Nov 2026 00:58:00 GMT", "date": SENT}, 0.0),
        ({"retry-after": "Tue, 24 Nov 2026 01:02:00 GMT"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 01:02:00 GMT", "date": "garbage"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2300", "date": SENT}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


@pytest.mark.parametrize(
    "text, moment",
    [
        (SENT, datetime(2026, 11, 24, 1, tzinfo=UTC)),
        ("Tue, 24 Nov 2026 02:00:00 +0100", datetime(2026, 11, 24, 1, tzinfo=UTC)),
        ("Tue, 24 Nov 2026 01:00:00 -0000", datetime(2026, 11, 24, 1, tzinfo=UTC)),
        ("", None),
        ("x", None),
        ("Tue, 24 Nov 2026 25:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +9999", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),  # nothing could be added to it
    ],
)
def test_the_hosts_own_time_is_read_in_utc_or_not_at_all(text: str, moment: datetime | None) -> None:
    found = server_date({"date": text})
    assert found == moment
    assert found is None or found.utcoffset() is not None


@given(st.text(max_size=60))
def test_no_header_however_odd_breaks_the_reading(text: str) -> None:
    retry_after_seconds({"retry-after": text, "date": text})


@pytest.mark.parametrize(
    "headers, said",
    [
        ({}, None),
        ({"date": SENT}, None),
        ({"deprecation": "true"}, "Deprecation: true"),
        ({"sunset": SENT, "deprecation": "@1", "x": "y"}, f"Deprecation: @1, Sunset: {SENT}"),
        ({"deprecation": "apr\udce8s \x1b[2J"}, "Deprecation: apr s [2J"),  # a byte that is no UTF-8
    ],
)
def test_an_announced_end_of_the_api_is_said_in_the_hosts_own_words(
    headers: dict[str, str], said: str | None
) -> None:
    assert lucca.announcement(headers) == said


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "body", [{"id": 1, "status": "pending"}, {"ID": "1"}, {"data": {"id": 1}}, {"data": None, "id": 1}]
)
def test_a_created_thing_tells_its_id(body: object) -> None:
    assert read_created_id(encoded(body)) == 1
    assert read_template_id(encoded(body)) == 1


@pytest.mark.parametrize("body", [b"17", b'"17"', b"\xef\xbb\xbf17\r\n"])
def test_a_created_template_may_tell_its_id_alone(body: bytes) -> None:
    """The guide only says that it "will be answered"."""
    assert read_template_id(body) == 17


@pytest.mark.parametrize("body", [{}, {"id": None}, {"data": {}}, [], 0, 10**19, 1.5, -1, "", True])
def test_a_created_thing_without_an_id_is_no_content(body: object) -> None:
    for read in (read_created_id, read_template_id):
        with pytest.raises(NotContentError):
            read(encoded(body))


@pytest.mark.parametrize(
    "body, status",
    [
        ({"id": 1, "status": "pending"}, "pending"),
        ({"id": 1, "Status": "Done"}, "done"),
        ({"data": {"status": "error"}}, "error"),
        ({"id": 1, "status": "queued"}, "pending"),
        ({"id": 1, "status": ""}, "pending"),
    ],
)
def test_a_report_tells_its_status(body: object, status: str) -> None:
    assert status_of(encoded(body)) == status


def test_a_report_may_leave_out_its_number_but_not_bear_anothers() -> None:
    for body in ({"id": 7, "status": "done"}, {"id": "7", "status": "done"}, {"status": "done"}):
        assert read_report_status(encoded(body), 7) == "done"
    with pytest.raises(NotContentError, match="another report"):
        read_report_status(encoded({"id": 8, "status": "done"}), 7)


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": 2}, {"status": ["done"]}])
def test_a_report_without_a_status_is_no_content(body: object) -> None:
    with pytest.raises(NotContentError, match="status"):
        status_of(encoded(body))


@pytest.mark.parametrize(
    "head, headers, format_",
    [
        (b"Nom;Heures\r\n", {"content-type": "application/octet-stream"}, "csv"),
        (b"\xef\xbb\xbfNom;Heures\r\n", {}, "csv"),
        (b"\xff\xfeN\x00o\x00m\x00", {}, "csv"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", {}, "excel"),
        (b"PK\x03\x04", {}, "excel"),
        (b"<?xml version='1.0'?><Workbook/>", {}, "excel"),
        (b"{name};Heures", {}, "csv"),
    ],
)
def test_a_report_file_is_taken_as_it_is(head: bytes, headers: dict[str, str], format_: str) -> None:
    check_report_content(head, len(head), headers, format_)


@pytest.mark.parametrize(
    "head, headers, format_, reason",
    [
        (b"", {}, "csv", "empty"),
        (LOGIN_PAGE, {}, "csv", "HTML"),
        (LOGIN_PAGE, {}, "excel", "HTML"),
        (b"\xef\xbb\xbf\r\n<html>", {}, "csv", "HTML"),
        (b"<?xml version='1.0'?><error/>", {}, "csv", "HTML"),
        (b"Nom;Heures", {"content-type": "text/html; charset=utf-8"}, "csv", "HTML"),
        (b'{"title": "gone"}', {}, "csv", "JSON"),
        (b'{ "title": "gone"}', {}, "excel", "JSON"),
        (b"{\r\n}", {}, "csv", "JSON"),
        (b"[]", {"content-type": "application/problem+json"}, "csv", "JSON"),
    ],
)
def test_a_page_or_an_error_is_no_report(
    head: bytes, headers: dict[str, str], format_: str, reason: str
) -> None:
    with pytest.raises(NotContentError, match=reason):
        check_report_content(head, len(head), headers, format_)


@pytest.mark.parametrize(
    "told, meant",
    [
        ("2026-11-23T00:00:00", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00:00Z", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00:00+01:00", "2026-11-23T00:00:00"),
        ("2026-11-22T23:00:00Z", "2026-11-23T00:00:00"),
        ("2026-07-05T22:00:00.000Z", "2026-07-06T00:00:00"),
        ("2026-11-23T05:00:00+00:00", "2026-11-23T00:00:00"),
        ("2026-11-22T23:00:00", "2026-11-22T23:00:00"),
        ("2026-11-22T23:00Z", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00+01:00", "2026-11-23T00:00:00"),
        ("2026-11-22T23:00:00+00", "2026-11-23T00:00:00"),
        ("2026-11-23", "2026-11-23T00:00:00"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59"),
    ],
)
def test_an_end_told_in_another_zone_is_the_nearest_midnight(told: str, meant: str) -> None:
    assert local_moment(told) == meant
