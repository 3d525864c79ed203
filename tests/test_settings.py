"""Settings: where they come from, what is refused, and that no value is repeated in an error."""

import grp
import os
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.options import BY_NAME, SETTINGS, Setting
from runner.settings import (
    Settings,
    Until,
    load_settings,
    parse_duration,
    parse_gateway,
    parse_until,
    system_timezone,
    unknown_settings,
)

PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no setting in the environment."""
    for name in [name for name in os.environ if name.upper().startswith("RUNNER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(flags: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(flags)
    assert caught.value.__cause__ is None
    return str(caught.value)


# --- the table ---------------------------------------------------------------------------------------------------


def test_the_table_and_the_settings_are_the_same() -> None:
    assert [setting.name for setting in SETTINGS] == list(Settings.model_fields)
    assert [field.name for field in fields(Setting)] == ["name", "metavar", "default", "help"]
    assert (BY_NAME["output_group"].env, BY_NAME["output_group"].flag) == (
        "RUNNER_OUTPUT_GROUP",
        "--output-group",
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_default_in_the_table_is_the_default(setting: Setting) -> None:
    computed = {"state", "timezone", "log_format"}
    if setting.name not in computed:
        told = "" if setting.default == "none" else setting.default
        flags = {setting.name: told} if told else {}
        assert getattr(load_settings(flags), setting.name) == getattr(load_settings(), setting.name)


# --- precedence --------------------------------------------------------------------------------------------------


def test_a_flag_comes_before_the_environment_before_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().max_concurrency == 64
    Path(".env").write_text("RUNNER_MAX_CONCURRENCY=3\nRUNNER_OUTPUT=from-file\n", encoding="utf-8")
    assert load_settings().max_concurrency == 3
    monkeypatch.setenv("RUNNER_MAX_CONCURRENCY", "2")
    assert load_settings().max_concurrency == 2
    settings = load_settings({"max_concurrency": "1"})
    assert (settings.max_concurrency, settings.output) == (1, Path("from-file"))
    assert settings.state == "from-file/.runner/journal.db"


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("manifest", "m.yaml", Path("m.yaml")),
        ("output", "o", Path("o")),
        ("output_group", "users", "users"),
        ("state", "s.db", "s.db"),
        ("timezone", "Asia/Tokyo", ZoneInfo("Asia/Tokyo")),
        ("gateway", "http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("max_concurrency", "7", 7),
        ("max_concurrency_per_domain", "7", 7),
        ("requests_per_minute", "7", 7),
        ("trigger_timeout", "1.5s", 1.5),
        ("request_timeout", "7", 7.0),
        ("export_poll_interval", "2m", 120.0),
        ("report_poll_interval", "PT2M", 120.0),
        ("report_timeout", "1h30m", 5400.0),
        ("retrigger_after", "2h", 7200.0),
        ("max_triggers", "7", 7),
        ("until", "06:30", Until(at=time(6, 30))),
        ("log_format", "JSON", "json"),
        ("log_level", "debug", "debug"),
        ("language", "en", "en"),
        ("allowed_hosts", "a.test,b.test", ("a.test", "b.test")),
    ],
)
def test_every_setting_reads_the_same_from_flag_environment_and_file(
    name: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(load_settings({name: value}), name) == expected
    Path(".env").write_text(f"{BY_NAME[name].env}={value}\n", encoding="utf-8")
    assert getattr(load_settings(), name) == expected
    Path(".env").unlink()
    monkeypatch.setenv(BY_NAME[name].env, value)
    assert getattr(load_settings(), name) == expected


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_GATEWAY", "")
    assert load_settings().gateway is None


def test_the_journal_stands_in_the_output_unless_it_is_said_otherwise() -> None:
    assert load_settings({"output": "/srv/out"}).state == "/srv/out/.runner/journal.db"
    assert load_settings({"output": "/srv/out", "state": "j.db"}).state == "j.db"
    assert load_settings({"state": "postgresql://u:p@h/db"}).state == "postgresql://u:p@h/db"


def test_the_journals_url_is_not_shown() -> None:
    assert "hunter2" not in repr(load_settings({"state": "postgresql://u:hunter2@h/db"}))


def test_variables_that_mean_nothing_are_warned_of() -> None:
    Path(".env").write_text("RUNNER_OUTPT=x\nACME_API_KEY=y\n", encoding="utf-8")
    environ = {"RUNNER_MAX_TRIGGER": "1", "RUNNER_OUTPUT": "x", "RUNNER_METRICS_FILE": "m", "PATH": "p"}
    first, second, third = unknown_settings(environ)
    assert first == "RUNNER_MAX_TRIGGER is not a setting and has no effect; did you mean RUNNER_MAX_TRIGGERS?"
    assert second == "RUNNER_METRICS_FILE is not built yet and has no effect"
    assert third.endswith("did you mean RUNNER_OUTPUT?")
    assert unknown_settings({}, env_file=None) == []


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value",
    [
        ("max_concurrency", "0"),
        ("max_concurrency", "-1"),
        ("max_concurrency", "1.5"),
        ("max_concurrency", "hunter2"),
        ("max_concurrency", "99999999999999999999999999"),
        ("max_concurrency_per_domain", "0"),
        ("requests_per_minute", "0"),
        ("max_triggers", "0"),
        ("trigger_timeout", "0"),
        ("request_timeout", "-5s"),
        ("report_timeout", "hunter2"),
        ("retrigger_after", "nan"),
        ("until", "24:00"),
        ("until", "hunter2"),
        ("timezone", "hunter2"),
        ("timezone", "../../etc/passwd"),
        ("timezone", "/etc/localtime"),
        ("log_format", "hunter2"),
        ("log_level", "loud"),
        ("language", "de"),
        ("allowed_hosts", "com"),
        ("allowed_hosts", "a.test,*.b.test"),
        ("allowed_hosts", "a.test:80"),
        ("gateway", "hunter2"),
        ("output", " "),
        ("output", "~no-such-user-here/output"),
        ("manifest", "~no-such-user-here/tenants.yaml"),
        ("state", "a\0b"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_it_came_under_and_not_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal({name: value})
    assert message.startswith(f"{BY_NAME[name].flag}: ")
    assert "hunter2" not in message
    if "\0" not in value:
        monkeypatch.setenv(BY_NAME[name].env, value)
        assert refusal({}).startswith(f"{BY_NAME[name].env}: ")


def test_every_wrong_value_is_told_at_once() -> None:
    assert len(refusal({"max_triggers": "x", "until": "y"}).splitlines()) == 2


def test_a_word_that_is_near_is_named() -> None:
    assert "did you mean warning?" in refusal({"log_level": "WARN"})
    assert "did you mean output?" in refusal({"outputt": "x"})
    assert load_settings({"log_level": "DEBUG"}).log_level == "debug"


def test_a_file_of_settings_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"RUNNER_OUTPUT=\xff\n")
    assert refusal({}) == ".env is not text in UTF-8"
    assert unknown_settings({}) == []  # and nothing else is said of it


def test_a_file_of_settings_that_may_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").symlink_to("/proc/self/mem")  # a file that even root cannot read from its start
    assert refusal({}).startswith(".env cannot be read")


def test_a_file_of_settings_that_cannot_even_be_looked_for_is_refused() -> None:
    out_of_reach = Path("x" * 300, ".env")  # as in a folder that this user may not enter
    assert unknown_settings({}, env_file=out_of_reach) == []
    with pytest.raises(UsageError, match="cannot be read: File name too long"):
        load_settings(env_file=out_of_reach)


# --- durations and deadlines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90s", 90),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1d", 86400),
        ("500ms", 0.5),
        ("45", 45),
        ("0.25", 0.25),
        (" 8h ", 28800),
        ("PT1H30M", 5400),
        ("PT0.5S", 0.5),
        ("PT1,5S", 1.5),
        ("P1DT1S", 86401),
        ("P1W", 604800),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "-1s", "1 h", "h", "1x", "inf", "nan", "1e3", "P", "PT", "P1DT", "P1M", "32d", "9" * 500],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_all_ways_to_write_a_duration_agree(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected
    assert parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}S") == expected
    assert parse_duration(str(int(expected))) == expected


@pytest.mark.parametrize(
    "now, text, expected",
    [
        ("2026-11-24T22:00+01:00", "06:30", "2026-11-25T06:30+01:00"),
        ("2026-11-24T05:00+01:00", "6:30", "2026-11-24T06:30+01:00"),
        ("2026-11-24T06:30+01:00", "06:30", "2026-11-25T06:30+01:00"),
        ("2026-11-24T22:00+01:00", "8h", "2026-11-25T06:00+01:00"),
        # The clocks go from 02:00 to 03:00 on 28 March 2027, and from 03:00 back to 02:00 on 31 October.
        ("2027-03-27T22:00+01:00", "8h", "2027-03-28T07:00+02:00"),
        ("2027-03-27T22:00+01:00", "06:30", "2027-03-28T06:30+02:00"),
        ("2027-03-28T01:30+01:00", "02:30", "2027-03-28T03:30+02:00"),
        ("2027-10-30T22:00+02:00", "06:30", "2027-10-31T06:30+01:00"),
        ("2027-10-31T01:00+02:00", "02:30", "2027-10-31T02:30+02:00"),
        ("2027-10-31T02:45+02:00", "02:30", "2027-10-31T02:30+01:00"),
        ("2027-10-31T02:45+01:00", "02:30", "2027-11-01T02:30+01:00"),
    ],
)
def test_the_deadline_is_the_next_such_moment_also_when_clocks_change(
    now: str, text: str, expected: str
) -> None:
    started = datetime.fromisoformat(now).astimezone(PARIS)
    assert parse_until(text).deadline(started).astimezone(UTC) == datetime.fromisoformat(expected)


def test_a_time_of_day_is_read_in_the_time_zone_of_the_settings() -> None:
    settings = load_settings({"until": "06:30", "timezone": "Asia/Tokyo"})
    assert settings.until == Until(at=time(6, 30))
    deadline = settings.deadline(datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert deadline.isoformat() == "2026-11-25T06:30:00+09:00"


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis adds it
    st.times(),
    st.sampled_from(["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
)
def test_a_time_of_day_comes_within_a_day_and_the_clocks_hour(now: datetime, at: time, zone: str) -> None:
    deadline = Until(at=at.replace(second=0, microsecond=0)).deadline(now.astimezone(ZoneInfo(zone)))
    assert timedelta(0) < deadline.astimezone(UTC) - now <= timedelta(hours=26)


# --- time zone, gateway, group -----------------------------------------------------------------------------------


def test_the_time_zone_is_the_systems(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Europe/Paris")
    assert system_timezone({}, link).key == "Europe/Paris"
    assert system_timezone({"TZ": ":Asia/Tokyo"}, link).key == "Asia/Tokyo"
    assert system_timezone({"TZ": f":{link}"}, tmp_path / "none").key == "Europe/Paris"
    assert system_timezone({"TZ": "posix/Asia/Tokyo"}, link).key == "Asia/Tokyo"
    assert system_timezone({"TZ": ""}, tmp_path / "none").key == "UTC"


@pytest.mark.parametrize("text", ["Europe/Pariss", "CET-1CEST,M3.5.0,M10.5.0/3", ":/no/such/zone"])
def test_a_tz_that_names_no_zone_is_refused_like_the_setting_and_not_passed_over(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The night would be that of another day, or end at another hour."""
    monkeypatch.setenv("TZ", text)
    with pytest.raises(UsageError, match=r"^TZ: not a time zone of this machine; .* or set RUNNER_TIMEZONE"):
        load_settings(env_file=None)
    assert load_settings({"timezone": "Asia/Tokyo"}, env_file=None).timezone.key == "Asia/Tokyo"


def test_a_machine_with_a_copy_of_its_zone_has_that_zone(tmp_path: Path) -> None:
    # The least that a zone file may hold: version 1, one kind of time, an hour east, called CET.
    counts = b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 4))
    copy = tmp_path / "localtime"
    copy.write_bytes(b"TZif" + bytes(16) + counts + (3600).to_bytes(4, "big") + b"\0\0" + b"CET\0")
    noon = datetime(2026, 11, 24, 12, tzinfo=system_timezone({}, copy))
    assert noon.utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.1.2.3/", "http://127.1.2.3"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTP://localhost:1", "http://localhost:1"),
        ("https://gateway.example.net", "https://gateway.example.net"),
        ("https://gateway.example.net:8443/", "https://gateway.example.net:8443"),
    ],
)
def test_a_gateway_is_taken_without_its_last_slash(text: str, expected: str) -> None:
    assert parse_gateway(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://example.net",
        "http://10.0.0.1",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://0.0.0.0",
        "http://127.1",
        "http://user:hunter2@127.0.0.1",
        "http://@127.0.0.1",
        "https://127.0.0.1/api",
        "https://127.0.0.1?x",
        "https://127.0.0.1#x",
        "https://127.0.0.1:99999",
        "https://127.0.0.1:0",
        "https://[::1",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "https://",
        "https://a b",
        "https://a\\b",
        "https://\u0430.net",
        "",
    ],
)
def test_a_gateway_that_would_send_keys_astray_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_gateway(text)
    assert "hunter2" not in str(caught.value)


def test_the_output_group_is_looked_up_by_name_or_number() -> None:
    group = grp.getgrgid(os.getgid())
    assert load_settings().output_group_id() is None
    assert load_settings({"output_group": group.gr_name}).output_group_id() == group.gr_gid
    assert load_settings({"output_group": "1234"}).output_group_id() == 1234
    with pytest.raises(UsageError, match=r"RUNNER_OUTPUT_GROUP: there is no group no-such-group"):
        load_settings({"output_group": "no-such-group"}).output_group_id()
    with pytest.raises(UsageError, match=r"there is no group 4294967295"):
        load_settings({"output_group": "4294967295"}).output_group_id()


def test_hosts_are_read_from_a_list() -> None:
    assert load_settings({"allowed_hosts": " .A.test, b.example.org,,"}).allowed_hosts == (
        "a.test",
        "b.example.org",
    )
