"""The parts of the README that programs fill: what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"


def shown(name: str) -> str:
    """What the part shows now."""
    return _find(name, README.read_text("utf-8"))[0]


def fill(name: str, text: str) -> None:
    """Let the part show `text`."""
    page = README.read_text("utf-8")
    part = _find(name, page)
    README.write_text(page[: part.start()] + text + page[part.end() :], "utf-8")


def _find(name: str, page: str) -> re.Match[str]:
    part = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", page, re.DOTALL)
    assert part is not None, f"README.md has lost the marks around its part {name}"
    return part
