"""What a repository holds: its manifests, what each lists and is attached to, and its tags.

Two relations keep content: an index keeps what it lists, and an image keeps what is attached to it:
by `subject`, by an entry or a tag made from its digest, and by BuildKit's annotation.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from msgspec import Struct, field

from ocitool.image.attached import is_referrers_tag, is_tag_of_digest, subject_texts
from ocitool.oci import Digest
from ocitool.pruning.choosing import Age


class Node(Struct, frozen=True, kw_only=True):
    """A manifest or index that was read. `size` is in bytes of the document itself.

    `children` are the manifests that it lists, `subjects` what they or itself are attached to, as
    far as it says so: pairs of what is attached, and to what. `blobs` are the sizes of its config
    and layers, by their digests. `is_image` tells that it can be run. `created` is its annotation.
    """

    digest: Digest
    media_type: str
    size: int
    is_index: bool = False
    is_image: bool = True
    children: tuple[Digest, ...] = ()
    subjects: tuple[tuple[Digest, Digest], ...] = ()
    config: Digest | None = None
    created: str | None = None
    blobs: Mapping[Digest, int] = field(default_factory=dict)

    @property
    def subject(self) -> Digest | None:
        """What the document itself says that it is attached to."""
        return next((to for attached, to in self.subjects if attached == self.digest), None)


class Listed(Struct, frozen=True, kw_only=True):
    """What a service says of one manifest: `id` is its own name for it."""

    age: Age = Age()
    pulled: float | None = None
    id: str | None = None


class Graph(Struct, frozen=True, kw_only=True):
    """All that was read of a repository.

    `missing` are manifests that something lists and that are not there, each with a text that says
    who lists it. `ignored` are those that were not to be read. `listed` is what the service tells
    of each manifest, also of those without a tag; `tells_all` says that it lists them all. `now` is
    the time of the registry, in seconds since 1970.
    """

    repository: str
    api: str
    tags: Mapping[str, Digest]
    nodes: Mapping[Digest, Node]
    missing: Mapping[Digest, str] = field(default_factory=dict)
    ignored: frozenset[Digest] = frozenset()
    broken_tags: tuple[str, ...] = ()
    listed: Mapping[Digest, Listed] = field(default_factory=dict)
    tells_all: bool = False
    now: float = 0.0

    @property
    def image_tags(self) -> dict[str, Digest]:
        """The tags that rules are about, those made from digests left out."""
        return {tag: named for tag, named in self.tags.items() if not is_tag_of_digest(tag)}

    def tags_of(self) -> dict[Digest, list[str]]:
        """Return the tags of each digest, sorted."""
        found: defaultdict[Digest, list[str]] = defaultdict(list)
        for tag in sorted(self.tags):
            found[self.tags[tag]].append(tag)
        return dict(found)

    def age_of(self, digest: Digest) -> Age:
        """Return what the service says of the age of a manifest."""
        found = self.listed.get(digest)
        return found.age if found is not None else Age()

    @property
    def sha256(self) -> str:
        """A digest of the tags and of all edges: equal graphs have equal ones."""
        hasher = hashlib.sha256()
        for tag in sorted(self.tags):
            hasher.update(f"tag {tag} {self.tags[tag]}\n".encode())
        for digest in sorted(self.nodes):
            node = self.nodes[digest]
            edges = [*map(str, node.children), "|", *(str(pair) for pair in node.subjects)]
            hasher.update(f"node {digest} {' '.join(edges)}\n".encode())
        for digest in sorted(self.missing):
            hasher.update(f"missing {digest}\n".encode())
        return f"sha256:{hasher.hexdigest()}"


def subject_of_tag(tag: str) -> str:
    """Return the text of the digest that a tag is made from; it may be cut (see image.attached)."""
    return tag.partition(".")[0].replace("-", ":", 1)


class Hold(NamedTuple):
    """What holds a manifest: an index that lists it, or an image that it is attached to."""

    by: Digest
    is_attached: bool


Held: TypeAlias = dict[Digest, Hold | None]


class Edges:
    """The two relations of a graph, ready to be followed."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes
        self._attached: defaultdict[Digest, set[Digest]] = defaultdict(set)
        known = {text: digest for digest in graph.nodes for text in subject_texts(str(digest))}
        self.known = known
        self.orphan_tags: dict[str, Digest] = {}
        """Tags made from digests of which there is no manifest, and what they name."""
        self.images_as_tags: set[Digest] = set()
        """Images under a tag that looks as if it were made from a digest."""
        for node in graph.nodes.values():
            for attached, subject in node.subjects:
                self._attached[subject].add(attached)
        for tag, named in graph.tags.items():
            if is_tag_of_digest(tag):
                self._add_tag(tag, named, known.get(subject_of_tag(tag)))

    def _add_tag(self, tag: str, named: Digest, subject: Digest | None) -> None:
        node = self._nodes.get(named)
        if node is not None and _is_ordinary(node, tag):
            self.images_as_tags.add(named)
        elif subject is None:
            self.orphan_tags[tag] = named
        else:
            self._attached[subject].add(named)

    def attached_to(self, digest: Digest) -> Iterable[Digest]:
        """Return what is attached to a manifest, in order."""
        return sorted(self._attached.get(digest, ()))

    def closure(self, roots: Iterable[Digest]) -> "Held":
        """Return some manifests with all that they list and all that is attached to any of these.

        Each with what holds it; None for the roots.
        """
        found: Held = {}
        waiting: list[tuple[Digest, Hold | None]] = [(root, None) for root in sorted(set(roots))]
        for digest, hold in waiting:
            if digest in found:
                continue
            found[digest] = hold
            node = self._nodes.get(digest)
            below = node.children if node is not None else ()
            waiting += [(one, Hold(digest, is_attached=False)) for one in below]
            waiting += [(one, Hold(digest, is_attached=True)) for one in self.attached_to(digest)]
        return found

    def below(self, digest: Digest) -> set[Digest]:
        """Return a manifest with all that it lists, to any depth."""
        waiting, found = [digest], set[Digest]()
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                node = self._nodes.get(one)
                waiting += node.children if node is not None else ()
        return found


def _is_ordinary(node: Node, tag: str) -> bool:
    """Tell whether a tag that looks like one made from a digest names an image all the same.

    An index under it is a list of what is attached, unless it lists images.
    """
    if not node.is_image:
        return False
    return not (node.is_index and is_referrers_tag(tag) and not node.children)
