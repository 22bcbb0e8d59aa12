"""Which images and blobs are garbage: everything that is not reachable from what is kept."""

from collections.abc import Iterable, Mapping

from ocitool.containers.staging import leftovers_of_containers
from ocitool.containers.uses import ContainerUse
from ocitool.errors import Refused, UsageError
from ocitool.garbage.choice import Choice
from ocitool.garbage.partition import Partition
from ocitool.garbage.planned import Facts, GarbageBlob, GarbageImage, KeptImage, Plan
from ocitool.garbage.reachable import Reachable, StoredDocuments, mark_readable
from ocitool.garbage.references import DescriptorRef
from ocitool.garbage.retention import Held, Retention
from ocitool.garbage.roots import (
    RootEntry,
    root_entries,
    root_subject,
    unlisted_images,
)
from ocitool.image.attached import is_in
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
            f"{layout.path!r} is not a store of ocitool: only names say what is needed there",
            hint="--untagged removes what has no name there",
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
        self._documents = StoredDocuments(layout, self._listing.blobs)
        self._reachable = Reachable()
        self._paths = paths
        self._retention = Retention(layout, choice, uses, self._listing.blobs, now)
        former = self._retention.former if layout.is_store else ()
        self._unlisted = unlisted_images(layout, self._documents, former)
        self._roots = root_entries((*self._index.entries, *self._unlisted))
        self._partition = Partition(self._documents, self._roots, self._reachable, paths=paths)
        self._attached: dict[str, str] = {}
        self._kept: list[KeptImage] = []
        self._unfinished = frozenset[str]()
        self._young = 0

    def plan(self) -> Plan:
        candidates = self._candidates()
        unheld = self._not_held(candidates)
        self._partition.keep(d for d in self._roots if d not in unheld and d not in self._attached)
        self._mark_containers()
        self._partition.remove(unheld)
        orphans = self._choice.orphans
        attached = self._partition.decide_attached(self._attached, orphans=orphans)
        to_remove, contents = [*unheld, *attached], self._partition.contents
        self._mark_young(contents)
        blobs = self._blobs(to_remove, contents)
        # What nothing lists but another image contains is no image of its own.
        inside = {str(one.digest) for one in self._unlisted} - blobs.keys()
        to_remove = [digest for digest in to_remove if digest not in inside]
        layout, now = self._layout, self._now
        return Plan(
            path=layout.path,
            choice=self._choice,
            images=tuple(self._image(digest, contents, blobs) for digest in to_remove),
            blobs=tuple(blobs.values()),
            leftovers=(
                *leftovers(layout, self._listing.odd, now),
                *leftovers_of_containers(layout),
            ),
            kept=tuple(self._kept),
            unknown_files=tuple("/".join(p) for p in self._listing.odd if not is_of_known_form(p)),
            young=self._young,
            absent=len(self._reachable.absent),
            waiting=trash_contents(layout.control),
            facts=Facts(
                index=self._index,
                unlisted=self._unlisted,
                unfinished=self._unfinished,
                reachable=self._reachable,
                pins=self._retention.pins,
                uses=self._uses,
                subjects={d: self._attached[d] for d in to_remove if d in self._attached},
                contents=contents,
            ),
        )

    def _candidates(self) -> dict[str, RootEntry]:
        """Return the images that may go, and note which roots are attached to something."""
        found = {}
        for digest, root in self._roots.items():
            named = root.is_named
            subject = root_subject(root, self._documents)
            if named and subject is None and self._choice.everything:
                subject = root_subject(root, self._documents, named=False)
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
        # An artifact has no name of its own in many places, and no container runs it.
        document = self._documents.find(root.ref)
        return document is None or document.is_image

    def _not_held(self, candidates: Mapping[str, RootEntry]) -> dict[str, RootEntry]:
        """Return those that nothing holds, and note what holds the others."""
        matching = self._retention.matching(candidates)
        images = [root for d, root in self._roots.items() if d not in self._attached]
        last = self._retention.last_of_repositories(images)
        unheld = {}
        for digest, root in matching.items():
            reason = self._retention.reason_to_stay(root, last)
            if reason is None:
                unheld[digest] = root
            else:
                self._keep(root, reason)
        for digest in tuple(self._attached):
            if self._retention.reason_to_stay(self._roots[digest], last) is not None:
                del self._attached[digest]
        return unheld

    def _keep(self, root: RootEntry, held: Held) -> None:
        former = None if root.is_named else self._retention.former.get(root.digest)
        self._kept.append(
            KeptImage(
                digest=root.entries[0].digest,
                names=root.names,
                former=former.name if former is not None else None,
                reason=held.reason,
                holders=held.holders,
            )
        )

    def _mark_containers(self) -> None:
        """Mark what containers or commands name that no entry of index.json leads to."""
        claimed = {claim for use in self._uses for claim in use.digests}
        for digest in (claimed & self._listing.blobs) | (
            self._retention.leased & self._listing.blobs
        ):
            if digest not in self._reachable.digests and digest not in self._roots:
                self._mark_alone([digest])

    def _mark_alone(self, digests: Iterable[str]) -> None:
        """Mark blobs of which only the digest is known, and all that they lead to."""
        refs = []
        for digest in digests:
            size = self._layout.blob_size(Digest.parse(digest))
            refs.append(DescriptorRef("", digest, size or 0, may_be_absent=True))
        mark_readable(self._documents, refs, self._reachable, paths=self._paths)

    def _garbage(self) -> set[str]:
        return set(self._listing.blobs - self._reachable.digests - self._retention.leased)

    def _mark_young(self, contents: Mapping[str, frozenset[str]]) -> None:
        """Mark blobs that are too young, and all that they lead to if they are documents."""
        garbage = self._garbage()
        self._unfinished = self._retention.unfinished(garbage)
        owned = self._unfinished.union(*contents.values())
        young = [
            digest
            for digest in garbage
            if self._retention.is_young(digest, stray=digest not in owned)
        ]
        self._mark_alone(young)
        self._young = len(young)

    def _blobs(
        self, to_remove: Iterable[str], contents: Mapping[str, frozenset[str]]
    ) -> dict[str, GarbageBlob]:
        garbage = self._garbage()
        owners: dict[str, Digest] = {}
        for digest in to_remove:
            owner = self._roots[digest].entries[0].digest
            for part in contents[digest]:
                owners.setdefault(part, owner)
        found = {}
        for text in sorted(garbage):
            parsed = Digest.parse(text)
            size = self._layout.blob_size(parsed)
            if size is not None:
                found[text] = GarbageBlob(digest=parsed, size=size, image=owners.get(text))
        return found

    def _image(
        self,
        digest: str,
        contents: Mapping[str, frozenset[str]],
        blobs: Mapping[str, GarbageBlob],
    ) -> GarbageImage:
        root = self._roots[digest]
        former = None if root.is_named else self._retention.former.get(digest)
        subject = self._attached.get(digest)
        return GarbageImage(
            digest=root.entries[0].digest,
            kind="image" if subject is None else "attached",
            names=root.names,
            former=former.name if former is not None else None,
            lost=former.lost or None if former is not None else None,
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
        return f"what it is attached to {'is removed' if is_here else 'is not here'}: {short}"
    if root.is_named:
        return "no container uses it, and it is not pinned"
    if former is not None:
        when = f"at {former.lost}" if former.lost else "through another tool"
        return f"it lost its name {former.name} {when}"
    return "it has no name"
