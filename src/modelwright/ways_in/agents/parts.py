"""What is written into one file, and how it is taken out again: pure functions of its text."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from modelwright.ways_in.agents import jsonc
from modelwright.ways_in.agents.marked import (
    Comment,
    NotOursError,
    drop_block,
    is_whole,
    put_block,
    read_block,
    whole,
)
from modelwright.ways_in.agents.shapes import Client, State

FILE = ""
"""The whole file, among what holds nothing."""
_EMPTY = re.compile(r"\s*\{\s*\}\s*")
YOURS = "edited by you, so it is left as it is"


class Change(NamedTuple):
    """A file afterwards (None: there is none). `paste`: what we did not dare to write."""

    text: str | None
    state: State
    why: str = ""
    paste: str = ""


class Part(Protocol):
    """One file of one or several clients."""

    @property
    def path(self) -> str:
        """Below the project."""

    @property
    def clients(self) -> tuple[Client, ...]:
        """Whose it is."""

    def install(self, text: str | None) -> Change:
        """made, updated, same or left."""

    def hollow(self, text: str) -> dict[str, str]:
        """What a user has there that holds nothing, so that it looks like ours once ours is out."""

    def withdraw(self, text: str, kept: Mapping[str, str] = jsonc.NONE) -> Change:
        """removed; same where nothing of ours is there; left where a user edited it.

        Args:
            kept: what `hollow` found before ours came.
        """


class Member(NamedTuple):
    """A value in a JSON file. `is_ours`: whether one that is there is ours, of any version."""

    place: tuple[str, ...]
    value: Any
    is_ours: Callable[[Any], bool]


@dataclass(frozen=True)
class JsonPart:
    """Values, and items of lists, in a JSON file with or without comments."""

    path: str
    clients: tuple[Client, ...]
    members: tuple[Member, ...]
    items: tuple[tuple[tuple[str, ...], str], ...] = ()

    def install(self, text: str | None) -> Change:
        """Merge into what is there."""
        if text is None or not text.strip():
            return Change(f"{self._fill('{}')[0]}\n", "made")
        try:
            was_there = self._empty(text) != text
            edited, own = self._fill(text)
        except jsonc.NotEditableError as error:
            why = f"cannot be edited safely ({error}); put this in yourself"
            return Change(text, "left", why, self._fill("{}")[0])
        why = f"{', '.join(own)} is yours, so it is left as it is" if own else ""
        if edited == text:
            return Change(text, "left" if own else "same", why)
        if was_there:
            return Change(edited, "updated", why)
        return Change(edited, "made", "; ".join(filter(None, ("added to your file", why))))

    def hollow(self, text: str) -> dict[str, str]:
        """The file, or objects and lists in it."""
        if not text.strip() or _EMPTY.fullmatch(text):
            return {FILE: text}
        places = [place[:-1] for place, _, _ in self.members] + [place for place, _ in self.items]
        found: dict[str, str] = {}
        with contextlib.suppress(jsonc.NotEditableError):
            for place in places:
                found |= jsonc.hollow(text, place)
        return found

    def withdraw(self, text: str, kept: Mapping[str, str] = jsonc.NONE) -> Change:
        """Take ours out; a file that then holds nothing goes, unless it was there before."""
        try:
            edited = self._empty(text, kept)
        except jsonc.NotEditableError as error:
            why = f"cannot be edited safely ({error}); if a modelwright is in it, remove it"
            return Change(text, "left", why)
        if edited == text:
            return Change(text, "same")
        return Change(kept.get(FILE) if _EMPTY.fullmatch(edited) else edited, "removed")

    def _fill(self, text: str) -> tuple[str, list[str]]:
        own = []
        for place, value, is_ours in self.members:
            found = jsonc.get(text, place)
            if found is jsonc.MISSING or (found != value and is_ours(found)):
                text = jsonc.put(text, place, value)
            elif found != value:
                own.append(".".join(place))
        for place, item in self.items:
            found = jsonc.get(text, place)
            if found is jsonc.MISSING or not isinstance(found, list) or item not in found:
                text = jsonc.append(text, place, item)
        return text, own

    def _empty(self, text: str, kept: Mapping[str, str] = jsonc.NONE) -> str:
        for place, _, is_ours in self.members:
            found = jsonc.get(text, place)
            if found is not jsonc.MISSING and is_ours(found):
                text = jsonc.drop(text, place, kept=kept)
        for place, item in self.items:
            text = jsonc.drop(text, place, item, kept=kept)
        return text


@dataclass(frozen=True)
class BlockPart:
    """A marked block in a text. `unless`: a text that, where a user has it, makes it needless."""

    path: str
    clients: tuple[Client, ...]
    body: str
    unless: str = ""

    def install(self, text: str | None) -> Change:
        """Put the block at the end, or renew it where it stands."""
        try:
            before = read_block(text or "", "html")
            if self.unless and before is None and self.unless in (text or ""):
                return Change(text, "same")
            return _changed(text, before, put_block(text or "", "html", self.body))
        except NotOursError as error:
            return Change(text, "left", f"{error}: {YOURS}")

    def hollow(self, text: str) -> dict[str, str]:
        """The file."""
        return _hollow(text)

    def withdraw(self, text: str, kept: Mapping[str, str] = jsonc.NONE) -> Change:
        """Take the block out; a file that then holds nothing goes, unless it was there before."""
        return _withdrawn(text, "html", kept)


@dataclass(frozen=True)
class TomlPart:
    """Tables in a marked block of a TOML file. `spare`: those that go in where a user has none."""

    path: str
    clients: tuple[Client, ...]
    place: tuple[str, str]
    body: str
    spare: dict[str, str]

    def install(self, text: str | None) -> Change:
        """Put the block at the end, or renew it, if that changes nothing else."""
        body = self.body + "".join(self.spare.values())
        try:
            before = read_block(text or "", "hash")
            theirs = tomllib.loads(drop_block(text or "", "hash"))
            if self.place[1] in theirs.get(self.place[0], ()):
                return Change(text, "left", f"{'.'.join(self.place)} is yours: left as it is")
            body = self.body + "".join(t for name, t in self.spare.items() if name not in theirs)
            edited = put_block(text or "", "hash", body)
            if tomllib.loads(edited) != _joined(theirs, tomllib.loads(body)):
                raise ValueError("other keys would slip into another table")
        except NotOursError as error:
            return Change(text, "left", f"{error}: {YOURS}")
        except (ValueError, TypeError) as error:
            why = f"cannot be edited safely ({error}); put this in yourself"
            return Change(text, "left", why, body)
        return _changed(text, before, edited)

    def hollow(self, text: str) -> dict[str, str]:
        """The file."""
        return _hollow(text)

    def withdraw(self, text: str, kept: Mapping[str, str] = jsonc.NONE) -> Change:
        """Take the block out, if that changes nothing else."""
        found = _withdrawn(text, "hash", kept)
        if found.state != "removed":
            return found
        try:
            ours = tomllib.loads(read_block(text, "hash") or "")
            if _joined(tomllib.loads(found.text or ""), ours) == tomllib.loads(text):
                return found
        except (ValueError, TypeError):
            pass
        return Change(text, "left", "keys stand below our block that would slip into another table")


@dataclass(frozen=True)
class WholePart:
    """A file that is all ours."""

    path: str
    clients: tuple[Client, ...]
    body: str

    def install(self, text: str | None) -> Change:
        """Write the file, unless a user wrote or edited it."""
        wanted = whole(self.body)
        if text is None:
            return Change(wanted, "made")
        if not is_whole(text):
            return Change(text, "left", YOURS if "modelwright:file" in text else "a file of yours")
        is_same = text.replace("\r\n", "\n") == wanted
        return Change(text, "same") if is_same else Change(wanted, "updated")

    def hollow(self, text: str) -> dict[str, str]:
        """Nothing: a file that is there, even an empty one, is left alone."""
        del text
        return {}

    def withdraw(self, text: str, kept: Mapping[str, str] = jsonc.NONE) -> Change:
        """Remove the file, unless a user wrote or edited it."""
        del kept
        if is_whole(text):
            return Change(None, "removed")
        is_edited = "modelwright:file" in text
        return Change(text, "left", YOURS) if is_edited else Change(text, "same")


def _changed(text: str | None, before: str | None, edited: str) -> Change:
    if edited == text:
        return Change(text, "same")
    if before is not None:
        return Change(edited, "updated")
    return Change(edited, "made", "added to your file" if text else "")


def _hollow(text: str) -> dict[str, str]:
    return {} if text.strip() else {FILE: text}


def _withdrawn(text: str, comment: Comment, kept: Mapping[str, str]) -> Change:
    try:
        edited = drop_block(text, comment)
    except NotOursError as error:
        return Change(text, "left", f"{error}: {YOURS}")
    if edited == text:
        return Change(text, "same")
    return Change(edited if edited.strip() else kept.get(FILE), "removed")


def _joined(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Two trees of tables as one.

    Raises:
        TypeError: they have a value in common.
    """
    joined = dict(one)
    for key, value in two.items():
        if key in joined and not (isinstance(joined[key], dict) and isinstance(value, dict)):
            raise TypeError(f"{key} is there already")
        joined[key] = _joined(joined[key], value) if key in joined else value
    return joined


def toml_text(value: str | list[str]) -> str:
    """A text or a list of texts as TOML writes it.

    Example:
        >>> print(toml_text(["a", "b"]))
        ["a", "b"]
    """
    return json.dumps(value, ensure_ascii=False)
