"""Deciding what goes: mark from everything that holds, and the rest is garbage."""

from collections.abc import Iterable, Mapping, Sequence

from ocitool.containers import ContainerUse, leftovers_of_containers
from ocitool.errors import Refused, UsageError
from ocitool.garbage.choice import Choice
from ocitool.garbage.planned import Facts, GarbageBlob, GarbageImage, KeptImage, Plan
from ocitool.garbage.reachable import Marker, Marks
from ocitool.garbage.references import Edge
from ocitool.garbage.retention import Held, Holding
from ocitool.garbage.roots import (
    RootEntry,
    is_in,
    root_entries,
    settle,
    subject_by_content,
    subject_by_name,
)
from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.places.layout.layout import BLOBS
from ocitool.places.layout.leftovers import is_of_known_form, leftovers
from ocitool.places.layout.reflog import FormerName
from ocitool.places.layout.trash import trash_contents


def plan(
    layout: Layout,
    choice: Choice | None = None,
    *,
    uses: Iterable[ContainerUse] = (),
    now: float,
    paths: bool = False,
) -> Plan:
    """Return what a garbage collection would remove; nothing is changed.

    `uses` are the containers that hold images, `now` is in seconds since the epoch. With `paths`
    the plan can be explained. Raises IntegrityError or StorageError when anything that stays cannot
    be read, Refused when the blobs may be those of other layouts too, UsageError for a choice that
    makes no sense for the layout.
    """
    chosen = choice if choice is not None else Choice()
    if chosen.everything and not layout.is_store:
        raise UsageError(
            f"{layout.path!r} is not our store: there a name is all that says what is needed",
            hint="--untagged takes what has no name there",
        )
    _refuse_shared_blobs(layout)
    return _Planning(layout, chosen, tuple(uses), now, paths=paths).plan()


def _refuse_shared_blobs(layout: Layout) -> None:
    path = f"{layout.path}/{BLOBS}"
    if layout.folder.kind(BLOBS) == "link":
        raise Refused(
            f"{path!r} is a link, so other layouts may have their blobs there",
            hint="collect garbage where the folder itself is",
        )
    if layout.folder.kind(BLOBS) != "folder":
        return
    with layout.folder.subdirectory(BLOBS) as blobs:
        for name in blobs.names():
            if blobs.kind(name) == "link":
                raise Refused(
                    f"{path}/{name} is a link, so other layouts may have their blobs there",
                    hint="collect garbage where the folder itself is",
                )


class _Planning:
    def __init__(
        self,
        layout: Layout,
        choice: Choice,
        uses: tuple[ContainerUse, ...],
        now: float,
        *,
        paths: bool,
    ) -> None:
        self._layout = layout
        self._choice = choice
        self._uses = uses
        self._now = now
        self._index = layout.index()
        self._listing = layout.listing()
        self._marker = Marker(layout, self._listing.blobs, paths=paths)
        self._marks = Marks()
        self._roots = root_entries(self._index.entries)
        self._holding = Holding(layout, choice, uses, self._listing.blobs, now)
        self._attached: dict[str, str] = {}
        self._kept: list[KeptImage] = []
        self._young = 0

    def plan(self) -> Plan:
        candidates = self._candidates()
        going = self._not_held(candidates)
        certain = [r for d, r in self._roots.items() if d not in going and d not in self._attached]
        self._mark(certain)
        self._mark_containers()
        contents = {digest: self._contents(self._roots[digest]) for digest in going}
        doomed = [*going, *self._settle_attached(contents)]
        self._mark_young()
        blobs = self._blobs(doomed, contents)
        layout, now = self._layout, self._now
        return Plan(
            path=layout.path,
            choice=self._choice,
            images=tuple(self._image(digest, contents, blobs) for digest in doomed),
            blobs=tuple(blobs.values()),
            leftovers=(
                *leftovers(layout, self._listing.odd, now),
                *leftovers_of_containers(layout),
            ),
            kept=tuple(self._kept),
            unknown_files=tuple("/".join(p) for p in self._listing.odd if not is_of_known_form(p)),
            young=self._young,
            absent=len(self._marks.absent),
            waiting=trash_contents(layout.control),
            facts=Facts(
                index=self._index,
                marks=self._marks,
                pins=self._holding.pins,
                uses=self._uses,
                subjects={d: self._attached[d] for d in doomed if d in self._attached},
                contents=contents,
            ),
        )

    def _candidates(self) -> dict[str, RootEntry]:
        """Return the images that may go, and note which roots are attached to something."""
        found = {}
        for digest, root in self._roots.items():
            named = root.is_named
            subject = subject_by_name(root) if named else subject_by_content(root, self._marker)
            if named and subject is None and self._choice.everything:
                subject = subject_by_content(root, self._marker)
            if subject is not None:
                self._attached[digest] = subject
            elif self._may_go(root, named=named):
                found[digest] = root
        return found

    def _may_go(self, root: RootEntry, *, named: bool) -> bool:
        if not (self._choice.everything or not named):
            return False
        if not (self._layout.is_store or self._choice.untagged):
            return False
        # An artifact has no name of its own in many places, and nobody runs it.
        document = self._marker.document(root.edge)
        return document is None or document.is_image

    def _not_held(self, candidates: Mapping[str, RootEntry]) -> dict[str, RootEntry]:
        """Return those that nothing holds, and note what holds the others."""
        matching = self._holding.matching(candidates)
        images = [root for d, root in self._roots.items() if d not in self._attached]
        last = self._holding.last_of_repositories(images)
        going = {}
        for digest, root in matching.items():
            reason = self._holding.reason_to_stay(root, last)
            if reason is None:
                going[digest] = root
            else:
                self._keep(root, reason)
        for digest in tuple(self._attached):
            if self._holding.reason_to_stay(self._roots[digest], last) is not None:
                del self._attached[digest]
        return going

    def _keep(self, root: RootEntry, held: Held) -> None:
        former = None if root.is_named else self._holding.former.get(root.digest)
        self._kept.append(
            KeptImage(
                digest=root.entries[0].digest,
                names=root.names,
                former=former.name if former is not None else None,
                reason=held.reason,
                holders=held.holders,
            )
        )

    def _mark(self, roots: Sequence[RootEntry]) -> None:
        # Of two entries for one digest, one may lie about its type.
        edges = [Edge.to(e, optional=False) for root in roots for e in root.entries]
        self._marker.mark(edges, self._marks)

    def _mark_containers(self) -> None:
        """Mark what containers or commands name that no entry of index.json leads to."""
        claimed = {claim for use in self._uses for claim in use.digests}
        for digest in (claimed & self._listing.blobs) | (
            self._holding.leased & self._listing.blobs
        ):
            if digest not in self._marks.reached and digest not in self._roots:
                size = self._layout.blob_size(Digest.parse(digest))
                edge = Edge("", digest, size or 0, optional=True)
                self._marker.mark([edge], self._marks, tolerant=True)

    def _contents(self, root: RootEntry) -> frozenset[str]:
        marks = Marks()
        self._marker.mark([root.edge], marks, tolerant=True)
        return frozenset(marks.reached)

    def _settle_attached(self, contents: dict[str, frozenset[str]]) -> list[str]:
        """Decide about what is attached; return what goes, its contents added to `contents`."""
        open_ones = dict(self._attached)
        gone: list[str] = []
        while open_ones:
            going = frozenset().union(*contents.values())
            staying, leaving = settle(
                open_ones, self._marks.reached, going, orphans=self._choice.orphans
            )
            if staying:
                self._mark([self._roots[digest] for digest in staying])
            elif leaving:
                gone += [digest for digest in open_ones if digest in leaving]
                contents.update((d, self._contents(self._roots[d])) for d in leaving)
            else:
                self._mark([self._roots[digest] for digest in open_ones])
                break
            settled = staying or leaving
            open_ones = {d: s for d, s in open_ones.items() if d not in settled}
        return gone

    def _garbage(self) -> set[str]:
        return set(self._listing.blobs - self._marks.reached - self._holding.leased)

    def _mark_young(self) -> None:
        """Mark blobs that are too young, and all that they lead to if they are documents."""
        young = [digest for digest in self._garbage() if self._holding.is_young(digest)]
        edges = []
        for digest in young:
            size = self._layout.blob_size(Digest.parse(digest))
            edges.append(Edge("", digest, size or 0, optional=True))
        self._marker.mark(edges, self._marks, tolerant=True)
        self._young = len(young)

    def _blobs(
        self, doomed: Iterable[str], contents: Mapping[str, frozenset[str]]
    ) -> dict[str, GarbageBlob]:
        garbage = self._garbage()
        owners: dict[str, str] = {}
        for digest in doomed:
            for part in contents[digest] & garbage:
                owners.setdefault(part, digest)
        found = {}
        for text in sorted(garbage):
            parsed = Digest.parse(text)
            size = self._layout.blob_size(parsed)
            if size is not None:
                owner = owners.get(text)
                image = Digest.parse(owner) if owner is not None else None
                found[text] = GarbageBlob(digest=parsed, size=size, image=image)
        return found

    def _image(
        self,
        digest: str,
        contents: Mapping[str, frozenset[str]],
        blobs: Mapping[str, GarbageBlob],
    ) -> GarbageImage:
        root = self._roots[digest]
        former = None if root.is_named else self._holding.former.get(digest)
        subject = self._attached.get(digest)
        return GarbageImage(
            digest=root.entries[0].digest,
            kind="image" if subject is None else "attached",
            names=root.names,
            former=former.name if former is not None else None,
            lost=former.lost if former is not None else None,
            size=sum(blobs[part].size for part in contents[digest] if part in blobs),
            reason=_reason_to_go(root, former, subject, contents),
        )


def _reason_to_go(
    root: RootEntry,
    former: FormerName | None,
    subject: str | None,
    contents: Mapping[str, frozenset[str]],
) -> str:
    if subject is not None:
        short = subject.partition(":")[2][:12]
        is_here = any(is_in(subject, parts) for parts in contents.values())
        return f"what it is attached to {'goes' if is_here else 'is not here'}: {short}"
    if root.is_named:
        return "no container and no pin holds it"
    if former is not None:
        return f"it lost its name {former.name} at {former.lost}"
    return "it has no name"
