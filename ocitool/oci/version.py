"""The version of an image layout. OCI image-spec, image-layout.md, "oci-layout file"."""

from ocitool.errors import IntegrityError
from ocitool.oci.document import decode_object
from ocitool.oci.quoting import quoted

LAYOUT_BYTES = 4096
LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'


def check_layout_version(data: bytes, what: str) -> None:
    """Raise IntegrityError unless `data` is an oci-layout file of version 1.0.0."""
    version = decode_object(data, what=what, limit=LAYOUT_BYTES).get("imageLayoutVersion")
    if version != "1.0.0":
        raise IntegrityError(f"{what} has version {quoted(version)}; only 1.0.0 is supported")
