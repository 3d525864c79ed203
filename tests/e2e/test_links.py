"""Symbolic links that somebody put into the output directory, met by the real command.

Whoever can write there must not make the program write, overwrite or remove anything elsewhere.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.bureau import NIGHT, Bureau, Lucca, lucca, quick, scenario_of
from tests.e2e.forks import Forks

PAYLOAD: Final = f"{NIGHT}/acme/payroll-ID.json"
FOLDERS: Final = (".runner", NIGHT, f"{NIGHT}/acme")
FILES: Final = (
    ".runner/journal.db",
    ".runner/journal.db-wal",
    ".runner/journal.db-shm",
    ".runner/journal.db.lock",
    f"{NIGHT}/run.json",
    f"{NIGHT}/index.html",
    f"{NIGHT}/SHA256SUMS",
    PAYLOAD,
)
REPLACED: Final = {f"{NIGHT}/run.json", f"{NIGHT}/index.html", f"{NIGHT}/SHA256SUMS"}
"""The night's documents are put in place of whatever stood there: of the link, never of what it leads to."""
OF_ITS_TENANT: Final = {f"{NIGHT}/acme", PAYLOAD}
CASES: Final = [
    *((place, target) for place in FOLDERS for target in ("folder", "nowhere")),
    *((place, "file") for place in FILES),
    *((place, target) for place in (".runner/journal.db", PAYLOAD) for target in ("nowhere", "itself")),
]


@pytest.fixture(scope="module")
def served() -> Iterator[Lucca]:
    with lucca(
        scenario_of(*(quick(f"acme.sandbox.s{n}.luccasoftware.com") for n in range(len(CASES))))
    ) as served:
        yield served


def below(folder: Path) -> Mapping[str, bytes | None]:
    """All that stands there: files with their bytes, folders as None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("place, target", CASES, ids=[f"{place} to {target}" for place, target in CASES])
def test_a_link_in_the_output_directory_leads_nowhere(
    forks: Forks, served: Lucca, tmp_path: Path, place: str, target: str
) -> None:
    (tmp_path / "bureau").mkdir()
    bureau = Bureau(tmp_path / "bureau", served.gateway, forks=forks)
    tenant = quick(f"acme.sandbox.s{CASES.index((place, target))}.luccasoftware.com")
    bureau.take(scenario_of(tenant))
    victim = tmp_path / "victim"
    (victim / "folder").mkdir(parents=True)
    (victim / "folder/journal.db").write_bytes(b"precious")
    (victim / "folder/.run.json.0123456789abcdef.part").write_bytes(b"precious")
    (victim / "file").write_bytes(b"precious")
    before = below(victim)
    latest = served.tell(lambda world: max(made.id for made in world.exports(tenant.domain)))
    link = bureau.output / place.replace("ID", str(latest + 1))
    link.parent.mkdir(parents=True, mode=0o700)
    link.symlink_to(link if target == "itself" else victim / target)
    told = bureau.run("--json")
    assert below(victim) == before
    assert "Traceback" not in told.err
    if place in REPLACED:
        assert (told.code, link.is_symlink()) == (0, False)
        return
    assert link.is_symlink()
    if place in OF_ITS_TENANT:
        error = bureau.jobs()["acme/payroll"]["error"]
        assert (told.code, error["code"]) == (3, "storage")
        message = error["message"]
    else:
        assert told.code == 6, told
        message = told.json()["error"]["message"]
        assert served.requests(tenant.domain) == 0
    assert link.name.removesuffix("-wal").removesuffix("-shm").removesuffix(".lock") in message
    assert "To do: " in message
    link.unlink()
    assert bureau.run().code == 0
    bureau.check_sums()
    assert sum(trigger.executed for trigger in served.triggers(tenant.domain)) == 1
