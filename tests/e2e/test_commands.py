"""Every command as a person or a scheduler meets it: what it says, what it writes, how it ends."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import jsonschema
import pytest
import yaml

from runner.options import SETTINGS
from runner.sandbox import MOODS, Configuration, Reports, RequestRecord, Scenario, Trigger
from runner.sandbox.scenario import DEFAULT_DATE
from tests.e2e.bureau import NIGHT, RUNNER, Bureau, Lucca, Moment, lucca, quick

COMMANDS = (
    "run",
    "plan",
    "check",
    "status",
    "explain",
    "retry",
    "skip",
    "verify",
    "schema",
    "init",
    "sandbox",
)
ANSI = re.compile(r"\x1b\[")
ASLEEP = Trigger(completes=False)


def two_tenants() -> Scenario:
    reports = Reports(in_manifest=True, pending_seconds=0.2)
    return Scenario(tenants=(quick("acme.ilucca.net"), quick("globex.ilucca.net", reports=reports)))


@pytest.fixture(scope="module")
def served() -> Iterator[Lucca]:
    with lucca(two_tenants(), most_per_minute=None) as running:
        yield running


@pytest.fixture(scope="module")
def done(served: Lucca, tmp_path_factory: pytest.TempPathFactory) -> Bureau:
    """A bureau after an ordinary night. Tests only look at it."""
    bureau = Bureau(tmp_path_factory.mktemp("done"), served.gateway)
    bureau.take(two_tenants())
    assert bureau.run().code == 0
    return bureau


@pytest.fixture
def fresh(tmp_path: Path) -> Bureau:
    """A bureau before its first night, whose gateway nobody listens at: nothing may be sent."""
    bureau = Bureau(tmp_path, "http://127.0.0.1:9")
    bureau.take(two_tenants())
    return bureau


# --- help and usage --------------------------------------------------------------------------------------------------


def test_help_lists_exactly_the_commands_that_are_built(fresh: Bureau) -> None:
    told = fresh.command("--help")
    listed = re.findall(r"^  ([a-z]+)  ", told.out.partition("Commands:")[2], flags=re.MULTILINE)
    assert (told.code, sorted(listed)) == (0, sorted(COMMANDS))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(fresh: Bureau, name: str) -> None:
    told = fresh.command(name, "--help")
    assert told.code == 0
    assert told.out.startswith("Usage: runner " + name)
    assert "[[" not in told.out
    assert "--help" in told.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--nonsense"),
        ("nonsense",),
        ("run", "--date", "2026-02-30"),
        ("run", "--date", "tomorrow"),
        ("run", "--kind", "import"),
        ("run", "--only", "nobody"),
        ("run", "--only", "acme/nothing"),
        ("run", "--only", "acme", "--only", "nobody"),
        ("run", "--tag", "weekly"),
        ("run", "--only", "acme", "--kind", "report"),
        ("run", "missing.yaml"),
        ("run", "--until", "25:00"),
        ("run", "--retrigger-after", "soon"),
        ("run", "--gateway", "http://lucca.example.com"),
        ("plan", "--only", "nobody"),
        ("plan", "--date", "0001-01-01"),
        ("check", "--date", "3000-01-01"),
        ("status", "--state", "~no-such-user-here/journal.db"),
        ("status", "--date", "2026-02-30"),
        ("verify", "--date", "2026-02-30"),
        ("explain", "acme/payroll", "--date", "2026-02-30"),
        ("retry", "--date", "2026-02-30"),
        ("run", "--output-group", "4294967296"),
        ("retry", "Acme"),
        ("retry", "missing.yaml"),
        ("explain", "acme"),
        ("schema", "night"),
    ],
    ids=" ".join,
)
def test_a_slip_is_a_usage_error_and_nothing_is_written(fresh: Bureau, arguments: tuple[str, ...]) -> None:
    told = fresh.command(*arguments, "--json")
    assert told.code == 2, told.err
    assert set(told.json()["error"]) >= {"code", "message"}
    assert "Traceback" not in told.err
    assert not fresh.output.exists()


# --- commands that only look -----------------------------------------------------------------------------------------


def test_plan_tells_what_would_run_and_touches_nothing(fresh: Bureau) -> None:
    told = fresh.command("plan", "--date", NIGHT, "--json")
    assert told.code == 0
    plan = told.json()
    assert [f"{job['tenant']}/{job['name']}" for job in plan["jobs"]] == [
        "acme/payroll",
        "globex/payroll",
        "globex/times",
    ]
    assert plan["jobs"][0]["ends_at"] == "2026-11-23T00:00:00"
    assert (plan["jobs"][2]["starts_on"], plan["jobs"][2]["ends_on"]) == ("2026-10-01", "2026-10-31")
    assert plan["requests"] == 3 + 3 + 4
    assert plan["minutes"] == 1
    shown = fresh.command("plan", "--date", NIGHT)
    assert shown.out == ""
    assert "acme/payroll" in shown.err
    assert "2026-11-23" in shown.err
    assert not fresh.output.exists()


def test_plan_knows_what_is_done(done: Bureau) -> None:
    plan = done.command("plan", "--date", NIGHT, "--json").json()
    assert {job["state"] for job in plan["jobs"]} == {"downloaded"}
    assert plan["requests"] == 0


def test_plan_tells_what_earlier_nights_left_as_the_run_takes_it_up(tmp_path: Path) -> None:
    scenario = Scenario(
        tenants=(MOODS["key_refused"]("acme.ilucca.net", DEFAULT_DATE), quick("globex.ilucca.net"))
    )
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        path = tmp_path / "tenants.yaml"
        reports = "    reports:\n      - {name: days, template_id: 12, period: yesterday}\n"
        path.write_text(path.read_text("utf-8") + reports, "utf-8")
        assert bureau.run().code == 3
    planned = bureau.command("plan", "--date", "2026-12-01", "--json").json()["jobs"]
    told = [(job["tenant"], job["name"], job["due"], job["state"]) for job in planned]
    missed = [("globex", "days", f"2026-11-{day}", "new") for day in range(25, 31)]
    assert [row for row in told if row[1] == "days"] == [("globex", "days", "2026-12-01", "new"), *missed]
    assert [row for row in told if row[0] == "acme"] == [
        ("acme", "payroll", "2026-12-01", "new"),
        ("acme", "payroll", NIGHT, "failed"),
    ]
    chosen = bureau.command("plan", "--date", "2026-12-01", "--only", "globex/payroll", "--json").json()[
        "jobs"
    ]
    assert [job["due"] for job in chosen] == ["2026-12-01"]


def test_check_is_offline_and_ends_with_2_for_any_fault(fresh: Bureau) -> None:
    assert fresh.command("check", "--json").json()["ok"] is True
    path = fresh.folder / "tenants.yaml"
    path.write_text(path.read_text("utf-8").replace("ends_at: monday", "ends_at: mondey", 1), "utf-8")
    told = fresh.command("check", "--json")
    (fault,) = told.json()["faults"]
    assert told.code == 2
    assert re.match(r"tenants\.yaml:\d+:\d+: tenants\[0\]\.exports\[0\]\.ends_at: ", fault)
    assert "monday" in fault
    assert not fresh.output.exists()


@pytest.mark.parametrize("module", ["runner.cli", "runner.app.planning"])
def test_who_looks_at_the_manifest_waits_for_nothing_that_only_a_night_needs(module: str) -> None:
    only_a_night = {"aiohttp", "jinja2", "rich", "sqlite3", "structlog"}
    if module == "runner.cli":  # help is made by the command-line library alone
        only_a_night |= {"asyncio", "pydantic", "yaml"}
    code = f"import sys, {module}; sys.exit(','.join({only_a_night!r} & set(sys.modules)) or 0)"
    # What is covered is measured with SQLite.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    argv = [sys.executable, "-c", code]
    told = subprocess.run(argv, check=False, capture_output=True, text=True, env=environ)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", ["status", "verify", "explain acme/payroll", "retry", "skip acme/payroll"]
)
def test_without_a_journal_they_say_so(fresh: Bureau, command: str) -> None:
    told = fresh.command(*command.split(), "--json")
    assert told.code == 6
    assert "journal" in told.json()["error"]["message"]
    assert not fresh.output.exists()


def test_status_tells_the_latest_night(done: Bureau) -> None:
    told = done.command("status", "--json").json()
    assert (told["date"], told["outcome"]) == (NIGHT, "ok")
    assert told["jobs"] == done.document()["jobs"]
    shown = done.command("status")
    assert (shown.out, shown.err.count("Arrivé")) == ("", 3)
    chosen = done.command("status", "--only", "globex", "--kind", "report", "--json").json()
    assert [job["name"] for job in chosen["jobs"]] == ["times"]


@pytest.mark.parametrize("command", ["status", "verify", "retry"])
def test_one_slip_among_several_names_is_told(done: Bureau, command: str) -> None:
    assert done.command(command, "--only", "acme", "--only", "globex/times").code == 0
    told = done.command(command, "--only", "acme", "--only", "globx", "--json")
    assert (told.code, "--only globx: " in told.json()["error"]["message"]) == (2, True)


def test_explain_tells_one_jobs_story(done: Bureau) -> None:
    told = done.command("explain", "acme/payroll", "--json").json()
    assert told["job"] == done.jobs()["acme/payroll"]
    assert [event["state"] for event in told["events"]][-1] == "downloaded"
    shown = done.command("explain", "acme/payroll", language="en")
    assert (shown.code, shown.out) == (0, "")
    assert "acme/payroll" in shown.err
    assert "Nothing to do." in shown.err


def test_verify_finds_a_file_that_was_changed_cut_or_taken(served: Lucca, tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, served.gateway)
    bureau.take(two_tenants())
    assert bureau.run().code == 0
    assert bureau.command("verify").code == 0
    first, second, third, *_ = bureau.data_files()
    changed = bureau.night() / first
    changed.write_bytes(changed.read_bytes().replace(b"1", b"2"))
    cut = bureau.night() / second
    cut.write_bytes(cut.read_bytes()[:-1])
    (bureau.night() / third).unlink()
    told = bureau.command("verify", "--json")
    assert told.code == 3
    assert sorted(row["path"] for row in told.json()["found"]) == [
        f"{NIGHT}/{p}" for p in (first, second, third)
    ]
    assert bureau.command("verify", "--only", "globex", "--kind", "report").code == 0


def test_the_schemas_hold_for_what_is_read_and_written(done: Bureau) -> None:
    manifest, run = done.command("schema").json(), done.command("schema", "run").json()
    assert done.command("schema", "run", "--json").json() == run
    assert "properties" in manifest
    assert "properties" in run
    read = yaml.load((done.folder / "tenants.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    assert read["defaults"].pop("requests_per_minute") == "45"
    numbers = {"configuration_id": 3, "template_id": 12}
    for tenant in read["tenants"]:
        for entry in (*tenant.get("exports", ()), *tenant.get("reports", ())):
            entry |= {name: number for name, number in numbers.items() if name in entry}
    jsonschema.validate(read | {"version": 1}, manifest)
    jsonschema.validate(done.document(), run)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "tenants": [{"nmae": "acme"}]}, manifest)


def test_init_writes_a_manifest_that_passes_check_and_never_over_one(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    assert bureau.command("init", "--json").json() == {"manifest": "tenants.yaml"}
    checked = bureau.command("check")
    assert checked.code == 0, checked.err
    again = bureau.command("init", "--json")
    assert again.code == 2
    assert "tenants.yaml" in again.json()["error"]["message"]
    elsewhere = bureau.command("init", "nowhere/tenants.yaml", "--json")
    assert elsewhere.code == 6


def test_a_person_can_try_everything_against_the_sandbox(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        f"date: {NIGHT}\ntenants:\n  - {{domain: acme.ilucca.net, configurations: [{{trigger: {{seconds: 0.1}}}}]}}\n",
        "utf-8",
    )
    with bureau.start("sandbox", "scenario.yaml", "--port", "0", "--write", "lucca") as sandbox:
        assert sandbox.process.stderr is not None
        line = sandbox.process.stderr.readline()
        gateway = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert gateway is not None, line
        ran = bureau.command("run", "lucca/tenants.yaml", "--date", NIGHT, "--gateway", gateway[0])
        assert ran.code == 0, ran.err
        assert stat.S_IMODE((tmp_path / "lucca/keys/acme").stat().st_mode) == 0o600
        sandbox.signal(signal.SIGINT)
        assert sandbox.end().code in (0, 130)


@pytest.mark.parametrize("stands", ["tenants.yaml", "keys/acme"])
def test_the_sandbox_writes_over_nothing_but_its_own(tmp_path: Path, stands: str) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / stands).write_text("somebody's own", "utf-8")
    (tmp_path / "scenario.yaml").write_text("tenants: [{domain: acme.ilucca.net}]\n", "utf-8")
    told = Bureau(tmp_path).command("sandbox", "scenario.yaml", "--port", "0", "--write", ".")
    assert (told.code, (tmp_path / stands).read_text("utf-8")) == (2, "somebody's own")
    for _ in range(2):
        with Bureau(tmp_path).start("sandbox", "scenario.yaml", "--port", "0", "--write", "lucca") as sandbox:
            assert sandbox.process.stderr is not None
            assert "listens at" in sandbox.process.stderr.readline()


@pytest.mark.parametrize(
    "arguments, code",
    [(("--port", "99999"), 2), (("--port", "-1"), 2), (("--tenants", "0"), 2), (("--write", "file"), 6)],
    ids=str,
)
def test_a_sandbox_that_cannot_be_is_told_in_words(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    (tmp_path / "file").touch()
    told = Bureau(tmp_path).command("sandbox", *arguments)
    assert told.code == code
    assert "internal error" not in told.err


# --- a run, and how it ends ------------------------------------------------------------------------------------------


def test_a_selection_runs_what_it_names_and_is_judged_by_that(served: Lucca, tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, served.gateway)
    bureau.take(two_tenants())
    assert bureau.run("--only", "globex/times").code == 0
    assert {label: job["state"] for label, job in bureau.jobs().items()} == {
        "acme/payroll": "pending",
        "globex/payroll": "pending",
        "globex/times": "downloaded",
    }
    assert bureau.document()["outcome"] == "incomplete"
    told = bureau.run("--kind", "export", "--json")
    shown, written = told.json(), bureau.document()
    assert shown.pop("written_at") >= written.pop("written_at")
    assert (told.code, shown) == (0, written)
    assert bureau.document()["outcome"] == "ok"


def test_tags_choose_tenants(fresh: Bureau, served: Lucca) -> None:
    path = fresh.folder / "tenants.yaml"
    text = path.read_text("utf-8").replace("  - name: acme\n", "  - name: acme\n    tags: [monthly]\n")
    path.write_text(text, "utf-8")
    planned = fresh.command("plan", "--date", NIGHT, "--tag", "monthly", "--json").json()
    assert [job["tenant"] for job in planned["jobs"]] == ["acme"]
    assert fresh.run("--tag", "monthly", gateway=served.gateway).code == 0
    assert [path.split("/")[0] for path in fresh.data_files()] == ["acme", "acme"]


@pytest.mark.parametrize(
    "tags, code",
    [("[weekly]", 0), ("[monthly]", 3), ("monthly", 3), ("[weekly]\n    tags: [monthly]", 3)],
    ids=str,
)
def test_only_the_selected_tenants_faults_count(fresh: Bureau, tags: str, code: int) -> None:
    path = fresh.folder / "tenants.yaml"
    text = path.read_text("utf-8").replace("  - name: acme\n", "  - name: acme\n    tags: [monthly]\n")
    path.write_text(f"{text}  - name: hooli\n    tags: {tags}\n    sinc: 2026-11-01\n  - 5\n", "utf-8")
    assert fresh.command("plan", "--date", NIGHT, "--only", "acme").code == 0
    assert fresh.command("plan", "--date", NIGHT).code == 3
    path.write_text(path.read_text("utf-8").removesuffix("  - 5\n"), "utf-8")
    assert fresh.command("plan", "--date", NIGHT, "--tag", "monthly").code == code


def test_where_nothing_is_due_nothing_changes(done: Bureau, served: Lucca) -> None:
    before = {path: path.read_bytes() for path in done.night().glob("*/*")}
    sums, jobs, requests = (done.night() / "SHA256SUMS").read_bytes(), done.jobs(), served.requests()
    assert done.run().code == 0
    assert {path: path.read_bytes() for path in done.night().glob("*/*")} == before
    assert (done.night() / "SHA256SUMS").read_bytes() == sums
    assert (done.jobs(), served.requests()) == (jobs, requests)


def test_the_deadline_ends_the_night_with_4_and_the_next_run_goes_on(tmp_path: Path) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=2.5)),))
    scenario = Scenario(tenants=(slow,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        told = bureau.run("--until", "1.5s", "--retrigger-after", "20s")
        assert told.code == 4
        assert bureau.document()["outcome"] == "incomplete"
        assert bureau.jobs()["acme/payroll"]["state"] == "polling"
        assert "L'heure limite est arrivée" in bureau.words()
        assert bureau.run("--retrigger-after", "20s").code == 0
        assert [t["state"] for t in bureau.jobs()["acme/payroll"]["transitions"]] == [
            "triggered",
            "polling",
            "downloading",
            "downloaded",
        ]
        assert len(served.triggers()) == 1


@pytest.mark.parametrize(
    "number, code, seconds",
    [(signal.SIGTERM, 143, 6.0), (signal.SIGINT, 130, 1.5), (signal.SIGHUP, 143, 1.5)],
)
def test_a_signal_stops_the_night_soon_and_the_next_run_goes_on(
    tmp_path: Path, number: signal.Signals, code: int, seconds: float
) -> None:
    # One may be answered before the runner leaves, the other takes until it is told that the hour has passed.
    posting = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=seconds)),))
    waiting = quick("globex.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=600.0)),))
    scenario = Scenario(tenants=(posting, waiting))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        settings = {"retrigger_after": "40s", "trigger_timeout": "30s"}
        moment = Moment(4)
        served.on_request = moment.seen
        with bureau.start("run", "--date", NIGHT, **settings) as night:
            assert moment.wait(60)
            time.sleep(0.2)
            begun = time.monotonic()
            night.signal(number)
            told = night.end()
        assert told.code == code, told.err
        assert time.monotonic() - begun < 10
        assert bureau.document()["outcome"] == "incomplete"
        assert bureau.document()["finished_at"] is not None
        served.on_request = None
        served.forward(600.0)
        assert bureau.run(**settings).code == 0
        assert len(served.triggers()) == 2


def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=1.5)),))
    scenario = Scenario(tenants=(slow,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        moment = Moment(2)
        served.on_request = moment.seen
        with bureau.start(str(RUNNER), "run", "--date", NIGHT, program="nohup") as night:
            assert moment.wait(60)
            night.signal(signal.SIGHUP)
            told = night.end()
        assert told.code == 0, told.err
        assert bureau.document()["outcome"] == "ok"


def test_of_two_runners_one_leaves_having_sent_nothing(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"), quick("globex.ilucca.net")))
    with lucca(scenario) as served, ThreadPoolExecutor(2) as waiting:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        asked, released = threading.Event(), threading.Event()

        def held(_record: RequestRecord) -> None:
            asked.set()
            assert released.wait(60)

        served.on_request = held
        with (
            bureau.start("run", "--date", NIGHT, retrigger_after="20s") as one,
            bureau.start("run", "--date", NIGHT, "--json", retrigger_after="20s") as other,
        ):
            assert asked.wait(60)
            # A third comes when the first is at work, which it is until the others have left.
            third = bureau.run("--json")
            ends = [waiting.submit(one.end), waiting.submit(other.end)]
            wait(ends, return_when=FIRST_COMPLETED)
            released.set()
            ended = sorted([end.result() for end in ends], key=lambda told: told.code)
        assert [told.code for told in ended] == [0, 5]
        assert (third.code, third.json()["error"]["code"]) == (5, "locked")
        assert len(served.triggers()) == 2
        assert served.posts() == 2
        assert bureau.jobs()["acme/payroll"]["state"] == "downloaded"


def test_a_run_at_work_can_be_looked_at(tmp_path: Path) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=600.0)),))
    scenario = Scenario(tenants=(slow, MOODS["key_refused"]("globex.ilucca.net", DEFAULT_DATE)))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        moment = Moment(5)
        served.on_request = moment.seen
        with bureau.start("run", "--date", NIGHT, retrigger_after="80s", until="80s") as night:
            assert moment.wait(60)
            assert bureau.document()["outcome"] == "running"
            assert bureau.document()["finished_at"] is None
            assert "La nuit est en cours" in bureau.words()
            with (
                bureau.start("status", "--json") as status,
                bureau.start("explain", "acme/payroll") as explain,
                bureau.start("verify") as verify,
                bureau.start("retry", "globex/payroll", "--json") as retry,
            ):
                told = status.end().json()
                codes = [started.end().code for started in (explain, verify, retry)]
            assert (told["outcome"], told["jobs"][0]["state"]) == ("running", "polling")
            assert codes == [0, 0, 5]
            served.forward(600.0)
            assert night.end().code == 3


@pytest.mark.parametrize("place", ["output", "journal", "night"])
def test_what_cannot_be_written_ends_with_6_and_nothing_sent(
    fresh: Bureau, served: Lucca, place: str
) -> None:
    # A file where a folder must be: not even root can write there.
    requests = served.requests()
    if place == "output":
        fresh.output.write_text("in the way", "utf-8")
    elif place == "journal":
        (fresh.folder / "state").write_text("in the way", "utf-8")
        fresh.environ["RUNNER_STATE"] = "state/journal.db"
    else:
        fresh.output.mkdir()
        fresh.night().write_text("in the way", "utf-8")
    told = fresh.run("--json", gateway=served.gateway)
    assert told.code == 6, told.err
    assert told.json()["error"]["code"] == "storage"
    assert "Traceback" not in told.err
    assert served.requests() == requests


def test_a_journal_that_is_none_is_left_alone(fresh: Bureau) -> None:
    journal = fresh.output / ".runner/journal.db"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"not a database" * 1000)
    told = fresh.run("--json")
    assert told.code == 6
    assert "journal" in told.json()["error"]["message"]
    assert journal.read_bytes() == b"not a database" * 1000


def test_every_setting_is_a_flag_of_the_nightly_run(fresh: Bureau) -> None:
    told = fresh.command("run", "--help").out
    assert [setting.flag for setting in SETTINGS if f"  {setting.flag} {setting.metavar}" not in told] == []


def test_a_flag_comes_before_the_environment_before_the_env_file(fresh: Bureau) -> None:
    del fresh.environ["RUNNER_GATEWAY"]
    (fresh.folder / ".env").write_text(
        "RUNNER_OUTPUT=of-file\nRUNNER_STATE=file.db\nRUNNER_MANIFEST=none.yaml\n", "utf-8"
    )

    def journal_of(*arguments: str, **changes: str) -> str:
        told = fresh.command("status", *arguments, **changes)
        assert told.code == 6
        found = re.search(r"no journal at (\S+)", told.err)
        assert found is not None, told.err
        return found[1]

    assert journal_of() == "file.db"
    assert journal_of(state="environment.db") == "environment.db"
    assert journal_of("--state", "flag.db", state="environment.db") == "flag.db"
    assert "none.yaml" in fresh.command("check").err
    assert fresh.command("check", "tenants.yaml").code == 0
    assert fresh.command("check", "--manifest", "tenants.yaml", manifest="other.yaml").code == 0
    assert fresh.command("check", manifest="tenants.yaml").code == 0
    assert fresh.command("check", "tenants.yaml", "--manifest", "none.yaml").code == 2


def test_one_of_a_thing_is_not_told_in_the_plural(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        assert "tenants.yaml: 1 tenant, no fault" in bureau.command("check").err
        assert "1 of 1 job to do" in bureau.command("plan", "--date", NIGHT).err
        assert bureau.run().code == 0
        assert f"{NIGHT}: ok; 1 job\n" in bureau.command("status").err


def test_failed_jobs_are_tried_again_when_a_person_says_so(tmp_path: Path) -> None:
    never = quick(
        "acme.ilucca.net", configurations=(Configuration(triggers=(ASLEEP,), trigger=Trigger(seconds=0.1)),)
    )
    scenario = Scenario(tenants=(never,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        settings = {"max_triggers": "1", "retrigger_after": "2s"}
        assert bureau.run(**settings).code == 3
        assert bureau.jobs()["acme/payroll"]["error"]["code"] == "no_export"
        assert bureau.run(**settings).code == 3
        assert len(served.triggers()) == 1
        assert bureau.command("retry", "acme/nothing").code == 2
        assert bureau.command("retry", "nobody").code == 2
        told = bureau.command("retry", "acme/payroll", "--reason", "seen with Lucca", "--json")
        assert (told.code, len(told.json()["retried"])) == (0, 1)
        assert bureau.command("retry").code == 0
        assert bureau.command("retry", "acme", "--json").json() == {"retried": []}
        story = bureau.command("explain", "acme/payroll", "--json").json()
        assert "seen with Lucca" in json.dumps(story["events"])
        assert bureau.run(**settings).code == 0
        assert len(served.triggers()) == 2


def test_a_dated_retry_takes_what_that_night_told_as_failed(tmp_path: Path) -> None:
    """A monthly report is due on the 1st; it fails in the night of the 24th, and that is the date on the page."""
    scenario = Scenario(tenants=(MOODS["key_refused"]("acme.ilucca.net", DEFAULT_DATE),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(
            scenario,
            "version: 1\ntenants:\n- name: acme\n  domain: acme.ilucca.net\n  api_key: {file: keys/acme}\n  reports:\n"
            "  - {name: times, template_id: 12, period: previous-month}\n",
        )
        assert bureau.run().code == 3
        assert bureau.jobs()["acme/times"]["due"] == "2026-11-01"
        assert bureau.command("retry", "--date", "2026-11-23", "--json").json() == {"retried": []}
        assert len(bureau.command("retry", "--date", NIGHT, "--json").json()["retried"]) == 1


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_command_that_is_stopped_before_its_night_tells_it_in_one_document_too(
    fresh: Bureau, number: signal.Signals, code: int, verb: str
) -> None:
    stopped = (
        "import os\n"
        "from runner import cli\n"
        "from runner.app import acting, planning\n"
        f"def stop(*_, **__): os.kill(os.getpid(), {number.value})\n"
        "planning.plan = acting.run = stop\n"
        "cli.main()\n"
    )
    with fresh.start("-c", stopped, verb, "--json", program=sys.executable) as started:
        told = started.end()
    assert (told.code, told.json()["error"]["code"]) == (code, "interrupted")
    assert number.name in told.json()["error"]["message"]
    assert "Traceback" not in told.err


def test_a_command_that_is_stopped_before_it_was_read_tells_it_too(fresh: Bureau) -> None:
    stopped = (
        "import os, signal\n"
        "from runner import cli\n"
        "def read(): os.kill(os.getpid(), signal.SIGTERM)\n"
        "cli.app.registered_callback.callback = read\n"
        "cli.main()\n"
    )
    with fresh.start("-c", stopped, "plan", "--json", program=sys.executable) as started:
        told = started.end()
    assert (told.code, told.json()["error"]["code"]) == (143, "interrupted")


def test_who_has_no_name_on_this_machine_may_decide_too(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(MOODS["key_refused"]("acme.ilucca.net", DEFAULT_DATE),))
    # As in a container that was given a number for its user.
    nameless = (
        "import os, pwd\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "for name in ('LOGNAME', 'USER', 'LNAME', 'USERNAME'): os.environ.pop(name, None)\n"
        "from runner.cli import main; main()"
    )
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        assert bureau.run().code == 3
        with bureau.start("-c", nameless, "retry", "acme", program=sys.executable) as started:
            told = started.end()
        assert told.code == 0, told.err
        events = bureau.command("explain", "acme/payroll", "--json").json()["events"]
        assert f"by uid {os.getuid()}@" in events[-1]["note"]


def test_what_was_refused_is_taken_up_again_and_not_within_the_hour(tmp_path: Path) -> None:
    scenario = Scenario(
        tenants=(
            MOODS["rejected"]("acme.ilucca.net", DEFAULT_DATE),
            MOODS["key_refused"]("globex.ilucca.net", DEFAULT_DATE),
        )
    )
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        assert bureau.run(retrigger_after="60s").code == 3
        assert bureau.jobs()["acme/payroll"]["error"]["code"] == "rejected"
        # Of several exit codes the deadline's comes before that of a refused key.
        assert bureau.run("--until", "1.5s", retrigger_after="60s").code == 4
        assert {label: job["state"] for label, job in bureau.jobs().items()} == {
            "acme/payroll": "polling",
            "globex/payroll": "failed",
        }
        assert len(served.triggers()) == 1
        assert bureau.run(retrigger_after="1s").code == 3
        assert len(served.triggers()) == 2


def test_under_cron_it_speaks_plainly_and_in_json(tmp_path: Path) -> None:
    scenario = two_tenants()
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        told = bureau.run()
        assert (told.code, told.out) == (0, "")
        assert not ANSI.search(told.err)
        *events, closing = told.err.strip().splitlines()
        assert closing.startswith("runner: ")
        assert {json.loads(line)["event"] for line in events} >= {"export.triggered", "export.downloaded"}
        quiet = bureau.run(log_level="warning")
        assert len(quiet.err.strip().splitlines()) == 1
        plain = bureau.run("--log-format", "console")
        assert not ANSI.search(plain.err)


def test_a_night_does_not_need_a_listener(tmp_path: Path) -> None:
    scenario = two_tenants()
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        with bureau.start("run", "--date", NIGHT, "--json") as night:
            # As with `2>&1 | head -1`: whoever read has gone, long before the end.
            assert night.process.stdout is not None
            assert night.process.stderr is not None
            night.process.stdout.close()
            night.process.stderr.close()
            assert night.process.wait(30) == 0
        assert bureau.document()["outcome"] == "ok"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_night_runs_with_its_standard_streams_closed(fresh: Bureau, served: Lucca, closed: str) -> None:
    fresh.environ["RUNNER_GATEWAY"] = served.gateway
    shell = f'exec "{RUNNER}" run --date {NIGHT} --json {closed}'
    with fresh.start("-c", shell, program="/bin/sh") as night:
        told = night.end()
    assert told.code == 0, told.err
    assert fresh.document()["outcome"] == "ok"
    assert told.out == "" if ">&-" in closed.split() else told.json()["outcome"] == "ok"


@pytest.mark.parametrize("verb", ["schema", f"plan --json --date {NIGHT}", "--help"])
def test_a_document_that_the_full_disk_below_stdout_swallowed_is_not_called_good(
    verb: str, fresh: Bureau
) -> None:
    with fresh.start("-c", f'exec "{RUNNER}" {verb} > /dev/full', program="/bin/sh") as asked:
        told = asked.end()
    assert told.code == 6
    assert told.err.endswith("runner: standard output could not be written: its disk is full\n")


def test_what_nobody_reads_to_its_end_changes_no_exit_code(fresh: Bureau) -> None:
    with fresh.start("schema") as schema:
        assert schema.process.stdout is not None
        schema.process.stdout.close()
        assert schema.process.wait(30) == 0


@pytest.mark.parametrize(
    "verb", ["run", "plan", "status", "verify", "retry", "skip acme/payroll", "explain acme/payroll"]
)
@pytest.mark.parametrize("setting", ["output", "state"])
def test_a_journal_that_cannot_even_be_looked_for_is_told_as_trouble_with_storage(
    verb: str, setting: str, fresh: Bureau
) -> None:
    out_of_reach = str(fresh.folder / ("x" * 300) / "y")  # as below a folder that this user may not enter
    told = fresh.command(*verb.split(), "--json", **{setting: out_of_reach})
    assert told.code == 6
    assert told.json()["error"]["code"] == "storage"
    assert "cannot be looked for: File name too long. To do: give this user the right" in told.err


@pytest.mark.parametrize(
    "text", ["2026-2-3", "20261124", "2026-W48-2", "2026-11-24 ", "2026-11-31", "\uff12026-11-24"]
)
def test_a_batch_date_is_a_date_in_four_two_and_two_digits(text: str, fresh: Bureau) -> None:
    told = fresh.command("plan", "--date", text)
    exists_not = "the date 2026-11-31 does not exist"
    why = exists_not if text in exists_not else "write a date as YYYY-MM-DD, for example 2026-11-30"
    assert (told.code, told.err) == (2, f"runner: --date {text}: {why}\n")


def test_the_batch_date_is_today_in_the_timezone_unless_told(fresh: Bureau) -> None:
    east = fresh.command("plan", "--json", timezone="Pacific/Kiritimati").json()["date"]
    west = fresh.command("plan", "--json", timezone="Pacific/Pago_Pago").json()["date"]
    assert east > west
    assert fresh.command("plan", "--json", "--date", "2026-12-01").json()["date"] == "2026-12-01"


def test_version_is_told(fresh: Bureau) -> None:
    assert re.fullmatch(r"runner \d+\.\d+\S*\n", fresh.command("--version").out)
