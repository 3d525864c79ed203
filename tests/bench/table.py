"""Figures and how they are shown: median, spread, ratios, the Markdown table, the picture. Pure; measures nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """What several runs gave, in one unit."""

    values: tuple[float, ...]
    unit: str = ""

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    def over(self, other: "Figure") -> "Figure":
        """The ratios, each run to the run beside it."""
        return Figure(tuple(a / b for a, b in zip(self.values, other.values, strict=True)), "×")

    def __str__(self) -> str:
        low, high = _short(min(self.values)), _short(max(self.values))
        spread = f" ({low}–{high})" if low != high else ""
        space = "" if self.unit in ("×", "") else "\u00a0"
        return f"{_short(self.median)}{spread}{space}{self.unit}"


def _short(value: float) -> str:
    """Three digits are more than such a figure is worth."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Goal:
    """What one figure of a row should be.

    Attributes:
        name: what is compared, in a word or two.
        figure: what was measured.
        limit: the goal.
        least: whether the figure should be at least that, instead of at most.
    """

    name: str
    figure: Figure
    limit: float
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the median keeps it."""
        return self.figure.median >= self.limit if self.least else self.figure.median <= self.limit

    @property
    def used(self) -> float:
        """How much of what is allowed was used: 1 is just met."""
        if self.least:
            return self.limit / self.figure.median if self.figure.median else float("inf")
        return self.figure.median / self.limit

    @property
    def wanted(self) -> str:
        """The goal as a reader writes it."""
        unit = "" if self.figure.unit in ("×", "") else "\u00a0"
        return f"{'≥' if self.least else '≤'}\u00a0{self.limit:g}{unit}{self.figure.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary.

    Attributes:
        what: what was measured.
        ours: by name, what the program took.
        beside: by name, what the floor or the peer took in the same minutes.
        goals: what it should be, and is.
        note: what a reader must know to believe it.
    """

    what: str
    ours: Sequence[tuple[str, Figure]]
    beside: Sequence[tuple[str, Figure]]
    goals: Sequence[Goal]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that could not be measured here, and why."""

    what: str
    why: str


Line = Row | Skipped


def markdown(lines: Sequence[Line], machine: str) -> str:
    """The summary as a page."""
    out = [
        "# Measured",
        "",
        machine,
        "",
        "Medians, the least and the greatest in parentheses; a ratio is taken between runs that stood side by side.",
        "",
        "| what | the program | beside it | ratio or count | goal | |",
        "|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for line in lines:
        if isinstance(line, Skipped):
            out.append(f"| {line.what} | not measured: {line.why} | | | | – |")
            continue
        mark = ""
        if line.note:
            notes.append(line.note)
            mark = f" [{len(notes)}]"
        cells = [
            line.what + mark,
            _told(line.ours),
            _told(line.beside),
            "<br>".join(f"{goal.name} {goal.figure}".strip() for goal in line.goals),
            "<br>".join(goal.wanted for goal in line.goals),
            "<br>".join("met" if goal.met else "**missed**" for goal in line.goals),
        ]
        out.append(f"| {' | '.join(cells)} |")
    out += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(out).rstrip() + "\n"


def summary(lines: Sequence[Line]) -> str:
    """What a reader of the README wants to know of it: a row for each goal, the missed ones too."""
    out = ["| what | measured | goal | |", "|---|---|---|---|"]
    for line in lines:
        if isinstance(line, Row):
            for goal in line.goals:
                what = f"{line.what}: {goal.name}" if goal.name else line.what
                out.append(
                    f"| {what} | {goal.figure} | {goal.wanted} | {'met' if goal.met else '**missed**'} |"
                )
    return "\n".join(out) + "\n"


def _told(figures: Sequence[tuple[str, Figure]]) -> str:
    return "<br>".join(f"{name} {figure}".strip() for name, figure in figures)


_WIDTH, _LEFT, _UNIT, _STEP = 900, 430, 190, 26


def svg(lines: Sequence[Line], machine: str) -> str:
    """The summary as a picture: how much of each goal was used; the line is where it would be just met."""
    goals = [(line.what, goal) for line in lines if isinstance(line, Row) for goal in line.goals]
    height = 74 + _STEP * len(goals) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="13"',
        'role="img" aria-label="How much of each goal was used">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="16" font-weight="600" fill="#1f2933">Cost, as a part of what is allowed</text>',
        f'<text x="16" y="46" fill="#616e7c">{escape(machine)}</text>',
    ]
    for number, (what, goal) in enumerate(goals):
        y = 64 + _STEP * number
        length = max(2.0, min(goal.used, 2.0) * _UNIT)
        colour = "#2f855a" if goal.met else "#c05621"
        name = f"{what}: {goal.name}" if goal.name else what
        told = f"{goal.figure} of {goal.wanted}"
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 14}" text-anchor="end" fill="#1f2933">{escape(_cut(name))}</text>',
            f'<rect x="{_LEFT}" y="{y + 3}" width="{length:.1f}" height="15" rx="2" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{y + 15}" font-size="11" fill="#616e7c">{escape(told)}</text>',
        ]
    x = _LEFT + _UNIT
    parts += [
        f'<line x1="{x}" x2="{x}" y1="58" y2="{height - 22}" stroke="#1f2933" stroke-dasharray="3 3"/>',
        f'<text x="{x}" y="{height - 8}" text-anchor="middle" font-size="11" fill="#616e7c">just met</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _cut(text: str) -> str:
    return text if len(text) <= 62 else text[:61] + "…"
