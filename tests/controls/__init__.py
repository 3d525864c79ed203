"""Negative controls: known faults, planted one at a time in a copy of the repository, each to be caught by the tests.

A suite that passes shows nothing unless it fails where it should. `python -m tests.controls` plants every fault of the
table, runs the tests named beside it, and is content only if each of them fails.

* `model`: what a control is, and planting; pure
* `once`: faults that would double, lose or mistake somebody's hours
* `whole`: faults that would leave false, torn or forgotten files and records
* `apart`: faults that would let one client reach another, overspend a budget, or tell a key
* `play`: the copy, and the tests run in it
"""

from tests.controls.apart import APART
from tests.controls.once import ONCE
from tests.controls.whole import WHOLE

CONTROLS = (*ONCE, *WHOLE, *APART)
