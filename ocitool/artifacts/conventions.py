"""Conventions of the `oras` tools: annotations and media types of files and folders."""

TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"
UNPACK = "io.deis.oras.content.unpack"
"""Annotation of a layer: "true" for a folder, whose tar has to be unpacked."""
CONTENT_DIGEST = "io.deis.oras.content.digest"
"""Annotation of a folder's layer: the digest of its tar before compression."""

FILE_TYPE = "application/vnd.oci.image.layer.v1.tar"
"""The default type of a file in these tools, although the file is not a tar."""
FOLDER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
UNKNOWN_ARTIFACT = "application/vnd.unknown.artifact.v1"
UNKNOWN_CONFIG = "application/vnd.unknown.config.v1+json"
