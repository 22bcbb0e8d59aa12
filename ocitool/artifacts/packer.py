"""The `oras` package at work: it makes the manifest of an artifact, and reaches no network.

Loading it takes 0.2 s and brings `requests`, so this module is imported only when something is
packed. What the package would send is recorded, and travels by our own session later.
"""

from collections.abc import Mapping, Sequence

import oras.oci  # type: ignore[import-untyped]
import oras.provider  # type: ignore[import-untyped]
from msgspec import Struct, field

from ocitool.errors import Refused
from ocitool.oci import Descriptor

_CREATED = 201
_NAME = "registry.invalid/artifact:latest"
"""The package parses a name and uses it for requests alone; the real one is not its business."""
_Json = dict[str, object]


class _Done(Struct, frozen=True):
    """What the package looks at in an answer."""

    status_code: int = _CREATED


class _NoCredentials:
    """The package's own search for credentials, which finds none: ours are used."""

    def load_configs(self, container: object, configs: object = None) -> None:
        """Look nowhere."""


class Packed(Struct, frozen=True):
    """A manifest as the package made it, and in which file each of its blobs is, by digest."""

    manifest: _Json
    files: Mapping[str, str] = field(default_factory=dict)


class Packer(oras.provider.Registry):  # type: ignore[misc]
    """The package's client without its network: pushing with it only packs.

    Whatever would speak to a registry either records what was to be sent or is Refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.session = None
        self.auth = _NoCredentials()
        self.manifest: _Json = {}
        self.paths: dict[str, str] = {}

    def upload_blob(
        self,
        blob: str,
        container: object,  # noqa: ARG002
        layer: Mapping[str, object],
        do_chunked: bool = False,  # noqa: ARG002
        chunk_size: int = 0,  # noqa: ARG002
    ) -> _Done:
        """Record where a blob's bytes are."""
        self.paths[str(layer["digest"])] = blob
        return _Done()

    def upload_manifest(self, manifest: _Json, container: object) -> _Done:  # noqa: ARG002
        """Record the manifest."""
        self.manifest = manifest
        return _Done()

    def do_request(self, url: str, *arguments: object, **options: object) -> object:
        """Refuse: no request of an artifact is the package's to send."""
        del arguments, options
        raise Refused(f"the oras package wanted to reach {url} by itself")


def pack_files(
    files: Sequence[str],
    *,
    config: str,
    annotations: Mapping[str, str],
    annotation_file: str,
    subject: Descriptor | None,
) -> Packed:
    """Have the package describe files as an artifact.

    `files` and `config` are PATH:MEDIA-TYPE; `annotation_file` is its JSON of annotations by path.
    """
    packer = Packer()
    packer.push(
        _NAME,
        files=list(files),
        manifest_config=config,
        manifest_annotations=dict(annotations),
        annotation_file=annotation_file,
        disable_path_validation=True,
        subject=_subject(subject),
        quiet=True,
    )
    return Packed(packer.manifest, packer.paths)


def _subject(subject: Descriptor | None) -> object:
    if subject is None:
        return None
    return oras.oci.Subject(subject.media_type, str(subject.digest), subject.size)
