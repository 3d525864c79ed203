"""One night of the real command against hosts that lie, each in its own way, on raw sockets.

A row names a lie and what must become of its tenant. Nothing false is ever stored as content; an error tells its
tenant, what happened and what to do; what was refused lies in the quarantine; no lie is answered with a second POST;
and no row costs another anything: all of them share the night.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

import pytest
from anyio.from_thread import start_blocking_portal

from tests.e2e.bureau import NIGHT, Bureau, Result
from tests.e2e.liars import CONTENT, CSV, OURS, Asked, Liars, Lies
from tests.scripted import Say, answer, chunked, for_ever, head, scripted, slowly, then_close, then_reset

FOLDER: Final = ".runner/quarantine"
KEY: Final = "7f0c2b9a-made-up-for-these-liars"
TRIES: Final = 6
UNTIL_SECONDS: Final = 30.0
"""Six tries of a bad answer take sixteen."""

PAGE = b"<!DOCTYPE html><html><body><form action='/identity/login'>Connexion</form></body></html>"
ENCODED = "Content-Encoding: gzip"
GZIPPED = gzip.compress(CONTENT, mtime=0)
HALF = CONTENT[: len(CONTENT) // 2]
TEXT = CONTENT.decode()


@dataclass(frozen=True, slots=True)
class Row:
    """A host that lies.

    Attributes:
        lies: how.
        ends: what must become of its job: bad_answer, unfinished or downloaded.
        posts: how many POSTs it may get.
        kept: whether something of its answer can be shown.
    """

    lies: Lies
    ends: str = "bad_answer"
    posts: int = 1
    kept: bool = True


def content(*says: Say | None, ends: str = "bad_answer", kept: bool = True) -> Row:
    return Row({"content": says}, ends, kept=kept)


def listed(*says: Say | None, ends: str = "bad_answer", posts: int = 0, kept: bool = True) -> Row:
    return Row({"list": says}, ends, posts, kept)


def items(*lines: object) -> bytes:
    return answer(json.dumps({"data": {"items": lines}}).encode())


def cut(body: bytes) -> dict[str, Say]:
    """An answer that is not all of this, told as it can be told."""
    half, gzipped = body[: len(body) // 2], gzip.compress(body, mtime=0)
    return {
        "cut, with a length": then_close(answer(half, length=len(body))),
        "cut by one byte, with a length": then_close(answer(body[:-1], length=len(body))),
        "cut, in chunks": then_close(chunked(half, end=b"")),
        "cut within a chunk": then_close(chunked(body, end=b"")[:-9]),
        "cut gzip, with a right length": answer(gzipped[:-9], ENCODED),
        "cut gzip, its sum alone": answer(gzipped[:-1], ENCODED),
        "cut gzip, in whole chunks": chunked(gzipped[:-20], headers=(ENCODED,)),
        "cut gzip, closed": then_close(head(ENCODED) + gzipped[:-20]),
        "cut deflate": answer(zlib.compress(body)[:-5], "Content-Encoding: deflate"),
        "cut, closed": then_close(head() + half),
        "cut by one byte, closed": then_close(head("Connection: close") + body[:-1]),
        "cut by a reset": then_reset(head(f"Content-Length: {len(body)}") + half),
    }


CUT: Mapping[str, Say] = cut(CONTENT) | {
    "cut where the last chunk belongs": then_close(chunked(CONTENT[:-1], end=b"0\r\n")),
    "cut, with a right length": answer(HALF),
}
NO_CONTENT: Mapping[str, Say] = {
    "HTML with 200": answer(PAGE, "Content-Type: text/html"),
    "HTML with 200, labelled JSON": answer(PAGE, "Content-Type: application/json"),
    "HTML in two-byte letters": answer(PAGE.decode().encode("utf-16")),
    "a list": answer(b'{"data": {"items": []}}'),
    "a bare list": answer(b"[]"),
    "null": answer(b"null"),
    "a number": answer(b"341"),
    "an empty object": answer(b"{}"),
    "data that is null": answer(b'{"data": null}'),
    "an error labelled success": answer(b'{"Status": 500, "Message": "Oops"}'),
    "no entries": answer(b'{"data": {"id": 341}}'),
    "entries that are null": answer(b'{"data": {"id": 341, "entries": null}}'),
    "entries that are an object": answer(b'{"data": {"id": 341, "entries": {}}}'),
    "entries twice": answer(b'{"data": {"id": 341, "entries": [], "entries": [1]}}'),
    "another export": answer(TEXT.replace("341", "342").encode()),
    "an id of letters": answer(TEXT.replace("341", '"abc"').encode()),
    "an id with a fraction": answer(TEXT.replace("341", "341.5").encode()),
    "an id below nought": answer(TEXT.replace("341", "-341").encode()),
    "an id beyond all numbers": answer(TEXT.replace("341", "9" * 40).encode()),
    "an amount that is NaN": answer(TEXT.replace("7.25", "NaN").encode()),
    "an amount without end": answer(TEXT.replace("7.25", "-Infinity").encode()),
    "100,000 levels": answer(b"[" * 100_000),
    "100,000 levels, all closed": answer(b"[" * 100_000 + b"]" * 100_000),
    "100,000 levels of objects": answer(b'{"data":' * 100_000 + b"1" + b"}" * 100_000),
    "100,000 levels among the entries": answer(TEXT.replace("7.25", "[" * 100_000 + "]" * 100_000).encode()),
    "letters that are none": answer(CONTENT.replace("ç".encode(), b"\xe7")),
    "two answers in one": answer(CONTENT + CONTENT),
    "a part, said to be one": answer(CONTENT, status="206 Partial Content"),
    "something to come": answer(CONTENT, status="202 Accepted"),
    "a bomb of gzip": answer(gzip.compress(bytes(20_000_000), mtime=0), ENCODED),
    "gzip that is none, behind gzip": answer(GZIPPED + CONTENT, ENCODED),
}
NOTHING_TO_SHOW: Mapping[str, Say] = {
    "nothing": answer(b""),
    "no content, said aloud": head(status="204 No Content"),
    "brotli": answer(CONTENT, "Content-Encoding: br"),
    "gzip that is none": answer(CONTENT, ENCODED),
    "two lengths": then_close(head("Content-Length: 3", "Content-Length: 4") + b"abcd"),
    "not HTTP": then_close(b"220 mail.example.com ESMTP\r\n"),
    "headers without end": for_ever(head()[:-2], b"X-More: of this\r\n"),
    "one header without end": for_ever(head()[:-2] + b"X-More: ", b"x" * 1000),
    "a status line without end": for_ever(b"HTTP/1.1 200 ", b"O" * 1000),
}
NO_LIST: Mapping[str, Say] = {
    "HTML with 200": answer(PAGE),
    "cut, with a length": then_close(answer(b'{"data": {"items": [', length=99)),
    "cut, in chunks": then_close(chunked(b'{"data": {"items": []}}', end=b"")),
    "cut, closed": then_close(head() + b'{"data": {"items": ['),
    "a list of numbers": items(290),
    "ids of letters": items({"id": "abc"}),
    "ids that are missing": items({"createdAt": "2026-11-24T01:00:00Z"}),
    "ids of nought": items({"id": 0}),
    "ids that are NaN": answer(b'{"data": {"items": [{"id": NaN}]}}'),
    "100,000 levels": answer(b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a bomb of gzip": answer(gzip.compress(b" " * 40_000_000, mtime=0), ENCODED),
    "a body over the cap": answer(b'{"data": {"items": [' + b" " * (17 * 1024 * 1024) + b"]}}"),
    "a body without end": for_ever(head(), b" " * 100_000),
}
NO_REPORT: Mapping[str, Say] = cut(CSV) | {
    "HTML with 200": answer(PAGE, "Content-Type: text/html"),
    "HTML with 200, labelled a file": answer(PAGE, "Content-Type: application/octet-stream"),
    "an object": answer(b'{"title": "Oops"}', "Content-Type: application/json"),
    "an object, labelled a file": answer(b'{"title": "Oops"}', "Content-Type: application/octet-stream"),
    "whole, but nothing tells so": then_close(head() + CSV),
    "a part, said to be one": answer(CSV, status="206 Partial Content"),
    "something to come": answer(CSV, status="202 Accepted"),
}
WAITED_OUT: Mapping[str, Say] = {
    "silence": slowly(b"", (3600.0, b"")),
    "closed at once": then_close(),
    "reset at once": then_reset(),
    "a trickle of headers": slowly(b"HTTP/1.1 200 OK\r\nX-Slow: ", *[(0.5, b"x")] * 200),
    "a trickle of a body": slowly(head(f"Content-Length: {len(CONTENT)}"), *[(1.0, b" ")] * 200),
    "503 with a page": answer(PAGE, status="503 Service Unavailable"),
    "500 with JSON": answer(b'{"Message": "Oops"}', status="500 Oops"),
    "408": answer(b"", status="408 Request Timeout"),
    "400 without a word": answer(b"", status="400 Bad Request"),
}


def redirects(place: str) -> dict[str, Row]:
    """Of all kinds, to a place that counts who comes."""
    kinds = [300, 301, 302, 303, 304, 305, 306, 307, 308, 399]
    rows = {}
    for status in kinds:
        say = answer(b"", f"Location: {place}/identity/login?ReturnUrl=%2F", status=f"{status} Elsewhere")
        body = answer(PAGE, f"Location: {place}", f"Refresh: 0; url={place}", status=f"{status} Elsewhere")
        rows[f"list, {status} to another host"] = listed(say, kept=False)
        rows[f"content, {status} to another host"] = content(
            body if status != 304 else say, kept=status != 304
        )
        # Nobody knows what became of a POST that was sent elsewhere: it is looked for, never sent again.
        rows[f"trigger, {status} to another host"] = Row({"trigger": (say,)}, "downloaded")
    return rows


def patience() -> dict[str, tuple[str, float]]:
    """Retry-After in its forms: the header's words, and how long the host is left alone at the least."""
    now = datetime.now(UTC).replace(microsecond=0)

    def dated(seconds: float) -> str:
        moment, sent = (format_datetime(at, usegmt=True) for at in (now + timedelta(seconds=seconds), now))
        return f"{moment}\r\nDate: {sent}"

    return {
        "seconds": ("3", 3.0),
        "a date": (dated(4), 4.0),
        "a date without a Date": (dated(4).partition("\r\n")[0], 0.5),
        "a date that is past": (dated(-3600), 0.5),
        "nought": ("0", 0.5),
        "10^9": ("1000000000", UNTIL_SECONDS),
        "10^300": ("1" + "0" * 300, UNTIL_SECONDS),
        "a date in ten thousand years": ("Fri, 31 Dec 9999 23:59:59 GMT", 0.5),
        "below nought": ("-5", 0.5),
        "garbage": ("soon, as they say", 0.5),
        "nothing": ("", 0.5),
    }


PATIENCE: Final = {name: least for name, (_, least) in patience().items()}


def all_rows(place: str) -> dict[str, Row]:
    """Every row by its name."""
    rows: dict[str, Row] = {"the truth": content(None, ends="downloaded")}
    rows |= {f"content, {name}": content(say) for name, say in {**CUT, **NO_CONTENT}.items()}
    rows |= {f"content, {name}": content(say, kept=False) for name, say in NOTHING_TO_SHOW.items()}
    rows |= {f"list, {name}": listed(say) for name, say in NO_LIST.items()}
    rows |= {f"list, {name}": listed(say, kept=False) for name, say in NOTHING_TO_SHOW.items()}
    rows |= {f"content, {name}": content(say, ends="unfinished") for name, say in WAITED_OUT.items()}
    rows |= {f"list, {name}": listed(say, ends="unfinished") for name, say in WAITED_OUT.items()}
    for name, say in {**CUT, **NO_CONTENT, **NOTHING_TO_SHOW, **WAITED_OUT}.items():
        if name != "another export":  # which would be a number like any other
            rows[f"trigger, {name}"] = Row({"trigger": (say,)}, "downloaded")
    rows |= {
        f"content, for a moment, {name}": content(say, say, None, ends="downloaded")
        for name, say in CUT.items()
    }
    rows |= {f"report, {name}": Row({"report.download": (say,)}, posts=0) for name, say in NO_REPORT.items()}
    rows |= {
        f"report, {name}": Row({"report.download": (say,)}, posts=0, kept=False)
        for name, say in NOTHING_TO_SHOW.items()
    }
    rows |= redirects(place)
    for status in (429, 503):
        for name, (words, _) in patience().items():
            says = (answer(b"{}", f"Retry-After: {words}", status=f"{status} Later"), None)
            unfinished = name.startswith("10^")
            rows[f"{status}, Retry-After, {name}"] = listed(
                *says, ends="unfinished" if unfinished else "downloaded", posts=0 if unfinished else 1
            )
    gone: Say = then_close()
    ours = {"id": 341, "endsAt": OURS}
    foreign = {"id": 340, "endsAt": "2026-11-16T00:00:00"}
    old = [{"id": id_, "endsAt": "2026-11-02T00:00:00"} for id_ in (7, 289, 12, 289, 7)]
    rows |= {
        "ids as strings": Row(
            {
                "list": (items({"id": "289", "endsAt": "2026-11-02T00:00:00"}),),
                "trigger": (answer(b'{"data": {"id": "341"}}'),),
                "content": (answer(TEXT.replace("341", '"341"').encode()),),
            },
            "downloaded",
        ),
        "ids unordered and repeated": Row(
            {
                "list": (items(*old),),
                "trigger": (gone,),
                "poll": (items(ours, foreign, ours, foreign, *old),),
            },
            "downloaded",
        ),
        "ids that go back, in the POST's answer": Row(
            {"list": (items(*old),), "trigger": (answer(b'{"data": {"id": 12}}'),)}, "downloaded"
        ),
        "ids that go back, in the list": Row(
            {"list": (items(*old),), "trigger": (gone,), "poll": (items({"id": 12, "endsAt": OURS}),)},
            "unfinished",
        ),
        "a list that forgets what it showed": Row(
            {
                "list": (items(*old),),
                "trigger": (gone,),
                "poll": (items(), items(), items(foreign), items(), None),
            },
            "downloaded",
        ),
    }
    return rows


SETTINGS: Mapping[str, str] = {
    "until": f"{UNTIL_SECONDS}s",
    "request_timeout": "3s",
    "trigger_timeout": "3s",
    "retrigger_after": "1h",
    "export_poll_interval": "2s",
    "requests_per_minute": "1000",
    "max_concurrency": "400",
    "log_level": "info",
}


def manifest(rows: Mapping[str, Row]) -> str:
    export = {"name": "payroll", "configuration_id": 3, "ends_at": "monday", "due": "tuesday"}
    report = {"name": "payroll", "template_id": 12}
    tenants = [
        {
            "name": f"t{n}",
            "label": name,
            "domain": f"t{n}.ilucca.net",
            "api_key": {"file": "keys/key"},
            **({"reports": [report]} if name.startswith("report, ") else {"exports": [export]}),
        }
        for n, name in enumerate(rows)
    ]
    return json.dumps({"version": 1, "defaults": {"since": "2026-11-01"}, "tenants": tenants})


@dataclass
class Told:
    """The night that all rows share."""

    bureau: Bureau
    liars: Liars
    result: Result
    rows: Mapping[str, Row]
    strangers: int
    leftovers: list[str]
    """Seen before any command looked at the journal: whoever reads it leaves two files beside it."""
    jobs: dict[str, Any]

    def name(self, row: str) -> str:
        return f"t{list(self.rows).index(row)}"

    def job(self, row: str) -> Any:
        return self.jobs[f"{self.name(row)}/payroll"]

    def asked(self, row: str, kind: str) -> list[Asked]:
        return self.liars.of(f"{self.name(row)}.ilucca.net", kind)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("lies")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(scripted(answer(PAGE))) as stranger,
    ):
        rows = all_rows(f"http://127.0.0.1:{stranger.port}")
        liars = Liars({f"t{n}.ilucca.net": row.lies for n, row in enumerate(rows.values())})
        with portal.wrap_async_context_manager(scripted(by=liars.answer_to)) as server:
            bureau = Bureau(folder, server.url)
            bureau.keys.add(KEY)
            (folder / "tenants.yaml").write_text(manifest(rows), encoding="utf-8")
            (folder / "keys").mkdir(mode=0o700)
            (folder / "keys" / "key").write_text(KEY, encoding="utf-8")
            (folder / "keys" / "key").chmod(0o600)
            with bureau.start("run", "--date", NIGHT, "--json", **SETTINGS) as started:
                result = started.end(100)
            yield Told(bureau, liars, result, rows, stranger.connections, bureau.leftovers(), bureau.jobs())


NAMES: Final = list(all_rows("http://127.0.0.1:1"))


@pytest.mark.parametrize("row", NAMES)
def test_a_host_that_lies_harms_nobody_and_is_told(told: Told, row: str) -> None:
    expected, name, job = told.rows[row], told.name(row), told.job(row)
    domain = f"{name}.ilucca.net"
    files = {
        path: (told.bureau.night() / path).read_bytes()
        for path in told.bureau.data_files()
        if path.startswith(f"{name}/")
    }
    kept = list((told.bureau.output / FOLDER).glob(f"{NIGHT}.{name}.payroll.*.body"))
    assert len(told.asked(row, "trigger")) == expected.posts
    if expected.ends == "downloaded":
        assert (job["state"], job["error"], job["remote_ids"]) == ("downloaded", None, [341])
        (body,) = files.values()
        assert json.loads(body)["data"]["entries"] == json.loads(CONTENT)["data"]["entries"]
        return
    assert files == {}
    if expected.ends == "unfinished":
        assert (job["state"] in ("pending", "polling", "downloading"), job["error"]) == (True, None)
        assert kept == []
        return
    assert (job["state"], job["error"]["code"]) == ("failed", "bad_answer")
    message = job["error"]["message"]
    period = "" if row.startswith("report, ") else ", configuration 3, before 2026-11-23"
    assert message.startswith(f"{name}/payroll ({domain}){period}: ")
    assert message.endswith(
        "To do: open the tenant in a browser (maintenance, login page?); the next run asks again."
    )
    (kind,) = expected.lies
    assert len(told.asked(row, "report.create")) == row.startswith("report, ")
    assert len(told.asked(row, kind)) >= TRIES
    assert [f"{FOLDER}/{path.name}" in message for path in kept] == [True] * expected.kept
    assert [oct(path.stat().st_mode & 0o777) for path in kept] == ["0o600"] * expected.kept


def test_no_other_host_saw_anything(told: Told) -> None:
    assert [row for row in told.rows if "another host" in row] != []
    assert told.strangers == 0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", PATIENCE)
def test_a_host_that_asks_for_patience_gets_it_and_one_that_asks_for_none_is_not_hammered(
    told: Told, form: str, status: int
) -> None:
    asked = told.asked(f"{status}, Retry-After, {form}", "list")
    least = PATIENCE[form]
    if least >= UNTIL_SECONDS:
        assert len(asked) == 1
    else:
        assert len(asked) >= 2
        assert asked[1].at_seconds - asked[0].at_seconds >= least


def test_the_baseline_is_the_highest_number_however_a_list_is_ordered(told: Told) -> None:
    for row in ("ids unordered and repeated", "ids that go back, in the list"):
        (target, *_) = {one.target for one in told.asked(row, "poll")}
        assert "id=greaterthan,289&" in target


def test_the_night_ends_with_what_is_true_of_it(told: Told) -> None:
    assert told.result.code == 4
    told.bureau.check_sums()
    assert told.leftovers == []
    ends = [row.ends for row in told.rows.values()]
    counted = {end: ends.count(end) for end in ("downloaded", "bad_answer", "unfinished")}
    assert told.bureau.document()["counts"] == {
        "downloaded": counted["downloaded"],
        "failed": counted["bad_answer"],
        "unfinished": counted["unfinished"],
    }


def test_a_person_learns_what_to_do_and_where_the_answer_lies(told: Told) -> None:
    row = "content, HTML with 200"
    explained = told.bureau.command("explain", f"{told.name(row)}/payroll", language="en")
    (kept,) = (told.bureau.output / FOLDER).glob(f"{NIGHT}.{told.name(row)}.payroll.*.body")
    assert kept.read_bytes() == PAGE
    assert f"{FOLDER}/{kept.name}" in explained.err
    assert "open the tenant in a browser" in explained.err


def test_what_was_kept_is_no_file_of_the_night(told: Told) -> None:
    assert len(list((told.bureau.output / FOLDER).iterdir())) > 50
    verified = told.bureau.command("verify", "--json").json()
    assert (verified["ok"], verified["files"]) == (True, len(told.bureau.data_files()))
