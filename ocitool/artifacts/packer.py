"""Uses the `oras` package to make the manifest of an artifact, without its network access.

Importing it takes 0.2 s and loads `requests`, so this module is imported only to pack. What the
package would send is recorded, and the registry session sends it later.
"""

from collections.abc import Mapping, Sequence

import oras.oci  # type: ignore[import-untyped]
import oras.provider  # type: ignore[import-untyped]
from msgspec import Struct, field

from ocitool.errors import Refused
from ocitool.oci import Descriptor

_CREATED = 201
_NAME = "registry.invalid/artifact:latest"
"""The package parses a name, but uses it only for requests, which are never sent."""
_Json = dict[str, object]


class _Done(Struct, frozen=True):
    """The part of a response that the package looks at."""

    status_code: int = _CREATED


class _NoCredentials:
    """Replaces the package's search for credentials: the registry session has them."""

    def load_configs(self, container: object, configs: object = None) -> None:
        """Load nothing."""


class Packed(Struct, frozen=True):
    """The manifest that the package made, and the file of each of its blobs by digest."""

    manifest: _Json
    files: Mapping[str, str] = field(default_factory=dict)


class Packer(oras.provider.Registry):  # type: ignore[misc]
    """The package's client without its network: pushing with it only packs.

    Every method that would contact a registry records what it would send, or is Refused.
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
        """Record the file of a blob."""
        self.paths[str(layer["digest"])] = blob
        return _Done()

    def upload_manifest(self, manifest: _Json, container: object) -> _Done:  # noqa: ARG002
        """Record the manifest."""
        self.manifest = manifest
        return _Done()

    def do_request(self, url: str, *arguments: object, **options: object) -> object:
        """Refuse: the package must not send requests."""
        del arguments, options
        raise Refused(f"the oras package tried to send a request to {url}")


def pack_files(
    files: Sequence[str],
    *,
    config: str,
    annotations: Mapping[str, str],
    annotation_file: str,
    subject: Descriptor | None,
) -> Packed:
    """Let the package make the manifest of an artifact.

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
