"""A small payroll bureau for tests: a folder with its manifest and keys, the `runner` command, a local Lucca.

Owns how they are set up and read. The command runs as a process of its own and is told everything by its environment
and its arguments, as under cron; nothing of it is imported here but the sandbox. After every command all that it said
and left is searched for keys and names, and when the local Lucca closes no host has counted more than its budget.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from runner.clock import Instant, SystemClock
from runner.sandbox import (
    Configuration,
    RequestRecord,
    Scenario,
    TenantScenario,
    Trigger,
    TriggerRecord,
    World,
    scenario_keys,
    scenario_manifest,
    serve,
)
from tests.canaries import files_below, leaks
from tests.e2e.forks import Forks
from tests.figures import note

T = TypeVar("T")

RUNNER = Path(sys.executable).with_name("runner")
NIGHT = "2026-11-24"
HOUR_SECONDS = 3.0
"""What the tests take for the hour between two triggers."""

REQUESTS_PER_MINUTE = 45
"""The budget of each host; no test asks for more."""

LOOK_SECONDS = 0.1
"""How often the local Lucca sees how late it is."""

QUICK: Mapping[str, str] = {
    "RUNNER_RETRIGGER_AFTER": f"{HOUR_SECONDS}s",
    "RUNNER_TRIGGER_TIMEOUT": "1s",
    "RUNNER_EXPORT_POLL_INTERVAL": "800ms",
    "RUNNER_REPORT_POLL_INTERVAL": "400ms",
    "RUNNER_REPORT_TIMEOUT": "6s",
    "RUNNER_REQUESTS_PER_MINUTE": f"{REQUESTS_PER_MINUTE}",
    "RUNNER_UNTIL": "50s",
    "RUNNER_TIMEZONE": "Europe/Paris",
    "RUNNER_LOG_LEVEL": "debug",
}
"""Intervals with which a night passes in seconds."""


class FirstRequestClock:
    """The machine's clock, standing still until the first request: a slow start of the command shifts nothing."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._standing: Instant | None = self._clock.now()
        self._lost = 0.0

    def now(self) -> Instant:
        if self._standing is not None:
            return self._standing
        now = self._clock.now()
        return Instant(now.wall, now.boot_seconds - self._lost, now.boot_id)

    def boot_seconds(self) -> float:
        return self.now().boot_seconds

    async def wait(self, seconds: float) -> None:
        await self._clock.wait(seconds)

    def start(self) -> None:
        if self._standing is not None:
            self._lost += self._clock.now().boot_seconds - self._standing.boot_seconds
            self._standing = None

    def forward(self, seconds: float) -> None:
        self._lost -= seconds


class Lucca:
    """The sandbox, served by a thread of its own. Ask it through `tell`, since its world is not for two threads."""

    def __init__(self, portal: BlockingPortal, world: World, clock: FirstRequestClock, port: int) -> None:
        self._portal = portal
        self._world = world
        self._clock = clock
        self.port = port
        self.gateway = f"http://127.0.0.1:{port}"
        self.on_request: Callable[[RequestRecord], None] | None = None
        self.late_seconds = 0.0
        """So much later than it came, at most, was a request noted here: this machine has others to serve."""

    async def watch(self) -> None:
        """See how late this thread gets its turn."""
        while True:
            expected = time.monotonic() + LOOK_SECONDS
            await anyio.sleep(LOOK_SECONDS)
            self.late_seconds = max(self.late_seconds, time.monotonic() - expected)

    def tell(self, question: Callable[[World], T]) -> T:
        return self._portal.call(question, self._world)

    def forward(self, seconds: float) -> None:
        """Let so much time have gone by here: what was to take as long is ready, however slow this machine."""
        self._portal.call(self._clock.forward, seconds)

    def triggers(self, domain: str = "") -> list[TriggerRecord]:
        """The POSTs for exports, of one domain or of all."""
        return [t for t in self.tell(lambda world: list(world.triggers)) if domain in ("", t.domain)]

    def posts(self) -> int:
        """How many POSTs came, of any kind."""
        return self.tell(lambda world: sum(record.method == "POST" for record in world.log))

    def wait_for_exports(self, domain: str, count: int) -> None:
        """Return when a tenant has so many exports."""
        end = time.monotonic() + 30
        while self.tell(lambda world: len(world.exports(domain))) < count:
            assert time.monotonic() < end, "the exports did not come"
            time.sleep(0.05)

    def requests(self, domain: str = "") -> int:
        return self.tell(lambda world: sum(domain in ("", record.domain) for record in world.log))


@contextmanager
def lucca(scenario: Scenario, *, most_per_minute: int | None = REQUESTS_PER_MINUTE) -> Iterator[Lucca]:
    """Serve `scenario` on a free port of the loopback address.

    At the end no host has counted more than `most_per_minute`; None where several bureaus share it, each with its own
    journal.
    """
    clock = FirstRequestClock()

    async def serving(world: World, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
        await serve(world, ready=task_status.started)

    with start_blocking_portal() as portal:
        world = portal.call(World, scenario, clock)
        future: Future[None]
        future, port = portal.start_task(serving, world)
        served = Lucca(portal, world, clock, port)
        watching = portal.start_task_soon(served.watch)

        def seen(record: RequestRecord) -> None:
            clock.start()
            if served.on_request is not None:
                served.on_request(record)

        world.on_request = seen
        try:
            yield served
            domains = [tenant.domain for tenant in scenario.tenants]
            busiest = served.tell(lambda world: {d: world.max_requests_in_any_60_seconds(d) for d in domains})
            if most_per_minute is not None:
                assert {domain: most for domain, most in busiest.items() if most > most_per_minute} == {}
                note("budget", hosts=len(busiest))
        finally:
            watching.cancel()
            future.cancel()


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Started:
    """A command under way. At its end `leaks` tells, given its words, what keys and names it left somewhere."""

    def __init__(self, process: subprocess.Popen[str], leaks: Callable[[str], list[str]]) -> None:
        self.process = process
        self._leaks = leaks
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        if error is None:
            assert self._leaks(self._said) == []

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 60.0) -> Result:
        out, err = self.process.communicate(timeout=seconds)
        self._said = out + err
        return Result(self.process.returncode, out, err)


class Bureau:
    """A folder from which `runner` is run: as a program that is started, or where there are `forks`, as one of them."""

    def __init__(self, folder: Path, gateway: str | None = None, *, forks: Forks | None = None) -> None:
        self.folder = folder
        self.forks = forks
        self.output = folder / "output"
        self.environ: dict[str, str] = dict(QUICK)
        self.keys: set[str] = set()
        if gateway is not None:
            self.environ["RUNNER_GATEWAY"] = gateway

    def take(self, scenario: Scenario, manifest: str | None = None) -> None:
        """Write the manifest and the keys with which to meet `scenario`."""
        text = scenario_manifest(scenario, "file") if manifest is None else manifest
        (self.folder / "tenants.yaml").write_text(text, encoding="utf-8")
        (self.folder / "keys").mkdir(exist_ok=True, mode=0o700)
        self.keys |= {key for tenant in scenario.tenants for key in (tenant.key, tenant.client_key) if key}
        for path, key in scenario_keys(scenario, "file").items():
            (self.folder / path).write_text(key + "\n", encoding="utf-8")
            (self.folder / path).chmod(0o600)

    def environment(self, **changes: str) -> dict[str, str]:
        """What a command is told; `changes` are settings by their names without the prefix."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
        return environ | self.environ | {f"RUNNER_{name.upper()}": value for name, value in changes.items()}

    def start(self, *arguments: str, program: str | Path = RUNNER, **changes: str) -> Started:
        """Start a command."""
        return Started(
            subprocess.Popen(
                [program, *arguments],
                cwd=self.folder,
                env=self.environment(**changes),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            ),
            self.leaked,
        )

    def leaked(self, said: str) -> list[str]:
        """Keys, and names where none belong, in all that stands here by now, what a kill left included."""
        return leaks(self.keys, [("what was said", said.encode()), *files_below(self.folder, "keys")])

    def command(self, *arguments: str, **changes: str) -> Result:
        """Run a command to its end."""
        if self.forks is not None:
            return self.forked(self.forks, "runner", *arguments, **changes)
        with self.start(*arguments, **changes) as started:
            return started.end()

    def forked(self, forks: Forks, program: str, *arguments: str, **changes: str) -> Result:
        """The same by one of these."""
        result = Result(**forks.run(program, arguments, self.folder, self.environment(**changes)))
        assert self.leaked(result.out + result.err) == []
        return result

    def run(self, *arguments: str, date: str = NIGHT, **changes: str) -> Result:
        """`runner run` of a night."""
        return self.command("run", "--date", date, *arguments, **changes)

    # --- what a night left -------------------------------------------------------------------------------------------

    def night(self, date: str = NIGHT) -> Path:
        return self.output / date

    def document(self, date: str = NIGHT) -> Any:
        return json.loads((self.night(date) / "run.json").read_text(encoding="utf-8"))

    def jobs(self, date: str = NIGHT) -> dict[str, Any]:
        """The jobs of run.json, by `tenant/name`."""
        return {f"{job['tenant']}/{job['name']}": job for job in self.document(date)["jobs"]}

    def page(self, date: str = NIGHT) -> str:
        return (self.night(date) / "index.html").read_text(encoding="utf-8")

    def words(self, date: str = NIGHT) -> str:
        """The morning page as a person reads it."""
        return read_page(self.page(date))

    def data_files(self, date: str = NIGHT) -> list[str]:
        """The files of the tenants, by their paths from the night's folder."""
        folder = self.night(date)
        return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))

    def content(self, path: str, date: str = NIGHT) -> Any:
        return json.loads((self.night(date) / path).read_bytes())["data"]

    def check_sums(self, date: str = NIGHT) -> None:
        """`sha256sum -c` is content, and every data file stands in the list."""
        folder = self.night(date)
        listed = {line[66:] for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines()}
        assert listed == set(self.data_files(date))
        if listed:
            subprocess.run(
                ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True
            )

    def leftovers(self) -> list[str]:
        """Whatever stands in the output that no promise names."""
        known = re.compile(
            r"\.runner|\.runner/journal\.db|\.runner/journal\.db\.lock"
            r"|\.runner/quarantine(/\d{4}-\d\d-\d\d\.[a-z0-9_-]+\.[a-z0-9_-]+\.\d+\.body)?"
            r"|\d{4}-\d\d-\d\d|\d{4}-\d\d-\d\d/(SHA256SUMS|run\.json|index\.html)"
            r"|\d{4}-\d\d-\d\d/[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*-\d+(\.fr)?\.(json|csv|xls))?"
        )
        paths = (str(path.relative_to(self.output)) for path in self.output.rglob("*"))
        return sorted(path for path in paths if not known.fullmatch(path))


def read_page(html: str) -> str:
    """The words of a page: no tags, no style sheet, plain spaces and apostrophes."""
    body = re.sub(r"<(style|head)\b.*?</\1>", " ", html, flags=re.DOTALL)
    text = unescape(re.sub(r"<[^>]+>", " ", body)).replace("’", "'")
    return re.sub(r"\s+([.,])", r"\1", " ".join(text.split()))


def check_files(bureau: Bureau, job: Mapping[str, Any], date: str = NIGHT) -> None:
    """Every file that run.json names is there with the size and the hash it tells."""
    for file in job["files"]:
        body = (bureau.night(date) / file["path"]).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file["bytes"], file["sha256"]), file["path"]


def entries_on_disk(bureau: Bureau, tenant: str, name: str) -> Counter[int]:
    """The entries in the export's files, each as often as it stands there."""
    paths = [
        path
        for path in bureau.data_files()
        if path.startswith(f"{tenant}/{name}-") and path.endswith(".json")
    ]
    return Counter(entry["id"] for path in paths for entry in bureau.content(path)["entries"])


def entries_made(world: World, domain: str, configuration_id: int) -> Counter[int]:
    """The entries that the server put into exports of ours, each once."""
    made = [
        e for e in world.exports(domain) if e.origin == "trigger" and e.configuration_id == configuration_id
    ]
    counted = Counter(id_ for export in made for id_ in world.entry_ids(domain, export.id))
    assert counted
    assert max(counted.values()) == 1
    return counted


def executed_too_soon(
    records: list[TriggerRecord], hour_seconds: float = HOUR_SECONDS
) -> list[TriggerRecord]:
    """Triggers that the server executed although an earlier one of the same export was not an hour old."""
    soon = []
    last: dict[tuple[str, int | None, str | None], float] = {}
    for record in records:
        if not record.executed:
            continue
        identity = (record.domain, record.configuration_id, record.ends_at)
        if identity in last and record.at_seconds - last[identity] < hour_seconds:
            soon.append(record)
        last[identity] = record.at_seconds
    return soon


class Moment:
    """The moment of the nth request: `wait` for it in one thread, `seen` it in another."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self._event = threading.Event()

    def seen(self, record: RequestRecord) -> None:
        self._left -= 1
        if self._left <= 0:
            self._event.set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)


def scenario_of(*tenants: TenantScenario, seed: int = 1) -> Scenario:
    return Scenario(tenants=tenants, seed=seed)


def quick(domain: str, **more: Any) -> TenantScenario:
    """A tenant whose exports take a moment."""
    trigger = Trigger(seconds=0.1)
    return TenantScenario(domain=domain, **{"configurations": (Configuration(trigger=trigger),)} | more)
