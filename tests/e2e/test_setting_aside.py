"""What a person gives up: jobs that left the manifest, and those of which somebody says: never mind."""

from pathlib import Path

import pytest
import yaml

from runner.sandbox import MOODS, Scenario
from runner.sandbox.scenario import DEFAULT_DATE
from tests.e2e.bureau import NIGHT, Bureau, Lucca, lucca, quick


def office(folder: Path, served: Lucca, scenario: Scenario) -> Bureau:
    bureau = Bureau(folder, served.gateway)
    bureau.take(scenario)
    return bureau


def without(bureau: Bureau, tenant: str) -> None:
    """Take a client out of the manifest."""
    path = bureau.folder / "tenants.yaml"
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    manifest["tenants"] = [each for each in manifest["tenants"] if each["name"] != tenant]
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")


def test_a_failed_job_that_left_the_manifest_is_not_said_to_be_tried_again(tmp_path: Path) -> None:
    """The night of its date still fails by it, and says what to do; `skip` settles it."""
    scenario = Scenario(
        tenants=(MOODS["key_refused"]("acme.ilucca.net", DEFAULT_DATE), quick("globex.ilucca.net"))
    )
    with lucca(scenario) as served:
        bureau = office(tmp_path, served, scenario)
        assert bureau.run().code == 3
        without(bureau, "acme")
        for language, said in (
            ("en", "configuration no longer asks for it"),
            ("fr", "configuration ne le demande plus"),
        ):
            assert bureau.run(language=language).code == 3
            words = bureau.words()
            assert said in words
            assert "tries again by itself" not in words
            assert "repris automatiquement" not in words
        (notice,) = bureau.document()["notices"]
        assert "acme/payroll of 2026-11-24 is failed and no longer in the manifest" in notice
        assert "runner skip acme/payroll" in notice
        assert bureau.command("skip", "acme/payroll", "--reason", "client left").code == 0
        assert bureau.run().code == 0
        told = bureau.document()
        assert (told["outcome"], told["notices"]) == ("ok", [])
        assert bureau.jobs()["acme/payroll"]["state"] == "skipped"


def test_an_unfinished_job_that_left_the_manifest_waits_for_a_person_and_not_for_the_next_run(
    tmp_path: Path,
) -> None:
    scenario = Scenario(tenants=(MOODS["never"]("acme.ilucca.net", DEFAULT_DATE), quick("globex.ilucca.net")))
    with lucca(scenario) as served:
        bureau = office(tmp_path, served, scenario)
        assert bureau.run(until="2s", retrigger_after="1h").code == 4
        without(bureau, "acme")
        assert bureau.run(until="5s", retrigger_after="1h").code == 3
        assert bureau.document()["outcome"] == "incomplete"
        busy = bureau.command("skip", "acme/payroll", retrigger_after="1h")
        assert busy.code == 2
        assert "may still be at work on the request that left, for 60 min yet" in busy.err
        assert bureau.command("skip", "acme/payroll", retrigger_after="0.1s").code == 0
        assert bureau.run().code == 0
        assert len(served.triggers("acme.ilucca.net")) == 1


def test_what_was_set_aside_is_neither_asked_for_nor_waited_for_until_a_person_takes_that_back(
    tmp_path: Path,
) -> None:
    scenario = Scenario(tenants=(MOODS["rejected"]("acme.ilucca.net", DEFAULT_DATE),))
    with lucca(scenario) as served:
        bureau = office(tmp_path, served, scenario)
        assert bureau.run().code == 3
        told = bureau.command("skip", "acme/payroll", "--reason", "made by hand", "--json")
        assert (told.code, told.json()) == (0, {"skipped": [f"acme/payroll of {NIGHT}"]})
        assert "set aside already" in bureau.command("skip", "acme/payroll").err
        asked = len(served.triggers())
        assert bureau.run().code == 0
        assert len(served.triggers()) == asked
        explained = bureau.command("explain", "acme/payroll", "--json").json()
        assert explained["events"][-1]["event"] == "Skipped"
        assert explained["events"][-1]["note"].endswith(": made by hand")
        assert bureau.command("retry", "acme").code == 0
        assert bureau.run().code == 0, "it was not named in full"
        assert bureau.command("retry", "acme/payroll", "--json").json()["retried"] != []
        assert bureau.run().code == 3
        assert len(served.triggers()) == asked + 1


def test_an_export_that_is_gone_at_lucca_and_on_disk_fails_until_it_is_set_aside(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),))
    with lucca(scenario) as served:
        bureau = office(tmp_path, served, scenario)
        assert bureau.run().code == 0
        (id_,) = bureau.jobs()["acme/payroll"]["remote_ids"]
        refused = bureau.command("skip", "acme/payroll")
        assert (refused.code, "has arrived" in refused.err) == (2, True)
        for file in (bureau.output / NIGHT / "acme").iterdir():
            file.unlink()
        served.tell(lambda world: world.put_away("acme.ilucca.net", id_))
        for _ in range(2):
            assert bureau.run().code == 3
            error = bureau.jobs()["acme/payroll"]["error"]
            assert error["code"] == "not_found"
            assert f"export {id_} was downloaded once" in error["message"]
            assert "`runner skip acme/payroll`" in error["message"]
            assert "Lucca n'en a plus l'export" in bureau.words().replace("’", "'")
            assert "modèle de rapport" not in bureau.words()
        assert bureau.command("skip", "acme/payroll", "--reason", "paid from the copy").code == 0
        assert bureau.run().code == 0
        assert len(served.triggers()) == 1


@pytest.mark.parametrize("arguments", [("acme",), ("acme/",), ("acme/nothing",), ("nobody/payroll",)])
def test_a_slip_sets_nothing_aside(arguments: tuple[str, ...], tmp_path: Path) -> None:
    scenario = Scenario(tenants=(MOODS["key_refused"]("acme.ilucca.net", DEFAULT_DATE),))
    with lucca(scenario) as served:
        bureau = office(tmp_path, served, scenario)
        assert bureau.run().code == 3
        assert bureau.command("skip", *arguments).code == 2
        assert bureau.command("skip", "acme/payroll", "--date", "2026-11-23").code == 2
        assert bureau.jobs()["acme/payroll"]["state"] == "failed"


def test_of_several_open_dates_one_is_to_be_named(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(MOODS["key_refused"]("acme.ilucca.net", DEFAULT_DATE),))
    with lucca(scenario) as served:
        bureau = office(tmp_path, served, scenario)
        assert bureau.run().code == 3
        assert bureau.run("--date", "2026-12-01").code == 3
        told = bureau.command("skip", "acme/payroll")
        assert (told.code, f"--date: {NIGHT}, 2026-12-01" in told.err) == (2, True)
        assert bureau.command("skip", "acme/payroll", "--date", NIGHT).code == 0
        assert bureau.command("skip", "acme/payroll").code == 0
