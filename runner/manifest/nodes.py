"""YAML text to nodes that know their place. Owns what of YAML is refused; knows nothing of what a manifest is.

Scalars stay text: that `no` is a label and `00123` a number in a file is decided by whoever reads them, never by
YAML. What is refused in one place (an alias, a tag, a nest too deep) becomes a `Refused` node there, so that it
stops the entry it stands in and not the whole file. Nodes form no cycles, so the collector need not know them.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from yaml import YAMLError
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

FILE_MAX_BYTES = 50 * 1024 * 1024
EVENTS_MAX = 8_000_000
DEPTH_MAX = 30
NESTING_MAX = 200  # the time that libyaml takes grows with the square of the depth


class Scalar(Struct, gc=False):
    """A text; `plain` if it stood without quotes."""

    line: int
    column: int
    text: str
    plain: bool


class Sequence(Struct, gc=False):
    """A list."""

    line: int
    column: int
    items: list["Node"] = field(default_factory=list)


class Mapping(Struct, gc=False):
    """Keys and values in the order of the file; the same key may stand there twice."""

    line: int
    column: int
    pairs: list[tuple["Node", "Node"]] = field(default_factory=list)


class Refused(Struct, gc=False):
    """Something that YAML allows and a manifest does not."""

    line: int
    column: int
    reason: str


Node = Scalar | Sequence | Mapping | Refused


class UnusableFileError(Exception):
    """A file that cannot be used at all. The message repeats nothing of what it holds."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line, self.column = line, column

    def told(self, file: str) -> str:
        """One line for people; without a place where the file could not even be read."""
        return f"{file}:{self.line}:{self.column}: {self}" if self.line else f"{file}: {self}"


def read_capped(path: Path, max_bytes: int, *, any_kind: bool = False) -> bytes:
    """The content of a file that is not larger than this.

    Args:
        path: where it is.
        max_bytes: the most that it may hold.
        any_kind: it may be a pipe or a device too, and is waited for. Else one would hold up everybody for ever.

    Raises:
        UnusableFileError: it cannot be read, or is larger.
    """
    try:
        with open(path, "rb", opener=None if any_kind else _open_at_once) as file:
            if not any_kind and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableFileError("cannot be read: it is no regular file")
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise UnusableFileError(
            f"cannot be read: {getattr(error, 'strerror', None) or 'not a path'}"
        ) from None
    if len(content) > max_bytes:
        raise UnusableFileError(f"is larger than {max_bytes // (1024 * 1024)} MB")
    return content


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


class Document:
    """The only document of a YAML file: nodes from the events of libyaml.

    Its own composer is not used: it would resolve aliases and forget tags.

    Attributes:
        root: the outermost node, as far as it is read by `items_of`.
    """

    root: Node

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._next_event: Callable[[], Any] = CParser(content).get_event
        self._events_left = EVENTS_MAX

    def items_of(self, key: str) -> Iterator[Node]:
        """Read all of it, and meanwhile give the items of the list under this key of the root, one by one.

        The root is left without them, so that the nodes of a large file need not be in memory together.

        Raises:
            UnusableFileError: it is not YAML, is empty, or holds several documents.
        """
        try:
            yield from self._items_of(key)
        except MarkedYAMLError as error:
            mark = error.problem_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise UnusableFileError(f"not YAML: {error.problem}", *place) from None
        except ReaderError as error:
            to_do = "; save the file as UTF-8" if "UTF-8" in error.reason else ""
            place = self._place_of(error.position)
            raise UnusableFileError(f"not YAML: {error.reason}{to_do}", *place) from None
        except (YAMLError, UnicodeError, ValueError):
            raise UnusableFileError("not YAML", 1, 1) from None

    def _place_of(self, position: int) -> tuple[int, int]:
        """Line and column of what cannot be read; libyaml counts the bytes before it, those of half a character too."""
        before = self._content[:position].decode("utf-8", "ignore")
        return before.count("\n") + 1, len(before) - before.rfind("\n")

    def _items_of(self, key: str) -> Iterator[Node]:
        self._next_event()  # the stream's start
        if type(self._next_event()) is StreamEndEvent:
            raise UnusableFileError("is empty", 1, 1)
        event = self._next_event()
        if type(event) is MappingStartEvent and not _reason(event, 1):
            yield from self._items_below(event, key)
        else:
            self.root = self._node(event, 1)
        self._next_event()  # the document's end
        event = self._next_event()
        if type(event) is not StreamEndEvent:
            raise UnusableFileError("holds several YAML documents; one is expected", *_place(event))

    def _items_below(self, event: Any, key: str) -> Iterator[Node]:  # noqa: ANN401 - PyYAML's events share no useful base
        next_event = self._next_event
        self.root = root = Mapping(*_place(event))
        while type(event := next_event()) is not MappingEndEvent:
            name, event = self._node(event, 2), next_event()
            listed = type(event) is SequenceStartEvent and not _reason(event, 2)
            if listed and type(name) is Scalar and name.text == key:
                root.pairs.append((name, Sequence(*_place(event))))
                while type(event := next_event()) is not SequenceEndEvent:
                    yield self._node(event, 3)
            else:
                root.pairs.append((name, self._node(event, 2)))

    def _node(self, event: Any, depth: int) -> Node:  # noqa: ANN401 - see above
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        self._events_left -= 1
        if self._events_left < 0:
            raise UnusableFileError(f"holds more than {EVENTS_MAX} keys and values", line, column)
        kind = type(event)
        if kind is ScalarEvent and not event.anchor and not event.tag:
            return Scalar(line, column, event.value, event.style == "")
        reason = _reason(event, depth)
        if depth > NESTING_MAX:
            raise UnusableFileError("is nested without end", line, column)
        node: Node
        if kind is MappingStartEvent:
            node = self._mapping(Mapping(line, column), depth)
        elif kind is SequenceStartEvent:
            node = self._sequence(Sequence(line, column), depth)
        else:
            return Refused(line, column, reason)
        return Refused(line, column, reason) if reason else node

    def _mapping(self, node: Mapping, depth: int) -> Mapping:
        next_event, pairs = self._next_event, node.pairs
        while type(event := next_event()) is not MappingEndEvent:
            key = self._node(event, depth + 1)
            pairs.append((key, self._node(next_event(), depth + 1)))
        return node

    def _sequence(self, node: Sequence, depth: int) -> Sequence:
        next_event, items = self._next_event, node.items
        while type(event := next_event()) is not SequenceEndEvent:
            items.append(self._node(event, depth + 1))
        return node


def _place(event: Any) -> tuple[int, int]:  # noqa: ANN401 - see above
    return event.start_mark.line + 1, event.start_mark.column + 1


def _reason(event: Any, depth: int) -> str:  # noqa: ANN401 - see above
    if type(event) is AliasEvent:
        return "YAML aliases (*name) are not allowed; write it out, or use defaults"
    if event.anchor:
        return "YAML anchors (&name) are not allowed; use defaults for what tenants share"
    if event.tag:
        return "YAML tags (!name) are not allowed; quote a text that begins with an exclamation mark"
    return f"nested more than {DEPTH_MAX} levels deep" if depth > DEPTH_MAX else ""
