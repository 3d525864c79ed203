"""One runner at a time, whatever becomes of the one before: real processes, and real kills."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from runner.clock import Instant
from runner.errors import LockHeldError
from runner.journal import JournalReader, hold

pytestmark = pytest.mark.anyio

AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)

# Waits for a line, takes the journal, does the work, says so, and keeps it until its input ends.
HOLDER = """
    import anyio, sys
    from datetime import UTC, date, datetime
    from pathlib import Path
    from runner.errors import LockHeldError
    from runner.journal import Spend, hold

    async def main():
        sys.stdin.readline()
        try:
            async with hold(Path(sys.argv[1])) as journal:
                {work}
                print("held", flush=True)
                sys.stdin.read()
        except LockHeldError:
            print("refused", flush=True)

    anyio.run(main)
"""


class Rival:
    """A process that wants the journal."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def start(self) -> None:
        self._stdin.write("go\n")
        self._stdin.flush()

    def word(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def leave(self) -> None:
        self._stdin.close()
        self._process.wait()

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        assert self._process.wait() == -signal.SIGKILL

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


@contextmanager
def rival(path: Path, work: str = "pass") -> Iterator[Rival]:
    """A process that will hold the journal at `path` once it is started."""
    code = textwrap.dedent(HOLDER.format(work=work))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Rival(process)
        finally:
            process.kill()


async def test_a_second_runner_is_refused_at_once_and_told_who_is_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with rival(path) as other:
        other.start()
        assert other.word() == "held"
        words = rf"another runner holds the journal .*process {other.pid} on .* since 20.*Nothing was sent"
        with pytest.raises(LockHeldError, match=words) as refusal:
            async with hold(path):
                pass
        assert refusal.value.exit_code == 5
        other.leave()
    async with hold(path) as journal:
        assert journal.epoch == 2


async def test_a_journal_has_one_lock_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "other.db").symlink_to(tmp_path / "real" / "journal.db")
    async with hold(tmp_path / "real" / "journal.db"):
        for name in ("link/journal.db", "other.db"):
            with pytest.raises(LockHeldError):
                async with hold(tmp_path / name):
                    pass


async def test_a_holder_that_left_no_word_is_refused_as_well(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with hold(path):
        (tmp_path / "journal.db.lock").write_text("")
        with pytest.raises(LockHeldError, match=r"holds the journal .*journal\.db\. Nothing"):
            async with hold(path):
                pass


async def test_of_several_that_start_together_one_holds_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with rival(path) as a, rival(path) as b, rival(path) as c:
        for one in (a, b, c):
            one.start()
        assert sorted(one.word() for one in (a, b, c)) == ["held", "refused", "refused"]


async def test_a_killed_holder_lets_the_next_one_in_with_all_it_recorded(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    work = "await journal.start_night(date(2026, 11, 24), datetime(2026, 11, 24, tzinfo=UTC))"
    with rival(path, work) as other:
        other.start()
        assert other.word() == "held"
        other.kill()
    async with hold(path) as journal:
        assert journal.epoch == 2
        assert [night.day for night in await journal.unclosed_nights()] == [24]


async def test_spends_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    work = (
        "[await journal.spend(Spend('acme.ilucca.net', 'boot', 100.0 + n, datetime(2026, 11, 24, 1, tzinfo=UTC))) "
        "for n in range(25)]"
    )
    with rival(path, work) as other:
        other.start()
        assert other.word() == "held"
        other.kill()
    async with hold(path) as journal:
        spends = await journal.recent_spends(Instant(AT, 130.0, "boot"))
    assert spends == {"acme.ilucca.net": [100.0 + number for number in range(25)]}


async def test_what_a_killed_runner_left_can_be_read_before_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    work = "await journal.start_night(date(2026, 11, 24), datetime(2026, 11, 24, tzinfo=UTC))"
    with rival(path, work) as other:
        other.start()
        assert other.word() == "held"
        with JournalReader(path) as reader:
            assert [row.finished_at for row in reader.nights()] == [None]
        other.kill()
    with JournalReader(path) as reader:
        assert [row.finished_at for row in reader.nights()] == [None]
