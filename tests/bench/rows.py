"""The rows of the summary, one function each: what is started, how often, and what is compared.

All that stands in one row runs in turns, so that a machine that slows down slows both sides. Owns sizes and goals; how
a child is measured is `measure`, how it is shown `table`.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.measure import PYTHON, ROOT, RUNNER, Cost, Server, environment, living, run_child, serving
from tests.bench.table import Figure, Goal, Line, Row, Skipped
from tests.bench.worlds import ENDS_AT, KEY, KEY_VARIABLE, NIGHT, content_with, write_bureau, write_manifest

PEERS = ROOT / "tests" / "bench" / "peers"
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done."""

    runs: int = 3
    jobs: int = 3000
    peer_jobs: int = 150
    most_jobs: int = 100_000
    tenants: int = 10_000
    night_tenants: int = 300
    idle_seconds: float = 62.0
    download_bytes: int = 62 * MB
    entries: int = 200_000


QUICK = Sizes(
    runs=1, jobs=300, peer_jobs=30, most_jobs=600, tenants=300, night_tenants=20, idle_seconds=3.0,
    download_bytes=6 * MB, entries=10_000,
)  # fmt: skip


@dataclass
class Bench:
    """Where it happens."""

    folder: Path
    sizes: Sizes
    peers_python: Path | None
    say: Callable[[str], None]
    _count: int = field(default=0)

    def __post_init__(self) -> None:
        if self.peers_python is not None:
            self.peers_python = self.peers_python.absolute()  # Children are started in folders of their own.

    def place(self) -> Path:
        """An empty folder."""
        self._count += 1
        made = self.folder / str(self._count)
        made.mkdir()
        return made

    def probe(self, name: str, *arguments: object, place: Path | None = None) -> tuple[dict[str, Any], Cost]:
        """What a probe tells, and what it cost."""
        cwd = place or self.place()
        argv = [PYTHON, "-m", "tests.bench.probes", name, *map(str, arguments)]
        cost = run_child(argv, env=environment(**{KEY_VARIABLE: KEY}), cwd=cwd)
        told: dict[str, Any] = json.loads(cost.said)
        return told, cost

    def runner(self, verb: str, *arguments: object, cwd: Path, codes: tuple[int, ...] = (0,)) -> Cost:
        """What a command of the program cost."""
        argv = [RUNNER, verb, *map(str, arguments)]
        return run_child(argv, env=environment(**{KEY_VARIABLE: KEY}), cwd=cwd, codes=codes)

    def run_night(self, server: Server, tenants: int, exports: int) -> Cost:
        """What a night cost."""
        place = self.place()
        write_manifest(place / "tenants.yaml", tenants, exports)
        cost = self.runner("run", *night_flags(server, place), cwd=place)
        shutil.rmtree(place)
        return cost

    def run_peer(self, python: str | Path, script: str, server: Server, tenants: int, exports: int) -> Cost:
        """What a peer cost."""
        place = self.place()
        argv = [python, PEERS / script, server.url, str(tenants), str(exports), place]
        cost = run_child(argv, env=environment(), cwd=place)
        shutil.rmtree(place)
        return cost


def night_flags(server: Server, place: Path) -> list[str]:
    """How a night is started against our server."""
    return [
        str(place / "tenants.yaml"), "--gateway", server.url, "--output", str(place / "output"),
        "--date", NIGHT, "--log-format", "json", "--log-level", "warning",
    ]  # fmt: skip


def _seconds(costs: Sequence[Cost]) -> Figure:
    return Figure(tuple(cost.wall_seconds for cost in costs), "s")


def _each(many: Sequence[Cost], one: Sequence[Cost], jobs: int) -> Figure:
    """CPU per job, what a night of a single job costs left out: starting has a row of its own."""
    return Figure(
        tuple((m.cpu_seconds - o.cpu_seconds) / (jobs - 1) * 1e3 for m, o in zip(many, one, strict=True)),
        "ms",
    )


def _whole(costs: Sequence[Cost], jobs: int) -> Figure:
    return Figure(tuple(cost.cpu_seconds / jobs * 1e3 for cost in costs), "ms")


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def jobs(bench: Bench) -> list[Line]:
    """CPU per export job: against the floor, against the peers."""
    sizes = bench.sizes
    tenants, few = sizes.jobs // 3, sizes.peer_jobs // 3
    ours: list[Cost] = []
    ours_one: list[Cost] = []
    floor: list[Cost] = []
    floor_one: list[Cost] = []
    kept: list[Cost] = []
    kept_one: list[Cost] = []
    scripts = {
        "httpx loop": "httpx_loop.py",
        "DBOS workflow": "dbos_flow.py",
        "Airbyte CDK": "airbyte_async.py",
    }
    peers: dict[str, tuple[list[Cost], list[Cost]]] = {name: ([], []) for name in scripts}
    told: dict[str, Any] = {}
    with serving() as server:
        for _ in range(sizes.runs):
            floor_one.append(bench.run_peer(PYTHON, "aiohttp_loop.py", server, 1, 1))
            ours_one.append(bench.run_night(server, 1, 1))
            floor.append(bench.run_peer(PYTHON, "aiohttp_loop.py", server, tenants, 3))
            kept_one.append(bench.run_peer(PYTHON, "keeping_loop.py", server, 1, 1))
            kept.append(bench.run_peer(PYTHON, "keeping_loop.py", server, tenants, 3))
            server.reset()
            ours.append(bench.run_night(server, tenants, 3))
            told = server.reset()
            for name, script in scripts.items() if bench.peers_python else ():
                peers[name][0].append(bench.run_peer(bench.peers_python or "", script, server, few, 3))
                if not peers[name][1]:  # seconds of start each, and the same every time
                    peers[name][1].append(bench.run_peer(bench.peers_python or "", script, server, 1, 1))
    each, floor_each = _each(ours, ours_one, sizes.jobs), _each(floor, floor_one, sizes.jobs)
    requests = Figure((sum(told["requests"].values()) / sizes.jobs,), "")
    lines: list[Line] = [
        Row(
            "CPU per export job, no latency",
            [("", each), ("with its start", _whole(ours, sizes.jobs)), ("wall", _seconds(ours))],
            [
                ("bare aiohttp loop", floor_each),
                ("with its start", _whole(floor, sizes.jobs)),
                ("wall", _seconds(floor)),
                ("one that keeps the promises and does nothing else", _each(kept, kept_one, sizes.jobs)),
            ],
            [Goal("", each.over(floor_each), 1.5), Goal("requests per job", requests, 3)],
            f"{sizes.jobs} jobs of {tenants} tenants: list, POST answered at once, 100 kB of content, file flushed, "
            f"journal. What a run of one job costs is left out on both sides. {told['connections']} connections "
            "carried them all. The last one beside it journals, reads, places and flushes as the program does, each "
            "the plainest way, for a night without any trouble (`keeping_loop.py`).",
        )
    ]
    for name in scripts:
        many, one = peers[name]
        if not many:
            lines.append(Skipped(f"the same job: {name}", "no environment for peers was given"))
            continue
        peer = _each(many, one * len(many), few * 3)
        goals = [Goal("times our CPU", peer.over(each), 1 if name == "httpx loop" else 10, least=True)]
        lines.append(
            Row(f"the same job: {name}", [("", each)], [(name, peer)], goals, _PEER_NOTES.get(name, ""))
        )
    return lines


_PEER_NOTES = {
    "Airbyte CDK": "Its async retriever creates, polls and downloads; the poll stands in the place of the list of "
    "exports. It flushes its records once, at the end.",
    "DBOS workflow": "One workflow of three steps per job, its system database in SQLite as it comes.",
}


def growth(bench: Bench) -> list[Line]:
    """What a job costs among few, and among many."""
    sizes = bench.sizes
    few, many = max(100, sizes.most_jobs // 10) if sizes.most_jobs < 10_000 else 1000, sizes.most_jobs
    runs = sizes.runs if many <= 10_000 else 1
    beside = 3 * sizes.runs  # of a second each, of which half as much again is chance
    one: list[Cost] = []
    small: list[Cost] = []
    large: list[Cost] = []
    with serving(content_bytes=1000) as server:
        for number in range(runs + 1):
            # Before and after each long night, so that it is compared with the machine as it was meanwhile.
            for _ in range(beside):
                one.append(bench.run_night(server, 1, 1))
                small.append(bench.run_night(server, few // 10, 10))
            if number < runs:
                large.append(bench.run_night(server, many // 10, 10))
    each_small, each_large = _each(small, one, few), _each(large, one[: len(large)], many)
    growing = Figure(tuple((cost / each_small.median - 1) * 100 for cost in each_large.values), "%")
    peak = Figure(tuple(cost.peak_bytes / MB for cost in large), "MB")
    return [
        Row(
            f"{few} → {many} jobs",
            [(f"{many}:", each_large), ("peak", peak)],
            [(f"{few}:", each_small)],
            [Goal("CPU per job grows by", growing, 10)],
            f"1 kB of content, ten jobs per tenant; {runs} night{'s' if runs > 1 else ''} of {many}, with {beside} "
            f"of {few} before and after each, whose median it is compared with.",
        )
    ]


def journal(bench: Bench) -> list[Line]:
    """Transitions per flush, and what the loop feels of all the work beside it."""
    sizes = bench.sizes
    told, rates = [], []
    with serving() as server:
        for _ in range(sizes.runs):
            place = bench.place()
            rates.append(bench.probe("flushing", place, 1.0 if sizes.jobs > 1000 else 0.2)[0])
            write_manifest(place / "tenants.yaml", sizes.jobs // 3, 3)
            told.append(
                bench.probe("load", server.url, place / "tenants.yaml", place / "output", NIGHT, place=place)[
                    0
                ]
            )
            shutil.rmtree(place)
    per_flush = Figure(tuple(t["transitions"] / t["flushes"] for t in told))
    lag = Figure(tuple(t["lag_p99_seconds"] * 1e3 for t in told), "ms")
    most = Figure(tuple(t["lag_most_seconds"] * 1e3 for t in told), "ms")
    return [
        Row(
            "journal under load",
            [("transitions", Figure(tuple(float(t["transitions"]) for t in told))), ("longest lag", most)],
            [("the disk flushes", Figure(tuple(r["per_second"] for r in rates), "/s"))],
            [Goal("transitions per flush", per_flush, 20, least=True), Goal("loop lag p99", lag, 50)],
            f"{sizes.jobs} jobs. The lag is what a sleep of 5 ms in the program's own loop took longer.",
        )
    ]


# ── nights ───────────────────────────────────────────────────────────────────────────────────────────────────────


def makespan(bench: Bench) -> list[Line]:
    """A night's length beside its lower bound, in virtual time."""
    sizes = bench.sizes
    told = []
    for seed in range(1, sizes.runs + 1):
        place = bench.place()
        told.append(bench.probe("night", sizes.night_tenants, seed, place, place=place)[0])
        shutil.rmtree(place)
    made = Figure(tuple(t["makespan_seconds"] for t in told), "s")
    bound = Figure(tuple(t["bound_seconds"] for t in told), "s")
    return [
        Row(
            f"makespan of {sizes.night_tenants} tenants × 3 jobs",
            [("", made)],
            [("lower bound", bound)],
            [Goal("", made.over(bound), 1.05)],
            "In virtual time, with the real engine, client, journal and sandbox; a seed each run. The bound is the "
            "slowest tenant's: of its jobs the longest, with no wait of ours, or its budget; or all requests on 64 "
            "places.",
        )
    ]


def waiting(bench: Bench) -> list[Line]:
    """Many jobs that wait, and taking them up again."""
    sizes = bench.sizes
    idle_memory, memory, cores, starts = [], [], [], []
    resumed, fetched, first = [], [], []
    jobs_count = sizes.tenants * 3
    with serving(content_bytes=1000, lets_go=True) as server:
        for _ in range(sizes.runs):
            one = bench.place()
            write_manifest(one / "tenants.yaml", 1, 3)
            with _waiting(server, one, 3) as child:
                idle_memory.append(child.memory_bytes())
            shutil.rmtree(one)
            place = bench.place()
            write_manifest(place / "tenants.yaml", sizes.tenants, 3)
            began = time.monotonic()
            with _waiting(server, place, jobs_count) as child:
                starts.append(time.monotonic() - began)
                used, since = child.cpu_seconds(), time.monotonic()
                time.sleep(sizes.idle_seconds)
                cores.append((child.cpu_seconds() - used) / (time.monotonic() - since) * 100)
                memory.append(child.memory_bytes())
            database = place / "output" / ".runner" / "journal.db"
            fetched.append(bench.probe("fetch", database, NIGHT, place=place)[0])
            server.reset()
            arguments = (server.url, place / "tenants.yaml", place / "output", NIGHT)
            resumed.append(bench.probe("resume", *arguments, place=place)[0])
            began = time.monotonic()
            with living(
                [RUNNER, "run", *night_flags(server, place)],
                env=environment(**{KEY_VARIABLE: KEY}),
                cwd=place,
            ):
                first.append(_until(lambda: server.told()["first_at"]) - began)
            server.reset()
            shutil.rmtree(place)
    more = Figure(tuple((m - i) / MB for m, i in zip(memory, idle_memory, strict=True)), "MB")
    taking = Figure(tuple(r["seconds"] for r in resumed), "s")
    reading = Figure(tuple(f["seconds"] for f in fetched), "s")
    return [
        Row(
            f"{sizes.tenants} tenants × 3 jobs waiting",
            [("RSS", Figure(tuple(m / MB for m in memory), "MB"))],
            [("with one tenant", Figure(tuple(i / MB for i in idle_memory), "MB"))],
            [Goal("more", more, 150), Goal("of a core", Figure(tuple(cores), "%"), 5)],
            f"Each job was listed and triggered, its POST let go, and waits for its next poll; {sizes.idle_seconds:g} "
            "s in which no poll falls due and the night's documents are written once. "
            f"Getting there took {Figure(tuple(starts), 's')}.",
        ),
        Row(
            f"resume with {jobs_count} journaled jobs",
            [("", taking), ("with manifest and start", Figure(tuple(first), "s"))],
            [("sqlite3 fetch", reading)],
            [Goal("", taking.over(reading), 3), Goal("first request within", taking, 2)],
            "From the read manifest to the first request: journal opened, jobs matched with the plan, the engine "
            "built. The manifest has a row of its own. Beside it the program's own queries: unfinished jobs, the "
            "numbers of the night's, recent requests; fetched and dropped.",
        ),
    ]


class _waiting:  # noqa: N801 - reads as the state it is
    """A run whose every job has been triggered and waits."""

    def __init__(self, server: Server, place: Path, jobs_count: int) -> None:
        self._server, self._jobs = server, jobs_count
        argv = [RUNNER, "run", *night_flags(server, place), "--export-poll-interval", "8h"]
        self._living = living(argv, env=environment(**{KEY_VARIABLE: KEY}), cwd=place)

    def __enter__(self) -> Any:
        self._server.reset()
        child = self._living.__enter__()
        _until(lambda: self._server.told()["requests"].get("trigger", 0) >= self._jobs or None)
        time.sleep(1.0)
        return child

    def __exit__(self, *error: object) -> None:
        self._living.__exit__(*error)  # type: ignore[arg-type]


def _until(look: Callable[[], Any], seconds: float = 300.0) -> Any:
    end = time.monotonic() + seconds
    while (seen := look()) is None:
        if time.monotonic() > end:
            raise TimeoutError("the program did not get there")
        time.sleep(0.02)
    return seen


# ── reading and starting ─────────────────────────────────────────────────────────────────────────────────────────


def manifests(bench: Bench) -> list[Line]:
    """`check` and `plan` of many tenants, beside libyaml alone."""
    sizes = bench.sizes
    place = bench.place()
    count = write_bureau(place / "tenants.yaml", sizes.tenants)
    alone: list[Cost] = []
    taken: dict[str, list[Cost]] = {"check": [], "plan": []}
    for _ in range(sizes.runs):
        alone.append(bench.probe("parse", place / "tenants.yaml", place=place)[1])
        for verb, costs in taken.items():
            costs.append(bench.runner(verb, "tenants.yaml", "--date", NIGHT, cwd=place))
    parsed = _seconds(alone)
    goals = []
    for verb, costs in taken.items():
        peak = Figure(tuple(cost.peak_bytes / MB for cost in costs), "MB")
        goals += [Goal(verb, _seconds(costs).over(parsed), 3), Goal(f"{verb} peak", peak, 400)]
    return [
        Row(
            f"check and plan of {sizes.tenants} tenants",
            [(verb, _seconds(costs)) for verb, costs in taken.items()],
            [("libyaml alone", parsed)],
            goals,
            f"{count:,} lines. Whole processes; beside them one that has libyaml parse the file and drops the events.",
        )
    ]


def starting(bench: Bench) -> list[Line]:
    """The commands that only speak, beside the import of the library that lets them."""
    place = bench.place()
    alone: list[Cost] = []
    taken: dict[str, list[Cost]] = {"--help": [], "--version": []}
    for _ in range(max(10, bench.sizes.runs)):
        alone.append(run_child([PYTHON, "-c", "import typer"], env=environment(), cwd=place))
        for flag, costs in taken.items():
            costs.append(run_child([RUNNER, flag], env=environment(), cwd=place))
    imported = _seconds(alone)
    return [
        Row(
            "runner --help, runner --version",
            [(flag, _seconds(costs)) for flag, costs in taken.items()],
            [("import typer", imported)],
            [Goal(flag, _seconds(costs).over(imported), 1.3) for flag, costs in taken.items()],
        )
    ]


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def downloads(bench: Bench) -> list[Line]:
    """Eight large exports at once, beside curl."""
    sizes = bench.sizes
    curl = shutil.which("curl")
    if curl is None:
        return [Skipped("download of 8 large exports", "there is no curl")]
    ours: list[Cost] = []
    idle: list[Cost] = []
    walls: list[float] = []
    bare: list[float] = []
    own: list[float] = []
    with serving(content_bytes=sizes.download_bytes) as server, serving(content_bytes=1000) as small:
        for _ in range(sizes.runs):
            idle.append(bench.run_night(small, 8, 1))
            place = bench.place()
            began = time.monotonic()
            names = [place / f"{number}.json" for number in range(8)]
            argv = [
                curl,
                "--silent",
                "--no-progress-meter",
                "--fail",
                "--parallel",
                "--parallel-immediate",
                "--parallel-max",
                "8",
            ]
            for number, name in enumerate(names):
                argv += ["--output", str(name), f"{server.url}/api/v3/timmiexports/{1001 + number}?fields=id"]
            subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
            bare.append(time.monotonic() - began)
            subprocess.run(["sync", *names], check=True)
            walls.append(time.monotonic() - began)
            shutil.rmtree(place)
            place = bench.place()
            write_manifest(place / "tenants.yaml", 8, 1)
            server.reset()
            argv = [RUNNER, "run", *night_flags(server, place)]
            ours.append(run_child(argv, env=environment(**{KEY_VARIABLE: KEY}), cwd=place))
            shutil.rmtree(place)
            place = bench.place()
            write_manifest(place / "tenants.yaml", 8, 1)
            own.append(_own_peak([RUNNER, "run", *night_flags(server, place)], place))
            shutil.rmtree(place)
    volume = 8 * sizes.download_bytes / MB
    started = [cost.wall_seconds for cost in idle]
    rate = Figure(tuple(volume / (c.wall_seconds - s) for c, s in zip(ours, started, strict=True)), "MB/s")
    curled = Figure(tuple(volume / wall for wall in walls), "MB/s")
    peak = Figure(tuple((c.peak_bytes - i.peak_bytes) / MB for c, i in zip(ours, idle, strict=True)), "MB")
    anonymous = Figure(tuple(peak_bytes / MB for peak_bytes in own), "MB")
    return [
        Row(
            f"download of 8 × {sizes.download_bytes // MB} MB",
            [("", rate), ("peak of its own pages", anonymous)],
            [
                ("curl --parallel, then sync", curled),
                ("without sync", Figure(tuple(volume / b for b in bare), "MB/s")),
            ],
            [Goal("of its rate", rate.over(curled), 0.6, least=True), Goal("over idle", peak, 64)],
            "Both ends with the bytes on disk; ours has hashed and checked them besides, and its start, as a night of "
            "eight small exports costs it, is left out. The peak is the whole resident set, mapped files too.",
        )
    ]


def _own_peak(argv: list[str], place: Path) -> float:
    """The most of RssAnon, looked at every few milliseconds."""
    most = 0
    with living(argv, env=environment(**{KEY_VARIABLE: KEY}), cwd=place) as child:
        while child.process.poll() is None:
            try:
                text = Path(f"/proc/{child.process.pid}/status").read_text(encoding="ascii")
            except OSError:
                break
            line = next((line for line in text.splitlines() if line.startswith("RssAnon")), None)
            most = max(most, int(line.split()[1]) * 1024 if line else 0)
            time.sleep(0.005)
    return float(most)


def tables(bench: Bench) -> list[Line]:
    """An export's CSV, beside the plainest way to make one."""
    sizes = bench.sizes
    place = bench.place()
    answer = place / "answer.json"
    answer.write_bytes(b'{"data":{"id":1,"configurationId":1,' + content_with(sizes.entries, ENDS_AT))
    ours, floor = [], []
    for _ in range(sizes.runs):
        floor.append(bench.probe("table_in_memory", answer, place / "floor.csv", place=place)[0])
        ours.append(bench.probe("table", answer, place / "ours.csv", place=place)[0])
    rows = (place / "ours.csv").read_bytes().count(b"\n") - 1
    shutil.rmtree(place)

    def figure(told: list[dict[str, Any]], key: str, unit: str, by: float = 1.0) -> Figure:
        return Figure(tuple(t[key] / by for t in told), unit)

    took, plain = figure(ours, "seconds", "s"), figure(floor, "seconds", "s")
    return [
        Row(
            f"JSON → CSV, {rows} entries",
            [("", took), ("whole peak", figure(ours, "peak_bytes", "MB", MB))],
            [
                ("msgspec and csv.writer in memory", plain),
                ("its own pages", figure(floor, "own_bytes", "MB", MB)),
            ],
            [Goal("", took.over(plain), 1.3), Goal("its own pages", figure(ours, "own_bytes", "MB", MB), 64)],
            "Own pages are those that the system cannot take back.",
        )
    ]


ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "jobs": jobs,
    "makespan": makespan,
    "waiting": waiting,
    "manifests": manifests,
    "journal": journal,
    "downloads": downloads,
    "tables": tables,
    "starting": starting,
    "growth": growth,
}
