"""What a look looks at: one model as it is live now, and where its records are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.records import Manifest
from modelwright.core.spec import Spec
from modelwright.core.spec_serve import JournalSpec, ServeSpec
from modelwright.core.traffic import Traffic, read_traffic
from modelwright.pack.artefact import Artefact
from modelwright.release.registry import CHAMPION, Registry, Version
from modelwright.release.trust import load_trusted
from modelwright.serve.as_released import released_serve
from modelwright.serve.journal_store import folder_name
from modelwright.watch.reference import Live, fetch_reference
from modelwright.watch.summaries import Plan
from modelwright.watch.summary_store import SummaryStore


@dataclass(frozen=True)
class Known:
    """A version with what is needed to watch it.

    Attributes:
        live: what it is held against; None for a version released before there was such a record.
    """

    version: Version
    artefact: Artefact
    live: Live | None

    @property
    def manifest(self) -> Manifest:
        """Of the model folder."""
        return self.artefact.manifest

    @property
    def digest(self) -> str:
        """sha256 of the manifest, by which the journal names who answered."""
        return self.artefact.digest

    @cached_property
    def served(self) -> ServeSpec:
        """How it is served: by the spec that it was released with."""
        return released_serve(self.artefact.folder)

    @cached_property
    def plan(self) -> Plan:
        """How its answers are counted."""
        return Plan.of(self.manifest)


@dataclass
class Library:
    """Versions of a model, loaded once."""

    registry: Registry
    model: str
    _known: dict[str, Known] = field(default_factory=dict)

    def get(self, number: str) -> Known:
        """A version by its number.

        Raises:
            RegistryError: there is none, or it cannot be fetched.
            ArtefactError: its files were changed.
        """
        if number not in self._known:
            version = self.registry.version(self.model, number)
            artefact = load_trusted(self.registry.fetch(version), digest=version.digest)
            live = fetch_reference(self.registry, version)
            self._known[number] = Known(version, artefact, live)
        return self._known[number]

    def manifest_of(self, model: str, version: str, digest: str) -> Manifest | None:
        """The manifest of whoever answered; None for somebody who is not in the registry."""
        if model != self.model:
            return None
        try:
            known = self.get(version)
        except ModelwrightError:
            return None
        return known.manifest if known.digest == digest else None


@dataclass(frozen=True)
class Subject:
    """One model at one look.

    Attributes:
        folder: of the project.
        champion: who answers where no rule says otherwise.
        traffic: canary, A/B test and shadow in force.
        journal: where its answers are recorded, absolute.
        now: Unix time of the look.
    """

    spec: Spec
    folder: Path
    library: Library
    champion: Known
    traffic: Traffic
    journal: str
    store: SummaryStore
    now: float

    @property
    def name(self) -> str:
        """The model's."""
        return self.spec.name

    @property
    def journaling(self) -> JournalSpec:
        """How the journal is kept; there is one, see `journal_place`."""
        assert self.spec.serve.journal is not None
        return self.spec.serve.journal

    @property
    def remembered(self) -> Path:
        """A folder for what a look has read and the next one need not read again."""
        return self.folder / ".modelwright" / "ids" / folder_name(self.name)

    @property
    def settled(self) -> float:
        """Unix time before which every answer is in the journal: open files are closed by then,
        whether the server goes by the file at hand or by the version's own."""
        served = self.champion.served.journal
        every = max(one.every for one in (self.journaling, served) if one is not None)
        return self.now - every - LATE_SECONDS


LATE_SECONDS = 5.0
"""A file is there so long after it was closed, at the latest."""


def journal_place(spec: Spec, folder: Path) -> str:
    """The journal's folder or URL.

    Raises:
        UsageError: there is none, so nothing can be watched.
    """
    journal = spec.serve.journal
    if journal is None:
        raise UsageError(
            f"{spec.name} keeps no journal, so there is nothing to watch.",
            hint="Give serve.journal.to in the spec; a version that was released without it is "
            "served with --journal.",
        )
    return journal.to if "://" in journal.to else str(folder.absolute() / journal.to)


def subject(
    spec: Spec, folder: Path, library: Library, store: SummaryStore, now: float
) -> Subject | None:
    """The model now; None while it has no champion.

    Raises:
        RegistryError: the registry cannot be reached.
        UsageError: it keeps no journal.
        DataError: traffic.json is broken.
    """
    champion = library.registry.aliased(spec.name, CHAMPION)
    if champion is None:
        return None
    traffic = read_traffic(folder, spec.name) or Traffic(spec.name)
    place = journal_place(spec, folder)
    known = library.get(champion.number)
    return Subject(spec, folder, library, known, traffic, place, store, now)
