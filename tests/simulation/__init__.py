"""Deterministic simulation: the real program against the sandbox in virtual time, every fault from a seed.

* `story`: what will happen, told from the seed
* `rarities`: what one in seventeen meets besides
* `ports`: where a process may die, before or after any effect
* `witness`: what was seen
* `judge`, `exports`: the promises
* `play`: one schedule from beginning to end

`python -m tests.simulation --seed 17 --trace` plays one, `--count 20000 --start 0` many.
"""

from tests.simulation.play import Report, run_schedule
from tests.simulation.story import Size

__all__ = ["Report", "Size", "run_schedule"]
