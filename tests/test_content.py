"""What counts as the content of an export, and what does not."""

import json
import mmap
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.content import NotContentError, read_export_content

ENTRIES = b'[{"id": 1, "amount": 7.50}, {"id": 2, "amount": -0.10}]'


def answer(entries: bytes = ENTRIES, head: bytes = b'"id": 290, "configurationId": 3') -> bytes:
    return b'{"data": {' + head + b', "entries": ' + entries + b"}}"


def test_an_export_tells_its_number_its_configuration_its_period_and_its_entries() -> None:
    head = (
        b'"id": 290, "configurationId": 3, "startsAt": "2026-10-26T00:00:00", "endsAt": "2026-11-23T00:00:00"'
    )
    content = read_export_content(answer(head=head))
    assert (content.id, content.configuration_id) == (290, 3)
    assert (content.starts_at, content.ends_at) == ("2026-10-26T00:00:00", "2026-11-23T00:00:00")
    assert [bytes(entry) for entry in content.entries] == [
        b'{"id": 1, "amount": 7.50}',
        b'{"id": 2, "amount": -0.10}',
    ]


@pytest.mark.parametrize(
    "body",
    [
        answer(head=b'"ID": "290", "CONFIGURATIONID": "3"'),
        answer().replace(b'"data"', b'"Data"').replace(b'"entries"', b'"Entries"'),
        b"\xef\xbb\xbf" + answer(),
        b" \r\n" + answer() + b"\n",
    ],
    ids=["other case, ids as text", "capital data", "byte order mark", "white space around"],
)
def test_case_marks_and_numbers_as_text_are_no_obstacle(body: bytes) -> None:
    content = read_export_content(body)
    assert (content.id, content.configuration_id, len(content.entries)) == (290, 3, 2)


def test_what_an_export_does_not_tell_of_itself_is_none() -> None:
    content = read_export_content(answer(head=b'"id": 290, "startsAt": null'))
    assert (content.configuration_id, content.starts_at, content.ends_at) == (None, None, None)


def test_an_export_without_entries_in_its_list_is_content() -> None:
    assert read_export_content(answer(b"[]")).entries == []


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"<!DOCTYPE html><title>Login</title>", "web page"),
        (b"\xef\xbb\xbf  <html></html>", "web page"),
        (b'{"data": {"id": 290, "configurationId": 3}}', "no `entries`"),
        (b'{"data": {"id": 290, "entries": null}}', "`entries` is not a list"),
        (b'{"data": {"id": 290, "entries": {"items": []}}}', "`entries` is not a list"),
        (b'{"data": {"entries": []}}', "no `id`"),
        (b'{"data": {"id": true, "entries": []}}', "`id` is not a number"),
        (b'{"data": {"id": 2.5, "entries": []}}', "`id` is not a number"),
        (b'{"data": {"id": 0, "entries": []}}', "`id` is not a number from 1"),
        (b'{"data": {"id": "../../etc", "entries": []}}', "`id` is not a number from 1"),
        (
            b'{"data": {"id": ' + b"9" * 30 + b', "entries": []}}',
            "`id` is not a number from 1",
        ),
        (b'{"data": {"id": 1, "endsAt": 20261123, "entries": []}}', "`endsAt` is not text"),
        (b'{"data": {"id": 1, "Entries": [], "entries": []}}', "gives a key twice"),
        (b'{"data": {"id": 1, "entries": [1], "entries": []}}', "gives a key twice"),
        (b'{"data": [], "count": 0}', "`data` is not a JSON object"),
        (b'{"data": null}', "`data` is not a JSON object"),
        (b'{"Status": 401, "Message": "Unauthorized"}', "no `data`"),
        (b"[]", "the answer is not a JSON object"),
        (answer(b"[NaN]"), "malformed"),
        (answer(b'[{"amount": Infinity}]'), "malformed"),
        (answer() + b"x", "malformed"),
        (answer() + answer(), "malformed"),
        (answer(b"[" * 100_000 + b"]" * 100_000), "nested too deep"),
        (answer(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deep"),
        (answer(b'[{"name": "Ren\xe9"}]'), "not UTF-8"),
        (answer().decode().encode("utf-16"), "not UTF-8"),
    ],
)
def test_what_is_not_the_content_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(NotContentError) as refused:
        read_export_content(body)
    assert reason in refused.value.reason


@given(st.integers(min_value=0, max_value=len(answer()) - 1))
def test_a_cut_answer_is_never_taken_for_content(length: int) -> None:
    with pytest.raises(NotContentError):
        read_export_content(answer()[:length])


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(NotContentError):
        read_export_content(noise)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("id", "entries", "endsAt", "configurationId", "x"), _JSON)
    )
)
def test_any_json_is_either_content_or_refused(data: dict[str, object]) -> None:
    try:
        content = read_export_content(json.dumps({"data": data}).encode())
    except NotContentError:
        return
    assert content.id == int(str(data["id"]))


@pytest.mark.parametrize(
    "written, read",
    [
        (r"Zo\ud83d", "Zo\ufffd"),
        (r"\udc00Zo", "\ufffdZo"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"C:\\ud800", r"C:\ud800"),
    ],
)
def test_half_a_letter_does_not_cost_the_export(written: str, read: str) -> None:
    broken = r'{"name": "\ud800"}, '
    content = read_export_content(answer(f'[{broken}{{"name": "{written}"}}]'.encode()))
    assert json.loads(bytes(content.entries[1])) == {"name": read}


def test_a_reason_quotes_nothing_of_the_answer() -> None:
    with pytest.raises(NotContentError) as refused:
        read_export_content(b'{"data": {"id": "secret-name", "entries": []}}')
    assert "secret" not in refused.value.reason


def test_a_large_answer_is_read_from_a_mapped_file(tmp_path: Path) -> None:
    entry = b'{"id": 1, "amount": 7.50, "owner": {"id": 1, "lastName": "\xc3\x89"}}'
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(answer(b"[" + b",".join([entry] * 40_000) + b"]"))
        file.flush()
        content = read_export_content(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert len(content.entries) == 40_000
    assert bytes(content.entries[-1]) == entry
