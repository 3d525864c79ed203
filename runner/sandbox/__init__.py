"""A local Lucca to try everything against: the demo, `runner sandbox` and the tests use it.

It reads the guides anew and shares no code with the client, so that one misreading cannot hide in both. Nothing in it
reaches out of the machine. aiohttp is loaded only when something is served.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.sandbox.demo import demo_scenario, scenario_keys, scenario_manifest
from runner.sandbox.faults import (
    Cut,
    Delay,
    Fault,
    FaultRule,
    Gzip,
    Hang,
    Html,
    RawBody,
    Redirect,
    Reset,
    Status,
    Trickle,
)
from runner.sandbox.loading import load_scenario
from runner.sandbox.moods import MOODS
from runner.sandbox.records import EvictionRecord, ExportRecord, RequestRecord, TriggerRecord
from runner.sandbox.scenario import (
    Configuration,
    Outage,
    Reports,
    Scenario,
    StaffExport,
    TenantScenario,
    Trigger,
)
from runner.sandbox.world import World

if TYPE_CHECKING:
    from aiohttp import web

__all__ = [
    "MOODS",
    "Configuration",
    "Cut",
    "Delay",
    "EvictionRecord",
    "ExportRecord",
    "Fault",
    "FaultRule",
    "Gzip",
    "Hang",
    "Html",
    "Outage",
    "RawBody",
    "Redirect",
    "Reports",
    "RequestRecord",
    "Reset",
    "Scenario",
    "StaffExport",
    "Status",
    "TenantScenario",
    "Trickle",
    "Trigger",
    "TriggerRecord",
    "World",
    "build_app",
    "demo_scenario",
    "load_scenario",
    "scenario_keys",
    "scenario_manifest",
    "serve",
]


def build_app(world: World) -> "web.Application":
    """An aiohttp application that plays `world`."""
    from runner.sandbox import server  # noqa: PLC0415 - aiohttp is needed from here on, not before

    return server.build_app(world)


async def serve(
    world: World, host: str = "127.0.0.1", port: int = 0, ready: Callable[[int], None] | None = None
) -> None:
    """Serve `world` until cancelled; `ready` is told the port once it listens."""
    from runner.sandbox import server  # noqa: PLC0415 - as above

    await server.serve(world, host, port, ready)
