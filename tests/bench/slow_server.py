"""A registry with one large layer, slow on every connection: `python -m tests.bench.slow_server`.

Prints its host, and ends when its standard input does.
"""

import os
import sys

from ocitool.oci import Digest, mediatype
from ocitool.oci.document import encode
from tests.support.registry import EmulatedRegistry, Quirks

REPOSITORY, TAG = "slow/image", "1"
_MEBIBYTE = 1 << 20


def main(size: int, speed: int) -> None:
    """Serve a layer of `size` bytes with `speed` bytes a second on each connection."""
    layer = (os.urandom(_MEBIBYTE) * (size // _MEBIBYTE + 1))[:size]
    config = encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer))]},
        }
    )
    with EmulatedRegistry(Quirks(bytes_per_second=speed)) as registry:
        descriptors = [registry.add_blob(REPOSITORY, data) for data in (config, layer)]
        types = (mediatype.OCI_CONFIG, mediatype.OCI_LAYER)
        entries = [
            {"mediaType": kind, "digest": str(found.digest), "size": found.size}
            for kind, found in zip(types, descriptors, strict=True)
        ]
        manifest = encode(
            {
                "schemaVersion": 2,
                "mediaType": mediatype.OCI_MANIFEST,
                "config": entries[0],
                "layers": entries[1:],
            }
        )
        registry.add_manifest(REPOSITORY, manifest, mediatype.OCI_MANIFEST, TAG)
        print(registry.host, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
