"""The transition tables as Mermaid diagrams, so that the picture in the README cannot differ from the rule.

Must not know where the text ends up. Pure: the same table gives the same text, arrows and labels in one order.
"""

import re
from typing import Any

from runner.jobs.model import FINISHED, State
from runner.jobs.tables import TABLES

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


def mermaid(kind: str) -> str:
    """The states of one kind of job as a Mermaid `stateDiagram-v2`, without a line break at its end.

    Args:
        kind: export or report.
    """
    arrows: dict[tuple[State, State], set[str]] = {}
    for source, exits in TABLES[kind].items():
        for event, targets in exits.items():
            for target in targets:
                arrows.setdefault((source, target), set()).add(_words(event))
    order = {state: place for place, state in enumerate(State)}
    lines = [f"[*] --> {State.PENDING}"]
    for source, target in sorted(arrows, key=lambda arrow: (order[arrow[0]], order[arrow[1]])):
        lines.append(f"{source} --> {target}: {', '.join(sorted(arrows[source, target]))}")
    used = {state for arrow in arrows for state in arrow}
    lines += [f"{state} --> [*]" for state in State if state in FINISHED & used]
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in lines)])


def _words(event: type[Any]) -> str:
    """`TriggerLetGo` as people say it: trigger let go."""
    return _WORD_START.sub(" ", event.__name__).lower()
