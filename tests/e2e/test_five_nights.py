"""Five nights as a payroll clerk finds them in the morning: what the page says, which files there are, what run.json
tells.
"""

from datetime import date, timedelta
from pathlib import Path

import anyio
import pytest

from runner.sandbox import Outage, Reports, StaffExport, TenantScenario, Trigger
from tests.office import (
    MONDAY,
    TUESDAY,
    UNHEARD,
    Client,
    Office,
    at_the_office,
    takes,
    two_o_clock,
)

BAKERY = Client("Boulangerie Lefèvre", TenantScenario(domain="boulangerie.ilucca.net"))
CLINIC = Client(
    "Clinique des Tilleuls",
    TenantScenario(
        domain="clinique.ilucca.net", configurations=takes(12), reports=Reports(pending_seconds=40.0)
    ),
    report=True,
)
PRINTER = Client(
    "Imprimerie Carnot", TenantScenario(domain="imprimerie.ilucca.net", configurations=takes(35))
)


def test_an_ordinary_night(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        code, morning = await office.run()
        assert code == 0
        assert morning.document["outcome"] == "ok"
        assert "Nuit du mardi 24 novembre 2026" in morning.words
        assert "Tout va bien" in morning.words
        assert "Tout est arrivé : 4 exports et rapports sur 4. Vous n'avez rien à faire." in morning.words
        assert "À traiter" not in morning.words
        for client in (BAKERY, CLINIC, PRINTER):
            assert client.label in morning.words
            (id_,) = morning.jobs[f"{client.lucca.name}/payroll"]["remote_ids"]
            assert f"payroll-{id_}.csv" in morning.words
            assert {f"payroll-{id_}.csv", f"payroll-{id_}.json"} <= set(morning.files(client.lucca.name))
            assert morning.entries(client.lucca.name) == office.made(client)
            assert len(office.triggered(client)) == 1
        # The days as people count them: the Sunday is in, the Monday is not.
        assert "du lundi 26 octobre 2026 au dimanche 22 novembre 2026 inclus" in morning.words
        assert "journée du lundi 23 novembre 2026" in morning.words
        assert len(morning.files("clinique")) == 4
        # The next night has only the report of the new day to ask for.
        await office.until(two_o_clock(TUESDAY + timedelta(days=1)))
        code, next_morning = await office.run(TUESDAY + timedelta(days=1))
        assert (code, list(next_morning.jobs)) == (0, ["clinique/times"])
        assert "Le seul élément prévu est arrivé." in next_morning.words
        assert len(office.world.triggers) == 3

    at_the_office(tmp_path, (BAKERY, CLINIC, PRINTER), story)


def test_a_new_clients_first_night(tmp_path: Path) -> None:
    virgin = Client(
        "Crèche Les Lutins",
        TenantScenario(
            domain="creche.ilucca.net", configurations=takes(5, history=0), reports=Reports(templates=())
        ),
        report=True,
    )
    by_hand = Client(
        "Hôtel du Lac",
        TenantScenario(
            domain="hotel.ilucca.ch", staff_exports=(StaffExport(at_seconds=-36_000.0, ends_at=MONDAY),)
        ),
    )

    async def story(office: Office) -> None:
        office.sign(BAKERY)
        assert (await office.run())[0] == 0
        office.sign(BAKERY, virgin, by_hand)
        await office.until(two_o_clock(TUESDAY + timedelta(days=1)))
        code, morning = await office.run(TUESDAY + timedelta(days=1))
        assert code == 0
        assert sorted(morning.jobs) == ["creche/payroll", "creche/times", "hotel/payroll"]
        assert "Tout est arrivé : 3 exports et rapports sur 3. Vous n'avez rien à faire." in morning.words
        # Nothing was ever exported there: whatever appears is new.
        assert morning.jobs["creche/payroll"]["baseline_id"] == 0
        assert morning.entries("creche") == office.made(virgin)
        assert sum(morning.entries("creche").values()) > 0
        # What somebody made by hand the evening before is taken, and not asked for a second time.
        assert "Créé à la main dans Lucca et repris : nous n'en avons pas demandé un second." in morning.words
        assert morning.jobs["hotel/payroll"]["flags"] == ["adopted"]
        assert office.triggered(by_hand) == []
        # Of a report no night is missed before the first one.
        assert morning.jobs["creche/times"]["starts_on"] == "2026-11-24"
        assert len(office.world.requests("creche.ilucca.net", "template.create")) == 1
        assert BAKERY.label not in morning.words
        await office.until(two_o_clock(TUESDAY + timedelta(days=2)))
        assert (await office.run(TUESDAY + timedelta(days=2)))[0] == 0
        assert len(office.world.requests("creche.ilucca.net", "template.create")) == 1

    at_the_office(tmp_path, (BAKERY, virgin, by_hand), story)


def test_the_night_with_three_hours_of_outage(tmp_path: Path) -> None:
    hours = 3 * 3600.0
    down = Client(
        "Câbles du Rhône",
        TenantScenario(
            domain="cables.ilucca.net",
            outages=(Outage(from_seconds=0.0, to_seconds=hours),),
            configurations=takes(5),
        ),
    )
    broken = Client(
        "Traiteur Lucullus",
        TenantScenario(
            domain="traiteur.ilucca.net",
            # It is gone two minutes after the export was asked for.
            outages=(Outage(from_seconds=120.0, to_seconds=hours, form="reset"),),
            configurations=takes(10),
            reports=Reports(pending_seconds=300.0),
        ),
        report=True,
    )

    async def story(office: Office) -> None:
        async with office.night(TUESDAY) as nightly, anyio.create_task_group() as tasks:
            codes = []

            async def work() -> None:
                codes.append(await nightly.run())

            tasks.start_soon(work)
            await office.until(two_o_clock(TUESDAY) + timedelta(hours=2, seconds=30))
            early = office.morning()
            assert "En cours" in early.words
            assert "La nuit est en cours (écrit à 4 h 00)." in early.words
            assert "1 export ou rapport sur 4 est arrivé jusqu'ici." in early.words
            assert "3 exports et rapports sont encore attendus." in early.words
            assert "Pas encore demandé" in early.words
            assert "Demandé à 2 h 00 : Lucca le prépare" in early.words
            assert early.document["counts"] == {"downloaded": 1, "failed": 0, "unfinished": 3}
        morning = office.morning()
        assert codes == [0]
        assert "Tout est arrivé : 4 exports et rapports sur 4. Vous n'avez rien à faire." in morning.words
        for client in (BAKERY, down, broken):
            assert morning.entries(client.lucca.name) == office.made(client)
        # What could not be asked was asked once it could; what was made meanwhile was not asked for again.
        assert office.triggered(down)[0] >= 180
        assert len(office.triggered(down)) == len(office.triggered(BAKERY)) == 1
        # While nothing is heard, no look came right before the hour was up, so nothing was asked for again.
        assert len(office.triggered(broken)) == 1
        # A report that could not be asked after is not taken for one that never ends.
        assert len(office.world.requests("traiteur.ilucca.net", "report.create")) == 1
        assert all(job["error"] is None for job in morning.jobs.values())
        # Waiting is patient: an outage is no reason to hammer.
        asked = office.world.requests("cables.ilucca.net")
        assert len([r for r in asked if r.at_seconds - asked[0].at_seconds < hours]) < 3 * 60 * 2

    at_the_office(tmp_path, (BAKERY, down, broken), story)


def test_months_end_with_an_export_that_takes_75_minutes(tmp_path: Path) -> None:
    day = date(2026, 12, 1)
    large = Client(
        "Biotech Léman",
        TenantScenario(
            domain="biotech.ilucca.ch", employees=60, configurations=takes(75, late_corrections=2)
        ),
    )

    async def story(office: Office) -> None:
        code, morning = await office.run(day)
        assert code == 0
        # After an hour nobody can tell it from one that failed, so it was asked for once more.
        assert office.triggered(large) == [0, 60]
        assert morning.states("biotech/payroll")[:4] == ["triggered", "polling", "retried", "polling"]
        assert "Tout est arrivé : 2 exports sur 2. Vous n'avez rien à faire." in morning.words
        assert "demandé 2 fois à Lucca" in morning.words
        (first,) = morning.jobs["biotech/payroll"]["remote_ids"]
        # Its twin comes an hour later, with what was entered since. The next night looks, finds it and says so.
        await office.until(two_o_clock(day + timedelta(days=1)))
        code, next_morning = await office.run(day + timedelta(days=1))
        assert code == 3
        job = next_morning.jobs["biotech/payroll"]
        assert (job["state"], job["flags"]) == ("downloaded", ["duplicate"])
        (twin,) = set(job["remote_ids"]) - {first}
        assert next_morning.files("biotech") == [f"payroll-{twin}.csv", f"payroll-{twin}.json"]
        assert "1 client demande une action." in next_morning.words
        assert "Biotech Léman" in next_morning.words
        assert "Plusieurs versions" in next_morning.words
        assert "N'en importez aucun sans avoir vu l'autre." in next_morning.words
        assert f"n° {first} :" in next_morning.words
        assert f"n° {twin} :" in next_morning.words
        assert morning.entries("biotech") + next_morning.entries("biotech") == office.made(large)
        assert max(office.made(large).values()) == 1
        assert office.triggered(large) == [0, 60]

    at_the_office(tmp_path, (BAKERY, large), story, day)


def test_months_end_where_one_waits_longer_than_75_minutes(tmp_path: Path) -> None:
    large = Client("Biotech Léman", TenantScenario(domain="biotech.ilucca.ch", configurations=takes(75)))

    async def story(office: Office) -> None:
        code, morning = await office.run(retrigger_after_seconds=7200.0)
        assert code == 0
        assert office.triggered(large) == [0]
        assert morning.states("biotech/payroll") == ["triggered", "polling", "downloading", "downloaded"]
        assert "demandé" not in morning.words
        assert morning.entries("biotech") == office.made(large)

    at_the_office(tmp_path, (large,), story)


@pytest.mark.parametrize("rebooted", [False, True], ids=["the program died", "the machine died"])
def test_a_box_that_died_at_ten_past_two_and_came_back_at_half_past_seven(
    tmp_path: Path, rebooted: bool
) -> None:
    lost = Client(
        "Scierie du Jura",
        TenantScenario(
            domain="scierie.ilucca.ch",
            configurations=takes(1, triggers=(Trigger(completes=False, answer=UNHEARD, answer_seconds=3.0),)),
        ),
    )
    late = Client(
        "Garage Vuilleumier",
        TenantScenario(domain="garage.ilucca.ch", outages=(Outage(from_seconds=0.0, to_seconds=3600.0),)),
    )
    clients = (BAKERY, CLINIC, PRINTER, lost, late)

    async def story(office: Office) -> None:
        await office.die_at(two_o_clock(TUESDAY) + timedelta(minutes=10))
        await office.until(two_o_clock(TUESDAY) + timedelta(hours=5, minutes=25))
        found = office.morning()
        # Who reads the page before it came back sees that it does not move, and whom to call.
        assert "En cours" in found.words
        assert "Si elle n'a pas changé depuis plus de deux minutes, la nuit s'est arrêtée" in found.words
        assert "prévenez l'équipe technique" in found.words
        assert "Rien n'est perdu, une relance reprendra où elle en était." in found.words
        assert found.document["finished_at"] is None
        assert found.document["counts"] == {"downloaded": 2, "failed": 0, "unfinished": 4}
        await office.until(two_o_clock(TUESDAY) + timedelta(hours=5, minutes=30))
        if rebooted:
            office.clock.reboot("boot-2")
        asked = len(office.world.triggers)
        code, morning = await office.run()
        assert code == 0
        assert "Tout est arrivé : 6 exports et rapports sur 6. Vous n'avez rien à faire." in morning.words
        assert "demandé 2 fois à Lucca" in morning.words
        for client in clients:
            assert morning.entries(client.lucca.name) == office.made(client)
        # Asked for again is only what never came, after far more than the hour.
        assert [office.triggered(c) for c in (BAKERY, CLINIC, PRINTER)] == [[0]] * 3
        assert office.triggered(lost) == [0, 330]
        assert office.triggered(late) == [330]
        assert len(office.world.triggers) == asked + 2
        assert morning.document["started_at"] < morning.document["finished_at"]

    at_the_office(tmp_path, clients, story)
