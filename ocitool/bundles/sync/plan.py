"""The frozen plan of a sync: what goes from where to where, by digest, a line for each image.

Each line is a JSON object of its own, so that a plan can be cut, joined and searched by lines::

    {"format":"ocitool-plan/1","source":"reg.example/t/a:1@sha256:…","target":"reg.site/m/t/a",
     "tag":"1","digest":"sha256:…","platforms":[],"referrers":[],"rule":"sync.yaml:3 allow 1"}
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ocitool.errors import MalformedDocument, OcitoolError, UsageError
from ocitool.oci import Descriptor, Digest, Platform, Reference
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import is_tag

FORMAT: Final = "ocitool-plan/1"
_LONGEST_LINE: Final = 4 << 20


class PlannedArtifact(Struct, frozen=True, kw_only=True):
    """What is attached to an image, or to something that is: with it in a list, or by a tag."""

    descriptor: Descriptor
    subject: Digest | None = None
    tag: str | None = None


class PlanLine(Struct, frozen=True, kw_only=True):
    """One image to mirror. `source` has a digest; `digest` is what the target names afterwards.

    The two differ where `platforms` takes a part. Without a `tag` the image goes to the
    repository `target` by its digest alone. `rule` says why it is here.
    """

    source: Reference
    target: Reference
    digest: Digest
    platforms: tuple[Platform, ...] = ()
    referrers: tuple[PlannedArtifact, ...] = ()
    rule: str = ""

    @property
    def destination(self) -> Reference:
        """The name of the image at its target: with a tag, else with the digest."""
        return self.target if self.target.tag is not None else self.target.with_digest(self.digest)


class Shard(Struct, frozen=True, kw_only=True):
    """One of `count` parts of a plan: `number` counts from 0."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"shard {self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that `I/N` means: I from 0 to N-1, or from 1 to N, as N counts as 0."""
        left, slash, right = text.partition("/")
        parts = [part.strip() for part in (left, right)]
        if slash and all(part.isascii() and part.isdecimal() and len(part) < 7 for part in parts):
            number, count = map(int, parts)
            if count and number <= count:
                return cls(number=number % count, count=count)
        raise UsageError(
            f"{quoted(text)} is no shard",
            hint='I/N with I from 0 to N-1, such as --shard "$JOB_COMPLETION_INDEX/10"',
        )

    def has(self, target: Reference) -> bool:
        """Tell whether the images of a repository are in this part, whatever their tags are."""
        raw = hashlib.sha256(target.repository.encode()).digest()
        return int.from_bytes(raw) % self.count == self.number


def encode_plan(lines: Iterable[PlanLine]) -> bytes:
    """Return a plan as JSON lines, in ASCII and without spaces; equal plans give equal bytes."""
    return b"".join(
        json.dumps(_fields(line), separators=(",", ":")).encode("ascii") + b"\n" for line in lines
    )


def parse_plan(data: bytes, what: str) -> list[PlanLine]:
    """Return the lines of a plan; MalformedDocument with the number of the line that is none.

    Empty lines and unknown fields are skipped. Refuses two lines that disagree about one tag.
    """
    lines = [
        _parse(raw, f"{what}:{number}")
        for number, raw in enumerate(data.split(b"\n"), 1)
        if raw.strip()
    ]
    if not lines:
        raise MalformedDocument(f"{what} holds no plan", hint="`sync --plan-out` makes one")
    refuse_clashes(lines)
    return list({line.destination: line for line in lines}.values())


def refuse_clashes(lines: Sequence[PlanLine]) -> None:
    """Raise UsageError where two lines would give one tag to different images."""
    digests: dict[Reference, PlanLine] = {}
    for line in lines:
        other = digests.setdefault(line.destination, line)
        if other.digest != line.digest:
            raise UsageError(
                f"{line.destination} would be both {other.source} ({other.rule}) and "
                f"{line.source} ({line.rule})",
                hint="give one of the two another target",
            )


class _Artifact(Struct, forbid_unknown_fields=False):
    digest: str
    mediaType: str  # noqa: N815 - the name of the field
    size: int
    subject: str | None = None
    tag: str | None = None


class _Line(Struct):
    format: str
    source: str
    target: str
    tag: str | None
    digest: str
    platforms: list[str] = []
    referrers: list[_Artifact] = []
    rule: str = ""


def _fields(line: PlanLine) -> dict[str, object]:
    return {
        "format": FORMAT,
        "source": str(line.source),
        "target": line.target.repository,
        "tag": line.target.tag,
        "digest": str(line.digest),
        "platforms": [str(platform) for platform in line.platforms],
        "referrers": [_artifact_fields(one) for one in line.referrers],
        "rule": line.rule,
    }


def _artifact_fields(artifact: PlannedArtifact) -> dict[str, object]:
    found: dict[str, object] = {
        "digest": str(artifact.descriptor.digest),
        "mediaType": artifact.descriptor.media_type,
        "size": artifact.descriptor.size,
    }
    if artifact.subject is not None:
        found["subject"] = str(artifact.subject)
    if artifact.tag is not None:
        found["tag"] = artifact.tag
    return found


def _parse(raw: bytes, where: str) -> PlanLine:
    try:
        if len(raw) > _LONGEST_LINE:
            raise MalformedDocument(f"it is longer than {_LONGEST_LINE} bytes")
        line = msgspec.json.decode(raw, type=_Line)
        if line.format != FORMAT:
            raise MalformedDocument(f"its format is {quoted(line.format)}, not {FORMAT}")
        return _line(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedDocument(f"{where} is no line of a plan: {error}") from None
    except OcitoolError as error:
        raise MalformedDocument(f"{where} is no line of a plan: {error.message}") from None


def _line(line: _Line) -> PlanLine:
    source = Reference.parse(line.source)
    if source.digest is None:
        raise MalformedDocument("its source has no digest")
    target = Reference.parse(line.target)
    if target.repository != line.target:
        raise MalformedDocument("its target is not the full name of a repository")
    if line.tag is not None and not is_tag(line.tag):
        raise MalformedDocument(f"{quoted(line.tag)} is not a tag")
    return PlanLine(
        source=source,
        target=Reference(target.domain, target.path, line.tag, None),
        digest=Digest.parse(line.digest),
        platforms=tuple(map(Platform.parse, line.platforms)),
        referrers=tuple(map(_planned, line.referrers)),
        rule=line.rule,
    )


def _planned(artifact: _Artifact) -> PlannedArtifact:
    if artifact.size < 0 or (artifact.tag is not None and not is_tag(artifact.tag)):
        raise MalformedDocument("the tag or the size of a referrer is wrong")
    if artifact.tag is None and artifact.subject is None:
        raise MalformedDocument("a referrer has neither a subject nor a tag")
    return PlannedArtifact(
        descriptor=Descriptor(
            media_type=artifact.mediaType, digest=Digest.parse(artifact.digest), size=artifact.size
        ),
        subject=Digest.parse(artifact.subject) if artifact.subject is not None else None,
        tag=artifact.tag,
    )
