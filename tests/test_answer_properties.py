"""What holds of every answer there could be: it is read as what it is, or refused in words, and nothing else."""

import gzip
import json
import zlib
from base64 import b64encode
from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.content import ExportContent, ExportReader
from runner.content import NotContentError as NotExportError
from runner.credentials import Secret
from runner.encodings import EncodingError, decoder_of
from runner.lucca import (
    LOOK_BACK,
    NotContentError,
    RefusedError,
    ThrottledError,
    Unknown,
    check_report_content,
    error_message,
    read_created_id,
    read_export_identity,
    read_export_list,
    read_report_status,
    read_run_answer,
    read_template_id,
)

KEYS = (
    "data",
    "items",
    "id",
    "createdAt",
    "endsAt",
    "configurationId",
    "entries",
    "status",
    "Message",
    "title",
    "errors",
)


def read_export(
    body: bytes, sizes: tuple[int, ...] = (7,), block_bytes: int = 1
) -> tuple[ExportContent, list[bytes]]:
    """The content and its entries, from pieces of these sizes."""
    entries: list[bytes] = []
    reader = ExportReader(lambda batch: entries.extend(map(bytes, batch)), block_bytes=block_bytes)
    at = 0
    for size in cycle(sizes):
        if at >= len(body):
            return reader.finish(), entries
        reader.feed(body[at : at + size])
        at += size
    raise AssertionError("there are sizes without end")


READERS: dict[str, Callable[[bytes], object]] = {
    "list": read_export_list,
    "identity": read_export_identity,
    "created": read_created_id,
    "template": read_template_id,
    "status": lambda body: read_report_status(body, 72),
    "content": read_export,
}

in_any_case = st.sampled_from(KEYS).flatmap(
    lambda key: st.sampled_from([key, key.lower(), key.upper(), key.title()])
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()  # NaN and the infinities too, which Python writes and JSON does not know
    | st.text(max_size=8)
    | st.sampled_from(["341", "2026-11-23T00:00:00", "2026-02-30", "done", "pending", "é" * 300, "\u202e"])
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(in_any_case | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
bodies = (
    st.binary(max_size=100)
    | documents.map(lambda document: json.dumps(document).encode())
    | documents.map(lambda document: json.dumps(document, ensure_ascii=False).encode("latin-1", "replace"))
)
ids = st.integers(1, 10**18 - 1)
ends = st.none() | st.dates().map(lambda day: f"{day.isoformat()}T00:00:00")


@pytest.mark.parametrize("reader", READERS)
@given(body=bodies)
def test_any_answer_is_read_or_refused_in_words(reader: str, body: bytes) -> None:
    told = "it was read"
    try:
        READERS[reader](body)
    except (NotContentError, NotExportError) as refusal:
        told = str(refusal)
    assert told.isprintable()
    assert 0 < len(told) < 200


@given(body=bodies)
def test_a_list_has_only_numbers_that_stand_in_it_each_once(body: bytes) -> None:
    try:
        lines = read_export_list(body)
    except NotContentError:
        return
    numbers = [line.id for line in lines]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < 2**63 and str(number).encode() in body for number in numbers)


@given(st.lists(st.tuples(ids, st.booleans(), ends), max_size=LOOK_BACK))
def test_a_list_is_read_whatever_its_order_and_however_its_numbers_are_written(
    lines: list[tuple[int, bool, str | None]],
) -> None:
    items = [{"id": str(id_) if text else id_, "endsAt": end} for id_, text, end in lines]
    told = read_export_list(json.dumps({"data": {"items": items}}).encode())
    assert [line.id for line in told] == list(dict.fromkeys(id_ for id_, _, _ in lines))
    assert {line.id: line.ends_at for line in told} == {id_: end for id_, _, end in lines}


@given(st.lists(ids, min_size=1, max_size=9), st.data())
def test_a_list_that_is_cut_anywhere_is_refused(numbers: list[int], data: st.DataObject) -> None:
    body = json.dumps({"data": {"items": [{"id": number} for number in numbers]}}).encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(NotContentError):
        read_export_list(body[:cut])


@given(st.integers(100, 599), bodies)
def test_a_post_is_known_unknown_or_definitely_refused(status: int, body: bytes) -> None:
    try:
        told = read_run_answer(status, {}, body)
    except (RefusedError, ThrottledError):
        assert 400 <= status < 500
        return
    if isinstance(told, Unknown):
        assert told.why
    else:
        assert 200 <= status < 300
        assert told > 0


@given(bodies)
def test_a_servers_words_are_one_short_line(body: bytes) -> None:
    told = error_message(body)
    assert len(told) <= 200
    assert "\n" not in told
    assert "\u202e" not in told


@given(st.binary(max_size=60), st.sampled_from(["csv", "excel"]))
def test_a_file_that_begins_like_a_page_is_none(rest: bytes, format_: str) -> None:
    for start in (b"<!DOCTYPE html>", b"\xef\xbb\xbf<html>", b" \n<HTML>"):
        with pytest.raises(NotContentError):
            check_report_content(start + rest, len(start + rest), {}, format_)


# ── contents ──

ENTRY_KEYS = ("id", "name", "amount", "owner", "entries", "data", "axisSections")
words = st.text(max_size=6) | st.sampled_from(
    [
        '}, {"id": 3',
        "{",
        "}",
        "]}",
        '","',
        "\\",
        '"',
        "],",
        "entries",
        '"entries": [',
        "é",
        "\U0001f600",
        "\0",
        "/",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-99, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ENTRY_KEYS) | words, inner, max_size=3)
    ),
    max_leaves=6,
)
exports = st.builds(
    lambda entries, before, after, indent, plain, capitals: json.dumps(
        {
            "data": {
                **{f"a{n}": value for n, value in enumerate(before)},
                "id": 341,
                "ENTRIES" if capitals else "entries": entries,
                **{f"b{n}": value for n, value in enumerate(after)},
            }
        },
        indent=indent,
        ensure_ascii=plain,
    ).encode(),
    st.lists(values, max_size=6),
    st.lists(values, max_size=2),
    st.lists(values, max_size=2),
    st.none() | st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
damages = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.integers(0, 3),
        st.sampled_from(
            [b"", *(bytes([sign]) for sign in b'{}[],:"\\ 0-.eNtn\n\xff'), b"},{", b"[]", b'"entries":[']
        ),
    ),
    min_size=1,
    max_size=3,
)
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=5).map(tuple)
blocks = st.sampled_from([1, 10, 40, 1000])


def as_python_reads(body: bytes) -> list[Any] | None:
    """The entries of an export as the plainest reading has them; None where it is no JSON at all."""

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        document: dict[str, Any] = json.loads(body.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    data: dict[str, Any] = next(value for key, value in document.items() if key.lower() == "data")
    (entries,) = (value for key, value in data.items() if key.lower() == "entries")
    return [mended(entry) for entry in entries]


def mended(value: Any) -> Any:
    """With U+FFFD for each half of a letter."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in value)
    if isinstance(value, list):
        return [mended(each) for each in value]
    if isinstance(value, dict):
        return {mended(key): mended(each) for key, each in value.items()}
    return value


@given(body=exports, sizes=sizes, block_bytes=blocks)
def test_an_export_reads_the_same_in_whatever_pieces_it_comes(
    body: bytes, sizes: tuple[int, ...], block_bytes: int
) -> None:
    content, entries = read_export(body, sizes, block_bytes)
    assert content.id == 341
    assert content.entries == len(entries)
    assert [json.loads(entry) for entry in entries] == as_python_reads(body)


@given(body=exports, damage=damages, sizes=sizes, block_bytes=blocks)
def test_a_damaged_export_is_refused_or_reads_as_the_plainest_reading_does(
    body: bytes, damage: list[tuple[int, int, bytes]], sizes: tuple[int, ...], block_bytes: int
) -> None:
    for where, length, put in damage:
        at = where % (len(body) + 1)
        body = body[:at] + put + body[at + length :]
    try:
        _, entries = read_export(body, sizes, block_bytes)
    except NotExportError:
        return
    assert [json.loads(entry) for entry in entries] == as_python_reads(body)


@given(body=exports, where=st.integers(0, 10**6), sizes=sizes, block_bytes=blocks)
def test_an_export_that_is_cut_anywhere_is_refused(
    body: bytes, where: int, sizes: tuple[int, ...], block_bytes: int
) -> None:
    with pytest.raises(NotExportError):
        read_export(body[: where % len(body)], sizes, block_bytes)


# ── encodings ────────────────────────────────────────────────────────────────────────────────────────────────────

PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", lambda data: zlib.compress(data, wbits=-zlib.MAX_WBITS)),
}


def unpacked(encoding: str, packed: bytes, sizes: list[int]) -> bytes:
    """What comes of it when it arrives in pieces of these sizes, over and over."""
    decoder, at = decoder_of(encoding), 0
    parts: list[bytes] = []
    while at < len(packed):
        for size in sizes:
            parts += decoder.feed(packed[at : at + size])
            at += size
    decoder.check_end()
    return b"".join(parts)


@pytest.mark.parametrize("kind", PACKED)
@given(
    data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode),
    sizes=st.lists(st.integers(1, 50), min_size=1),
)
def test_what_was_packed_comes_out_whole_in_whatever_pieces_it_arrives(
    kind: str, data: bytes, sizes: list[int]
) -> None:
    encoding, pack = PACKED[kind]
    assert unpacked(encoding, pack(data), sizes) == data


@pytest.mark.parametrize("kind", PACKED)
@given(
    data=st.binary(min_size=1, max_size=300), sizes=st.lists(st.integers(1, 50), min_size=1), where=st.data()
)
def test_what_was_packed_and_cut_anywhere_is_refused(
    kind: str, data: bytes, sizes: list[int], where: st.DataObject
) -> None:
    encoding, pack = PACKED[kind]
    packed = pack(data)
    cut = where.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(EncodingError):
        unpacked(encoding, packed[:cut], sizes)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(noise=st.binary(min_size=1, max_size=100), sizes=st.lists(st.integers(1, 50), min_size=1))
def test_noise_that_says_it_is_packed_is_taken_for_what_it_is_or_refused(
    encoding: str, noise: bytes, sizes: list[int]
) -> None:
    told = "it was taken"
    try:
        unpacked(encoding, noise, sizes)
    except EncodingError as refusal:
        told = refusal.reason
    assert told


# ── keys that come back ──────────────────────────────────────────────────────────────────────────────────────────

keys = st.uuids().map(str) | st.text("0123456789abcdefghijKLMNOP-_", min_size=8, max_size=60).filter(
    lambda text: sum(map(str.isalnum, text)) >= 8
)


@given(key=keys, before=st.binary(max_size=50), after=st.binary(max_size=50), shape=st.integers(0, 4))
@example(key="0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55", before=b"", after=b"", shape=4)
def test_a_key_is_seen_wherever_it_stands(key: str, before: bytes, after: bytes, shape: int) -> None:
    shown = (
        key.encode(),
        key.upper().encode(),
        key.replace("-", "").encode(),
        key.encode("utf-16-le"),
        b64encode(b":" * (len(before) % 5) + key.encode() + b":password"),
    )[shape]
    assert Secret(key).stands_in(before + b" " + shown + b" " + after)
