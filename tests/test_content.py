"""What counts as the content of an export, and what does not."""

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.content import ExportContent, ExportReader, NotContentError, read_entries
from runner.lucca import read_export_list

ENTRIES = b'[{"id": 1, "amount": 7.50}, {"id": 2, "amount": -0.10}]'


def answer(entries: bytes = ENTRIES, head: bytes = b'"id": 290, "configurationId": 3') -> bytes:
    return b'{"data": {' + head + b', "entries": ' + entries + b"}}"


def read(
    body: bytes, piece_bytes: int = 1 << 20, block_bytes: int = 1 << 18
) -> tuple[ExportContent, list[bytes]]:
    entries: list[bytes] = []
    reader = ExportReader(lambda batch: entries.extend(map(bytes, batch)), block_bytes=block_bytes)
    for start in range(0, len(body), piece_bytes):
        reader.feed(body[start : start + piece_bytes])
    content = reader.finish()
    assert content.entries == len(entries)
    return content, entries


def read_export_content(body: bytes) -> ExportContent:
    """However an answer is cut into blocks, it reads the same, or is refused for the same reason."""
    read_as: list[tuple[ExportContent, list[bytes]]] = []
    refused: list[NotContentError] = []
    for piece_bytes, block_bytes in ((1 << 20, 1 << 18), (1 + len(body) // 50, 1), (1 + len(body) // 10, 30)):
        try:
            read_as.append(read(body, piece_bytes, block_bytes))
        except NotContentError as error:
            refused.append(error)
    if refused:
        assert len({error.reason for error in refused}) == 1
        assert not read_as
        raise refused[0]
    assert read_as[0] == read_as[1] == read_as[2]
    return read_as[0][0]


def entries_of(body: bytes) -> list[bytes]:
    read_export_content(body)
    return [
        bytes(entry) for entry in read_entries(body[start : start + 9] for start in range(0, len(body), 9))
    ]


def test_an_export_tells_its_number_its_configuration_its_period_and_its_entries() -> None:
    head = (
        b'"id": 290, "configurationId": 3, "startsAt": "2026-10-26T00:00:00", "endsAt": "2026-11-23T00:00:00"'
    )
    content = read_export_content(answer(head=head))
    assert (content.id, content.configuration_id) == (290, 3)
    assert (content.starts_at, content.ends_at) == ("2026-10-26T00:00:00", "2026-11-23T00:00:00")
    assert content.entries == 2
    assert entries_of(answer(head=head)) == [
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
    assert (content.id, content.configuration_id, content.entries) == (290, 3, 2)


@pytest.mark.parametrize("quote", ["", '"'], ids=["a number", "text"])
@pytest.mark.parametrize("number", [10**17, 10**18, 2**63 - 1])
def test_an_id_that_a_list_may_tell_its_content_may_tell_too(number: int, quote: str) -> None:
    """Or an export would be asked for and never downloaded."""
    told = f"{quote}{number}{quote}"
    (line,) = read_export_list(f'{{"data": {{"items": [{{"id": {told}}}]}}}}'.encode())
    content = read_export_content(answer(head=f'"id": {told}'.encode()))
    assert (line.id, content.id) == (number, number)


def test_what_an_export_does_not_tell_of_itself_is_none() -> None:
    content = read_export_content(answer(head=b'"id": 290, "startsAt": null'))
    assert (content.configuration_id, content.starts_at, content.ends_at) == (None, None, None)


def test_an_export_without_entries_in_its_list_is_content() -> None:
    assert read_export_content(answer(b"[]")).entries == 0


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
        (b'{"data": {"id": 9223372036854775808, "entries": []}}', "`id` is not a number from 1"),
        (b'{"data": {"id": 1, "endsAt": 20261123, "entries": []}}', "`endsAt` is not text"),
        (b'{"data": {"id": 1, "Entries": [], "entries": []}}', "gives a key twice"),
        (b'{"data": {"id": 1, "entries": [1], "entries": []}}', "gives a key twice"),
        (b'{"data": [], "count": 0}', "`data` is not a JSON object"),
        (b'{"data": null}', "`data` is not a JSON object"),
        (b'{"Status": 401, "Message": "Unauthorized"}', "no `data`"),
        (b"[]", "the answer is not a JSON object"),
        (b"}}}}}:" + answer(), "malformed"),
        (b"]" + answer(), "malformed"),
        (b'{"x": {"entries": 1}, "data": [[{}, {}, {}]]}', "`data` is not a JSON object"),
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


@given(st.binary(max_size=200) | st.text('{}[]:,"\\\\ aé', max_size=60).map(str.encode))
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
    "written, shown",
    [
        (r"Zo\ud83d", "Zo\ufffd"),
        (r"\udc00Zo", "\ufffdZo"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"C:\\ud800", r"C:\ud800"),
    ],
)
def test_half_a_letter_does_not_cost_the_export(written: str, shown: str) -> None:
    broken = r'{"name": "\ud800"}, '
    entries = entries_of(answer(f'[{broken}{{"name": "{written}"}}, {{}}]'.encode()))
    assert json.loads(entries[1]) == {"name": shown}


def test_a_reason_quotes_nothing_of_the_answer() -> None:
    with pytest.raises(NotContentError) as refused:
        read_export_content(b'{"data": {"id": "secret-name", "entries": []}}')
    assert "secret" not in refused.value.reason


ENTRY = b'{"id": 1, "amount": 7.50, "owner": {"id": 1, "lastName": "\xc3\x89"}, "axisSections": [{"a": 1}, {"b": 2}]}'


@pytest.mark.parametrize("comma", [b",", b", ", b"\n  ,\n  "])
@pytest.mark.parametrize("first", [ENTRY, b'{"name": "\\ud83d"}', b'{"name": "}}{{"}'])
def test_a_large_answer_costs_the_memory_of_a_block(comma: bytes, first: bytes) -> None:
    start, end = answer(b"[]").split(b"]")
    entries = comma.join([first, *[ENTRY] * 99])

    def pieces() -> Iterator[bytes]:
        yield start + entries
        for _ in range(999):
            yield comma + entries
        yield b"]" + end

    tracemalloc.start()
    try:
        content = take(pieces())
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert content.entries == 100_000
    assert most_bytes < 3_000_000


def take(pieces: Iterable[bytes]) -> ExportContent:
    reader = ExportReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


@pytest.mark.parametrize(
    "name",
    [
        '}, {"id": 3',
        "{",
        "}",
        "}},{{",
        '\\"}, {\\"',
        "]}}, {",
        "entries were here",
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 50, 200])
def test_words_that_look_like_json_are_words(name: str, block_bytes: int) -> None:
    written = json.dumps({"id": 1, "name": name, "axisSections": [{"name": name}, {"name": name}]}).encode()
    for tail in (b"", b', "exportFiles": [{"entries": [1]}, {"entries": [{}, {}]}]'):
        body = answer(b"[" + b", ".join([written] * 30) + b"]" + tail)
        content, entries = read(body, 37, block_bytes)
        assert (content.id, entries) == (290, [written] * 30)


@pytest.mark.parametrize(
    "head",
    [
        b'"id": 290, "exportFiles": [{"entries": [{"a": 1}, {"a": 2}, {"a": 3}]}]',
        b'"id": 290, "name": "\\"entries\\": [{}, {}, {}]"',
        b'"id": 290, "x": {"entries": [{"a": 1}, {"a": 2}]}',
        b'"id": 290, "entries ": [{"a": 1}, {"a": 2}]',
        b'"name": "' + b"x" * 500 + b'", "id": 290',
    ],
)
def test_only_the_list_of_the_export_holds_its_entries(head: bytes) -> None:
    assert read_export_content(answer(head=head)).entries == 2
    assert entries_of(answer(head=head)) == entries_of(answer())


@pytest.mark.parametrize(
    "other", [b'{"entries": [{}, {}, {}]}', b'[{"data": {"entries": [{}, {}]}}]', b"[[{}, {}]]"]
)
def test_what_stands_beside_the_export_is_none_of_it(other: bytes) -> None:
    for body in (b'{"x": ' + other + b"," + answer()[1:], answer()[:-1] + b', "x": ' + other + b"}"):
        assert read_export_content(body).entries == 2
        assert entries_of(body) == entries_of(answer())


def test_a_key_may_be_spelled_with_escapes() -> None:
    body = b'{"data": {"id": 290, "entri\\u0065s": [{}, {}]}, "x": {"entries": [{}, {}, {}]}}'
    assert read_export_content(body).entries == 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": {"id": 1, "entries": [{}, {}, {}], "entries": [{}]}}',
        b'{"data": {"id": 1, "entries": [{}, {}, {}], "Entries": []}}',
        b'{"data": {"id": 1, "entries": [{}, {}, {}]}, "Data": {"id": 1, "entries": []}}',
        b'{"data": {"id": 1, "entries": [{}, {}, {}], "ID": 2}}',
    ],
)
def test_a_key_given_twice_is_noticed_behind_entries_that_are_gone_already(body: bytes) -> None:
    for block_bytes in (1, 5, 1000):
        with pytest.raises(NotContentError, match="gives a key twice"):
            read(body, 5, block_bytes)


@pytest.mark.parametrize("block_bytes", [1, 64, 300, 1000])
@pytest.mark.parametrize(
    "broken", [b'{"amount": NaN}', b'{"a": 1 "b": 2}', b'{"a": "\\ud83d" 2}', b"{}{}", b"{},", b"", b"}"]
)
def test_an_entry_in_the_middle_that_is_no_json_refuses_the_answer(broken: bytes, block_bytes: int) -> None:
    for place in (0, 10, 19):
        entries = [ENTRY] * 20
        entries[place] = broken
        with pytest.raises(NotContentError):
            read(answer(b"[" + b",".join(entries) + b"]"), 100, block_bytes)


@given(st.lists(_JSON, max_size=6), st.integers(1, 60), st.integers(1, 200), st.sampled_from([None, 0, 2]))
def test_entries_are_the_same_however_the_answer_came(
    values: list[object], piece_bytes: int, block_bytes: int, indent: int | None
) -> None:
    body = json.dumps({"data": {"id": 290, "entries": values}}, indent=indent, ensure_ascii=False).encode()
    _, entries = read(body, piece_bytes, block_bytes)
    assert [json.loads(entry) for entry in entries] == values


def test_an_answer_that_is_mostly_no_entries_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(NotContentError, match="MiB of it are no whole entries"):
        take(chain([b'{"data": {"id": 1, "name": "'], repeat(b"x" * (1 << 20), 200)))
