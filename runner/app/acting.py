"""The verbs that make something: run, init, sandbox. Constructs everything they need."""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from random import Random

import anyio

from runner import credentials
from runner.app.logs import log_to_stderr
from runner.app.nightly import Nightly, Order, Ports, first_of
from runner.app.progress import LiveView
from runner.app.room import make_room
from runner.app.selection import Selection
from runner.app.setup import batch_date, manifest_of, settings_of
from runner.app.stores import hold_journal, output_of, policy_of
from runner.app.tell import answer, counted, say
from runner.clock import SystemClock
from runner.collector import collect_seldom, uncollected
from runner.errors import StorageError, UsageError
from runner.manifest import key_warnings, starter_manifest
from runner.plan import plan
from runner.settings import Settings
from runner.summary import run_document, verdict_line
from runner.transport import Timeouts, Transport
from runner.turns import Limits

_MARK = "# Written by `runner sandbox`, which will write over it.\n"


def run(flags: dict[str, str], selection: Selection, date_text: str | None, *, as_json: bool) -> int:
    """`runner run`."""
    settings = settings_of(flags)
    night = batch_date(date_text, settings)
    with uncollected():
        manifest = manifest_of(settings)
        planned = plan(manifest, night)
        selection.check(manifest)
        collect_seldom()
    now = SystemClock().now()
    order = Order(
        manifest=manifest,
        planned=planned,
        selection=selection,
        date=night,
        policy=policy_of(settings),
        limits=Limits(
            in_flight=settings.max_concurrency, in_flight_per_domain=settings.max_concurrency_per_domain
        ),
        requests_per_minute=settings.requests_per_minute,
        deadline=settings.deadline(now.wall),
        timezone=settings.timezone,
        language=settings.language,
    )
    for problem in manifest.problems:
        say(f"runner: {problem.message}")
    for warning in key_warnings(manifest):
        say(f"runner: warning: {warning}")
    return anyio.run(_run, settings, order, as_json)


async def _run(settings: Settings, order: Order, as_json: bool) -> int:  # noqa: FBT001 - anyio.run takes no keywords
    clock = SystemClock()
    timeouts = Timeouts(request_seconds=settings.request_timeout, trigger_seconds=settings.trigger_timeout)
    output = output_of(settings)
    roomy = make_room(
        hosts=1 if settings.gateway else len({tenant.domain for tenant in order.manifest.tenants}),
        in_flight=settings.max_concurrency,
        per_host=settings.max_concurrency_per_domain,
    )
    live = LiveView() if sys.stderr.isatty() and settings.log_format == "console" else None
    log_to_stderr(
        settings.log_format, "warning" if live and settings.log_level == "info" else settings.log_level
    )
    async with (
        hold_journal(settings) as journal,
        Transport(clock, timeouts=timeouts, gateway=settings.gateway, keep_open=roomy) as transport,
    ):
        ports = Ports(
            clock=clock,
            journal=journal,
            sender=transport,
            output=output,
            random=Random(),
            key=lambda tenant: credentials.resolve(tenant.api_key, base_dir=tenant.base_dir),
        )
        nightly = Nightly(ports, order, (live.seen,) if live else (), collect_seldom)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_obey_signals, nightly)
                with live.showing(nightly) if live else nullcontext():
                    code = await nightly.run()
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise first_of(group) from None
    told = nightly.night()
    if as_json:
        answer(run_document(told))
    folder = settings.output / order.date.isoformat()
    say(f"runner: {verdict_line(told, settings.language)} {folder / 'index.html'}")
    return code


async def _obey_signals(nightly: Nightly) -> None:
    obeyed = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is, under nohup: that is what nohup is for
        obeyed.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*obeyed) as signals:
        async for number in signals:
            nightly.stop(signal.Signals(number).name)


def init(flags: dict[str, str], *, as_json: bool) -> int:
    """`runner init`: a manifest to begin with."""
    path = settings_of(flags).manifest
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter_manifest())
    except FileExistsError:
        raise UsageError(f"{path} exists already; it was left as it is") from None
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror}") from None
    if as_json:
        answer({"manifest": str(path)})
    say(
        f"runner: wrote {path}. Next: name your tenants in it, then `runner check`, `runner plan`, `runner run`."
    )
    return 0


def sandbox(scenario: str | None, *, port: int, seed: int, tenants: int, write: str | None) -> int:
    """`runner sandbox`: a local Lucca until interrupted."""
    from runner.sandbox import (  # noqa: PLC0415 - a fake Lucca has no business in a nightly run
        World,
        demo_scenario,
        load_scenario,
        scenario_keys,
        scenario_manifest,
        serve,
    )

    today = SystemClock().now().wall.date()
    played = load_scenario(Path(scenario)) if scenario else demo_scenario(seed, tenants=tenants, date=today)
    if write is not None:
        _write_to_match(Path(write), scenario_manifest(played, "file"), scenario_keys(played, "file"))

    def ready(number: int) -> None:
        where = f" {Path(write) / 'tenants.yaml'}" if write else " MANIFEST"
        say(
            f"runner: a local Lucca with {counted(len(played.tenants), 'tenant')} listens at http://127.0.0.1:{number}\n"
            f"        try:  runner run{where} --gateway http://127.0.0.1:{number}\n"
            "        stop with Ctrl-C"
        )

    async def serve_it() -> None:
        await serve(World(played, SystemClock()), "127.0.0.1", port, ready)

    try:
        anyio.run(serve_it)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}") from None
    return 0


def _write_to_match(folder: Path, manifest: str, keys: dict[str, str]) -> None:
    """Write the manifest and the keys with which to meet a sandbox, over those of an earlier one alone."""
    place = folder / "tenants.yaml"
    try:
        if not (place.exists() and place.read_bytes().startswith(_MARK.encode())):
            for path in (place, *(folder / name for name in keys)):
                if path.exists():
                    raise UsageError(
                        f"--write: {path} exists already, and the sandbox did not write it; name another folder"
                    )
        (folder / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
        place.write_text(_MARK + manifest, encoding="utf-8")
        for name, key in keys.items():
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "w", encoding="utf-8") as opened:
                opened.write(key)
    except OSError as error:
        raise StorageError(
            f"--write: {error.filename or folder} could not be written: {error.strerror}"
        ) from None
