"""`python -m tests.promises`: the table of promises in the README, with the last figures of each campaign.

Owns the table. The figures come from what `make test`, `make controls` and `make soak` noted below `build/figures`; a
row that was not tried since keeps the figure that the README has.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.figures import Figures, MissingError
from tests.readme import ROOT, fill, shown

FOLDER: Final = ROOT / "build" / "figures"
NEVER: Final = "not tried yet"


@dataclass(frozen=True, slots=True)
class Promise:
    """A row.

    Attributes:
        promise: what is promised.
        tried: how it is tried.
        command: what tries it again.
        figure: what came of it, told from the notes; raises `MissingError` where it was not tried.
    """

    promise: str
    tried: str
    command: str
    figure: Callable[[Figures], str]

    def row(self, figure: str) -> str:
        """As the README has it."""
        return f"| {self.promise} | {self.tried}: `{self.command}` | {figure} |"


def _cases(*files: str) -> Callable[[Figures], str]:
    return lambda told: f"{told.passed(*files):,.0f} cases, all good"


def _told(campaign: str, text: str, *names: str) -> Callable[[Figures], str]:
    """`text` with the sums of these names."""
    return lambda told: text.format(*(told.sum(campaign, name) for name in names))


def _resumed(told: Figures, campaign: str) -> str:
    middle, most = told.median(campaign, "resumed_seconds"), told.most(campaign, "resumed_seconds")
    return f"the next run's first request comes after {middle:.1f} s (median), {most:.1f} s (longest)"


def _killed(told: Figures) -> str:
    counts = _told("kills", "{:.0f} nights, {:.0f} killed again while they recovered", "nights", "again")
    return f"{counts(told)}; {_resumed(told, 'kills')}"


def _soaked(told: Figures) -> str:
    counts = _told("soak", "{:,.0f} nights, {:,.0f} kills, {:.0f} broken", "nights", "kills", "broken")
    return f"{counts(told)}; {_resumed(told, 'soak')}"


def _raced(told: Figures) -> str:
    middle, most = told.median("races", "leaves_seconds"), told.most("races", "leaves_seconds")
    pairs = told.sum("races", "pairs")
    return f"{pairs:.0f} of {pairs:.0f}, after {middle * 1e3:.0f} ms (median), {most * 1e3:.0f} ms (longest)"


def _isolated(told: Figures) -> str:
    return (
        f"{told.sum('isolation', 'illnesses'):.0f} nights; the last healthy client at most "
        f"{100 * told.most('isolation', 'longer'):.0f} % later than usual"
    )


def _searched(told: Figures) -> str:
    artefacts, size = told.sum("canaries", "artefacts"), told.sum("canaries", "size_bytes")
    return f"{artefacts:,.0f} artefacts, {size / 1e6:,.0f} MB: no key, no name"


PROMISES: Final = (
    Promise(
        "No second trigger of an export within its hour, none beyond the most; every export that appears ends on "
        "disk or is named; no file torn",
        "seeded schedules of whole nights in virtual time, through the real client, journal and files: crashes between "
        "any two effects, reboots, clock steps, lost journals, outages, staff at work; counted by the server",
        "pytest tests/test_simulation.py",
        _told(
            "simulation",
            "{:,.0f} schedules, {:,.0f} crashes, {:,.0f} requests; {:.0f} broken",
            *("schedules", "crashes", "requests", "broken"),
        ),
    ),
    Promise(
        "A killed night is taken up without asking twice",
        "the real command, SIGKILL before, in the midst of and after every kind of effect, and again during the "
        "recovery",
        "pytest tests/e2e/test_kill_matrix.py",
        _killed,
    ),
    Promise(
        "Wherever it was killed",
        "at random moments and places, up to four times a night, for as long as one likes",
        "make soak",
        _soaked,
    ),
    Promise(
        "It stays so over a year",
        "one journal, night after night, with crashes, new versions of manifest and program, clock steps, both changes "
        "of the clocks, outages of hours and staff exporting by hand",
        "make soak",
        _told(
            "year",
            "{:,.0f} nights, {:,.0f} jobs, {:,.0f} crashes; {:.0f} broken",
            *("nights", "jobs", "crashes", "broken"),
        ),
    ),
    Promise(
        "The tests would notice",
        "faults planted one at a time into a copy: an intent stored too late, a baseline refreshed, a lock left out, …",
        "make controls",
        _told("controls", "{:.0f} of {:.0f} caught", "caught", "planted"),
    ),
    Promise(
        "Every trouble ends in the right state, flag, error and exit code",
        "a night of seventeen tenants, each with another trouble; started again it sends no POST",
        "pytest tests/e2e/test_seventeen.py",
        _cases("tests/e2e/test_seventeen.py"),
    ),
    Promise(
        "Nothing false is stored as content; each error names its tenant and the remedy",
        "cut, compressed, endless, slow, misleading, wrong and hostile answers, redirects, certificates and names, on "
        "raw sockets",
        "pytest tests/e2e/test_lies.py tests/e2e/test_hosts.py tests/test_answers_that_lie.py "
        "tests/test_answer_properties.py tests/test_transport.py",
        _cases(
            "tests/e2e/test_lies.py",
            "tests/e2e/test_hosts.py",
            "tests/test_answers_that_lie.py",
            "tests/test_answer_properties.py",
            "tests/test_transport.py",
        ),
    ),
    Promise(
        "What was refused can be looked at, and costs nothing",
        "modes, names, bounds, links, full disks, answers that show the key in eleven shapes",
        "pytest tests/test_quarantine.py",
        _cases("tests/test_quarantine.py"),
    ),
    Promise(
        "A visible file is whole, and nothing is overwritten",
        "a crash before every single effect of staging and placing, then a rerun; full disks, links, strangers' files",
        "pytest tests/test_output.py tests/test_output_crashes.py tests/e2e/test_links.py",
        _cases("tests/test_output.py", "tests/test_output_crashes.py", "tests/e2e/test_links.py"),
    ),
    Promise(
        "What was said to be on disk survives a power cut",
        "the power is cut between any two effects on files: bytes that were not flushed are gone, names are gone or "
        "kept; then the next run",
        "pytest tests/test_power_cuts.py",
        _told("power", "{:,.0f} cuts, no file torn, none missing that was told", "cuts"),
    ),
    Promise(
        "Trouble with the disk ends with 6, tears no file and triggers nothing whose intent is not stored",
        "full and read-only disks, no descriptors left, network shares, damaged and newer journals",
        "pytest tests/e2e/test_storage.py tests/e2e/test_journals.py tests/test_journal_files.py",
        _cases("tests/e2e/test_storage.py", "tests/e2e/test_journals.py", "tests/test_journal_files.py"),
    ),
    Promise(
        "Of two runners in one millisecond one leaves with 5, having sent nothing",
        "pairs of real processes, let go at one moment; the server counts",
        "pytest tests/e2e/test_races.py",
        _raced,
    ),
    Promise(
        "The hour stays an hour, a day a day",
        "clocks set by an hour and by a year, suspends, reboots, days of 23 and 25 hours, the leap day",
        "pytest tests/test_time.py tests/e2e/test_elsewhen.py",
        _cases("tests/test_time.py", "tests/e2e/test_elsewhen.py"),
    ),
    Promise(
        "Where a tenth of the hosts is ill, the healthy end within 10 % of their time",
        "300 tenants in virtual time, thirty of them hanging, slow or ill in thirteen other ways",
        "pytest tests/test_isolation.py",
        _isolated,
    ),
    Promise(
        "The budget holds in any 60 s, restarts included",
        "by the server's count, at the end of every night that a test plays",
        "make test",
        _told("budget", "{:,.0f} hosts, none over its budget", "hosts"),
    ),
    Promise(
        "One tenant's fault stops that tenant alone",
        "faulty entries, refused keys, keys that are not to be had",
        "pytest tests/e2e/test_clients.py",
        _cases("tests/e2e/test_clients.py"),
    ),
    Promise(
        "No key anywhere, and no employee outside the payloads",
        "files, journal with its log, pages, log at debug level and words on screen of every night and every command "
        "in the tests; plain, base64, URL, JSON, HTML, UTF-16",
        "make test",
        _searched,
    ),
    Promise(
        "No other process sees a key; a key's command sees nothing of ours",
        "a command that notes its environment and all command lines while a night runs; every kind of reference",
        "pytest tests/e2e/test_secrets.py tests/e2e/test_key_keepers.py tests/test_credentials.py",
        _cases("tests/e2e/test_secrets.py", "tests/e2e/test_key_keepers.py", "tests/test_credentials.py"),
    ),
    Promise(
        "Hostile manifests are refused within seconds",
        "bombs, depth, size, 10,000 fuzzed names, look-alike hosts, climbing names, pipes and files without end",
        "pytest tests/test_manifest_hostile.py tests/e2e/test_hostile.py",
        _cases("tests/test_manifest_hostile.py", "tests/e2e/test_hostile.py"),
    ),
    Promise(
        "The page says what a clerk needs",
        "five nights walked through and read",
        "pytest tests/e2e/test_five_nights.py tests/test_summary_page.py",
        _cases("tests/e2e/test_five_nights.py", "tests/test_summary_page.py"),
    ),
    Promise(
        "No tracked file holds a secret; every package is pinned by hash",
        "shapes of keys in all tracked files; every line of the four locks",
        "pytest tests/test_repository.py",
        _cases("tests/test_repository.py"),
    ),
)


def table(told: Figures, before: Mapping[str, str]) -> str:
    """The rows; a figure that nobody noted stays as it was `before`, by promise."""
    rows = ["| promise | how it is tried | last figure |", "|---|---|---|"]
    for promise in PROMISES:
        try:
            figure = promise.figure(told)
        except MissingError:
            figure = before.get(promise.promise, NEVER)
        rows.append(promise.row(figure))
    return "\n".join(rows) + "\n"


def figures_in(text: str) -> dict[str, str]:
    """The figures that a table has, by promise."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    return {row[0]: row[-1] for row in rows}


def main() -> int:
    """Fill the table."""
    argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__).parse_args()
    made = table(Figures(FOLDER), figures_in(shown("promises")))
    fill("promises", made)
    sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
