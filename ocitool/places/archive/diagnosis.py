"""What a file is that is not an image archive, and what to use for it instead."""

from collections.abc import Iterable

from ocitool.errors import MalformedArchive
from ocitool.oci.quoting import quoted

_MAGIC: tuple[tuple[bytes, str, str | None], ...] = (
    (b"PK\x03\x04", "a zip file", "unpack it; the image archive may be inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file", "unpack it; the image archive may be inside"),
    (b"Rar!", "a RAR file", "unpack it; the image archive may be inside"),
    (b"\x7fELF", "a program", None),
    (b"%PDF", "a PDF document", None),
    (b"hsqs", "a squashfs file system", None),
    (b"QFI\xfb", "a virtual machine disk", None),
    (b"LUKS", "an encrypted disk", None),
    (b"-----BEGIN", "a PEM file", None),
)
_ROOT_FOLDERS = {"bin", "etc", "usr", "lib", "var", "sbin", "proc", "sys", "dev", ".dockerenv"}
_SAVE_HINT = "images are written by `docker save`, `podman save`, `skopeo copy` or `ocitool save`"


def not_a_tar(what: str, head: bytes) -> MalformedArchive:
    """Return the error for bytes that are not a tar archive."""
    if not head:
        return MalformedArchive(f"{what} is empty", hint=_SAVE_HINT)
    text = head.lstrip()[:64].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return MalformedArchive(
            f"{what} is a web page or XML, not an image archive",
            hint="a download probably failed or needs a login: look at the file",
        )
    if text.startswith((b"{", b"[")):
        return MalformedArchive(
            f"{what} is a JSON document, not an image archive",
            hint="a manifest alone holds no layers; " + _SAVE_HINT,
        )
    for magic, name, hint in _MAGIC:
        if head.startswith(magic):
            return MalformedArchive(f"{what} is {name}, not an image archive", hint=hint)
    return MalformedArchive(
        f"{what} is not an image archive: it does not begin like a tar file", hint=_SAVE_HINT
    )


def not_an_image(what: str, paths: Iterable[str], kind: str = "tar file") -> MalformedArchive:
    """Return the error for a sound tar file or folder that holds no image."""
    found = list(paths)
    tops = {path.split("/", 1)[0] for path in found}
    if "repositories" in tops:
        return MalformedArchive(
            f"{what} was written by docker before 1.10: it has no manifest.json and no config, so "
            "no image ID can be kept",
            hint="load it with a Docker engine of version 28 or older, and save it again",
        )
    if "oci-layout" in tops or "blobs" in tops:
        return MalformedArchive(
            f"{what} is a part of an OCI layout: index.json is missing",
            hint="copy the whole layout again; index.json names the images",
        )
    if "version" in tops and "manifest.json" not in tops and len(tops) < 3:
        return MalformedArchive(f"{what} holds no manifest.json", hint=_SAVE_HINT)
    if ".dockerenv" in tops or len(tops & _ROOT_FOLDERS) >= 3:
        return MalformedArchive(
            f"{what} is a root file system, as `docker export` writes it, not an image archive",
            hint="turn it into an image with `docker import FILE NAME`, or save the image itself "
            "with `docker save`",
        )
    if any("/.wh." in f"/{path}" for path in found):
        return MalformedArchive(
            f"{what} is a single image layer, not an image archive: it holds whiteouts and no "
            "manifest.json",
            hint=_SAVE_HINT,
        )
    example = f", only files such as {quoted(found[0])}" if found else ""
    return MalformedArchive(
        f"{what} is a {kind} but holds no image: there is neither manifest.json nor index.json"
        f"{example}",
        hint="a root file system becomes an image with `docker import`; " + _SAVE_HINT,
    )
