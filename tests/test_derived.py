"""Tables made of an export: digits as they came, text as it is, nothing that a spreadsheet would run."""

import contextlib
import csv
import io
import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.content import ExportReader
from runner.derived import COLUMNS, FORMATS, NotDerivableError

WHOLE = """{"id": 1, "name": "Heures 25 %", "amount": 7.50, "amountUnit": "hours", "externalCode": "0025",
 "endsAt": "2026-11-23T00:00:00", "owner": {"id": 12, "lastName": "Lefèvre", "firstName": "Zoé"},
 "timeType": {"id": 3, "name": "Sup", "payTreatment": "paid"},
 "axisSections": [{"id": 9, "name": "Ch\\u00e2telet, \\"A\\"", "active": true, "rate": 1.10}]}"""


def derive(*entries: str, fmt: str = "csv") -> bytes:
    return b"".join(blocks_of(*entries, fmt=fmt))


def blocks_of(*entries: str, fmt: str) -> list[bytes]:
    body = ('{"data": {"id": 290, "entries": [' + ",".join(entries) + "]}}").encode()
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    reader = ExportReader()
    for piece in pieces:
        reader.feed(piece)
    blocks: list[bytes] = []
    FORMATS[fmt].write(reader.finish(), pieces, blocks.append)
    return blocks


def rows(*entries: str, fmt: str = "csv") -> list[dict[str, str]]:
    text = derive(*entries, fmt=fmt).decode("utf-8-sig" if fmt == "csv-fr" else "utf-8")
    delimiter = ";" if fmt == "csv-fr" else ","
    header, *lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    assert header == list(COLUMNS)
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_an_entry_becomes_one_row_named_by_its_path() -> None:
    assert rows(WHOLE) == [
        {
            "id": "1",
            "name": "Heures 25 %",
            "amount": "7.50",
            "amountUnit": "hours",
            "externalCode": "0025",
            "endsAt": "2026-11-23T00:00:00",
            "owner.id": "12",
            "owner.lastName": "Lefèvre",
            "owner.firstName": "Zoé",
            "timeType.id": "3",
            "timeType.name": "Sup",
            "timeType.payTreatment": "paid",
            "axisSections": '[{"id":9,"name":"Châtelet, \\"A\\"","active":true,"rate":1.10}]',
        }
    ]


def test_csv_has_no_mark_and_ends_its_lines_with_a_line_feed() -> None:
    data = derive(WHOLE)
    assert data.startswith(b"id,name,amount,")
    assert data.endswith(b"\n")
    assert b"\r" not in data


def test_csv_fr_is_what_a_french_excel_opens() -> None:
    data = derive(WHOLE, fmt="csv-fr")
    assert data.startswith(b"\xef\xbb\xbfid;name;amount;")
    assert data.count(b"\r\n") == data.count(b"\n") == 2
    (row,) = rows(WHOLE, fmt="csv-fr")
    assert row["amount"] == "7,50"
    assert row["externalCode"] == "0025"
    assert "1.10" in row["axisSections"]


def test_an_export_without_entries_is_a_header() -> None:
    assert derive().decode().splitlines() == [",".join(COLUMNS)]


def test_what_is_missing_or_null_is_an_empty_cell() -> None:
    expected = dict.fromkeys(COLUMNS, "")
    nulls = ", ".join(f'"{name}": null' for name in ("id", "amount", "owner", "timeType", "axisSections"))
    assert rows("{}", "{" + nulls + "}", '{"owner": {}, "timeType": {"id": null}}') == [expected] * 3


def test_keys_match_in_any_case() -> None:
    (row,) = rows('{"ID": 1, "Amount": 2.0, "OWNER": {"LastName": "X"}, "AxisSections": []}')
    assert (row["id"], row["amount"], row["owner.lastName"], row["axisSections"]) == ("1", "2.0", "X", "[]")


def test_of_a_key_that_an_entry_repeats_letter_for_letter_the_last_value_counts_as_for_most_readers() -> None:
    """It is told in the README; the answer keeps both."""
    (row,) = rows('{"id": 1, "amount": 2.0, "amount": 3.50, "owner": {"id": 4, "id": 5}}')
    assert (row["amount"], row["owner.id"]) == ("3.50", "5")


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True).map(
    lambda literal: re.sub(r"[^0-9.eE+-]", "1", literal)
)


@given(st.lists(NUMBERS, min_size=1, max_size=5))
@pytest.mark.parametrize("wrapped", [False, True])
def test_amounts_keep_every_digit_they_came_with(wrapped: bool, amounts: list[str]) -> None:
    entries = [f'{{"amount": "{a}"}}' if wrapped else f'{{"amount": {a}}}' for a in amounts]
    assert [row["amount"] for row in rows(*entries)] == amounts
    french = [row["amount"] for row in rows(*entries, fmt="csv-fr")]
    assert [amount.replace(",", ".") for amount in french] == amounts
    assert not any("." in amount for amount in french)
    assert [Decimal(a.replace(",", ".")) for a in french] == [Decimal(a) for a in amounts]


@pytest.mark.parametrize(
    "amount",
    ["1E+2", "-0.10", "-0", "7.50", "0.1000000000000000055511151231257827", "12345678901234567890123"],
)
def test_awkward_amounts_are_literal(amount: str) -> None:
    assert rows(f'{{"amount": {amount}}}')[0]["amount"] == amount


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=4, max_size=4))
def test_text_comes_back_as_it_was(words: list[str]) -> None:
    name, code, last, kind = words
    entry = {
        "name": name,
        "externalCode": code,
        "owner": {"lastName": last},
        "timeType": {"name": kind},
        "axisSections": words,
    }
    (row,) = rows(json.dumps(entry))
    assert [row["name"], row["externalCode"], row["owner.lastName"], row["timeType.name"]] == words
    assert json.loads(row["axisSections"]) == words


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(
    "words", ['"', '"a" b', 'a"', "a\rb", "a\nb", "\r", "a,b", "a;b", ",", ";", "", " ", "\u2028"]
)
def test_no_character_breaks_a_row(words: str, fmt: str) -> None:
    for entry in (
        {"name": words},
        {"owner": {"lastName": words, "firstName": words}, "axisSections": [words]},
    ):
        (row,) = rows(json.dumps(entry), fmt=fmt)
        disarmed = "'" + words if fmt == "csv-fr" and words[:1] == "\r" else words
        assert disarmed in (row["name"], row["owner.lastName"])
        if "owner" in entry:
            assert row["owner.firstName"] == disarmed
            assert json.loads(row["axisSections"]) == [words]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_text_that_would_run_as_a_formula_is_disarmed_for_a_spreadsheet_only(start: str) -> None:
    entry = json.dumps({"name": f"{start}1+1", "owner": {"firstName": f"{start}A1"}})
    assert rows(entry)[0]["name"] == f"{start}1+1"
    (row,) = rows(entry, fmt="csv-fr")
    assert (row["name"], row["owner.firstName"]) == (f"'{start}1+1", f"'{start}A1")


def test_a_negative_number_is_never_disarmed() -> None:
    (row,) = rows('{"id": -5, "amount": -7.25}', fmt="csv-fr")
    assert (row["id"], row["amount"]) == ("-5", "-7,25")


def test_truth_is_written_as_json_writes_it() -> None:
    (row,) = rows('{"name": true, "externalCode": false}')
    assert (row["name"], row["externalCode"]) == ("true", "false")


@pytest.mark.parametrize(
    "entry, reason",
    [
        ("1", "it is not an object"),
        ("null", "it is null"),
        ('"text"', "it is not an object"),
        ('{"owner": "Dupont"}', "owner is not an object"),
        ('{"timeType": {"id": 1, "Id": 2}}', "timetype gives a key twice"),
        ('{"timeType": {"payTreatment": {}}}', "timetype.paytreatment is not a plain value"),
        ('[{"id": 1}]', "it is not an object"),
        ('{"owner": 12}', "owner is not an object"),
        ('{"timeType": []}', "timetype is not an object"),
        ('{"amount": {"value": 1}}', "amount is not a plain value"),
        ('{"owner": {"id": [1]}}', "owner.id is not a plain value"),
        ('{"amount": 1, "Amount": 2}', "it gives a key twice"),
        ('{"axisSections": [' + "9" * 5000 + "]}", "axisSections cannot be read"),
    ],
)
def test_an_entry_of_the_wrong_shape_is_named_by_its_position(entry: str, reason: str) -> None:
    with pytest.raises(NotDerivableError) as refused:
        derive(WHOLE, entry)
    assert str(refused.value) == f"entry 2 of export 290: {reason}"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["id", "amount", "owner", "timeType", "axisSections", "OWNER"]), _JSON)
)
def test_odd_entries_make_a_row_or_are_refused(entry: dict[str, object]) -> None:
    for fmt in FORMATS:
        with contextlib.suppress(NotDerivableError):
            assert len(rows(json.dumps(entry), fmt=fmt)) == 1


LONG = "9" * 5000
"""More digits than Python reads: an entry that holds them has to be taken apart literally."""


@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "name", "amount", "Amount", "endsAt", "owner", "timeType", "axisSections", "x"]
        ),
        st.sampled_from(
            ["-0", "0", "-0.0", "0.10", "1e9999", "-7", '"-7,5"', '"7.50"', '"=a"', '"a;\\"b,"', "true"]
        )
        | _JSON.map(json.dumps)
        | st.just('{"ID": -0, "lastName": "\\n", "payTreatment": 1.50, "id ": 3}'),
    )
)
def test_a_row_is_the_same_whether_the_entry_could_be_read_at_once_or_not(entry: dict[str, str]) -> None:
    items = [f"{json.dumps(key)}: {value}" for key, value in entry.items()]
    for fmt in FORMATS:
        made = []
        for more in ([], [f'"weight": {LONG}']):
            try:
                made.append(derive("{" + ", ".join([*items, *more]) + "}", fmt=fmt))
            except NotDerivableError as error:
                made.append(str(error).encode())
        assert made[0] == made[1]


def test_a_number_that_no_column_asks_for_costs_nothing() -> None:
    assert rows('{"amount": 7.50, "weight": ' + LONG + "}")[0]["amount"] == "7.50"
    assert rows('{"amount": ' + LONG + "}")[0]["amount"] == LONG


@pytest.mark.parametrize("zero", ["0", "-0", "0.0", "-0.00", "0e1"])
def test_a_zero_is_written_as_it_came(zero: str) -> None:
    (row,) = rows(
        f'{{"id": {zero}, "amount": {zero}, "owner": {{"id": {zero}}}, "timeType": {{"id": {zero}}}}}'
    )
    assert {row["id"], row["amount"], row["owner.id"], row["timeType.id"]} == {zero}


def test_entries_may_each_have_other_keys() -> None:
    entries = [
        f'{{"key {n}": 1, "AMOUNT": {n}.50, "owner": {{"Key {n}": 2, "lastname": "{n}"}}}}'
        for n in range(3000)
    ]
    made = rows(*entries)
    assert [row["amount"] for row in made] == [f"{n}.50" for n in range(3000)]
    assert [row["owner.lastName"] for row in made] == [str(n) for n in range(3000)]


def test_a_large_export_is_written_in_blocks() -> None:
    for fmt in FORMATS:
        blocks = blocks_of(*[WHOLE] * 3000, fmt=fmt)
        assert len(blocks) > 3
        assert max(map(len, blocks)) < 80_000
        assert b"".join(blocks).count(b"\n") == 3001
