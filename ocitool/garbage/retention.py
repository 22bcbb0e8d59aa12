"""What holds images that would be removed otherwise: containers, pins, commands, rules, age."""

import datetime as dt
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import Struct

from ocitool.containers.uses import ContainerUse, containers_by_image
from ocitool.garbage.choice import Candidate, Choice, last_used, newest
from ocitool.garbage.roots import RootEntry
from ocitool.images.summaries import image_summaries
from ocitool.oci import parse_time
from ocitool.places.layout import Layout
from ocitool.places.layout.lease import claimed_digests
from ocitool.places.layout.pins import Pin
from ocitool.places.layout.trash import last_sound_run

IN_USE: Final = (
    "a running command uses it, or a client of `registry serve` pushed it within an hour"
)


class Held(Struct, frozen=True):
    """Why an image stays, and the containers that use it, if that is why."""

    reason: str
    holders: tuple[ContainerUse, ...] = ()


class Retention:
    """Knows what holds the images of a layout at one moment. `now` is seconds since the epoch."""

    def __init__(
        self,
        layout: Layout,
        choice: Choice,
        uses: tuple[ContainerUse, ...],
        present: AbstractSet[str],
        now: float,
    ) -> None:
        self.pins = layout.pins()
        control = layout.control
        self.leased = {str(d) for d in claimed_digests(control)} if control is not None else set()
        self.former = layout.former_names()
        self._layout = layout
        self._choice = choice
        self._present = present
        self._now = now
        self._moment = dt.datetime.fromtimestamp(now, dt.UTC)
        self._holders = containers_by_image(layout, uses) if uses else {}

    def matching(self, candidates: Mapping[str, RootEntry]) -> dict[str, RootEntry]:
        """Return those of the images that the choice lets go."""
        choice = self._choice
        found = dict(candidates)
        if choice.unused_for is not None:
            limit = self._now - choice.unused_for
            found = {d: r for d, r in found.items() if self._candidate(r).used <= limit}
        if choice.references:
            found = {
                d: r for d, r in found.items() if self._candidate(r).matches(choice.references)
            }
        if choice.labels:
            known = image_summaries(self._layout, [root.root for root in found.values()])
            found = {
                d: r
                for d, r in found.items()
                if all(test.matches(known[r.entries[0].digest].labels) for test in choice.labels)
            }
        return found

    def last_of_repositories(self, images: Iterable[RootEntry]) -> set[int]:
        """Return the positions of the images that stay as the last ones of their repositories."""
        if not self._choice.keep_last:
            return set()
        return newest((self._candidate(root) for root in images), self._choice.keep_last)

    def _candidate(self, root: RootEntry) -> Candidate:
        former = None if root.is_named else self.former.get(root.digest)
        return Candidate(
            called=root.names or ((former.name,) if former is not None else ()),
            others=root.root.further_names,
            used=last_used(self._modified(root.digest), former),
            position=root.position,
        )

    def _modified(self, digest: str) -> float | None:
        algorithm, _, hex_digits = digest.partition(":")
        if digest not in self._present:
            return None
        return self._layout.blob_folder(algorithm).modified(hex_digits)

    def reason_to_stay(self, root: RootEntry, last: AbstractSet[int]) -> Held | None:
        """Return what holds an image, or None; `last` are positions that a rule keeps."""
        holders = self._holders.get(root.entries[0].digest)
        if holders:
            return Held("containers use it", holders)
        pin = self._pin_of(root)
        if pin is not None:
            return Held(pinned(pin))
        if root.digest in self.leased:
            return Held(IN_USE)
        if root.position in last:
            return Held(f"it is one of the last {self._choice.keep_last} of its repository")
        if self.is_young(root.digest, stray=False):
            return Held("it is not old enough")
        return None

    def _pin_of(self, root: RootEntry) -> Pin | None:
        digest = root.entries[0].digest
        return next((p for p in self.pins if p.digest == digest and p.holds(self._moment)), None)

    def unfinished(self, digests: AbstractSet[str]) -> frozenset[str]:
        """Return those of the blobs that the last run was to move, and was killed before it did."""
        control = self._layout.control
        run = last_sound_run(control) if control is not None else None
        began = parse_time(run.time) if run is not None else None
        if run is None or began is None:
            return frozenset()
        # What is newer was stored since. The time of the run has no fractions of a second.
        limit = began.timestamp() + 1.0
        needed = digests & frozenset(run.needs)
        return frozenset(d for d in needed if (self._modified(d) or 0.0) <= limit)

    def is_young(self, digest: str, *, stray: bool) -> bool:
        """Tell whether a blob is not old enough to go."""
        grace = self._choice.grace_in(is_store=self._layout.is_store, stray=stray)
        if grace <= 0:
            # Here leases protect what is young.
            return False
        modified = self._modified(digest)
        return modified is not None and modified > self._now - grace


def pinned(pin: Pin) -> str:
    """Return the reason that a pin is, on one line."""
    text = "it is pinned"
    if pin.until is not None:
        text += f" until {pin.until}"
    return f"{text}: {pin.reason}" if pin.reason else text
