"""What a file is that is not an image archive, and what to use for it instead."""

import base64
import os
import re
import shlex
from collections.abc import Iterable, Sequence

from ocitool.errors import MalformedArchive
from ocitool.formats.compression import Codec, sniff
from ocitool.oci.quoting import quoted
from ocitool.places.archive.bundle import VOLUME_FILE

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
    (
        b"HAULRSF1",
        "a chunk that hauler made with redundancy",
        "`hauler store load` and then `hauler store save` make a haul that can be read",
    ),
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS", "`git lfs pull` fetches it"),
)
_TEXT_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
"""Byte order marks, of UTF-16 and UTF-8."""
_REPLACED = (b"\x1f\xef\xbf\xbd", b"(\xef\xbf\xbd/\xef\xbf\xbd", b"\xef\xbf\xbd7zXZ")
"""How gzip, zstd and xz begin when what is not text in them was replaced."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{64,}=*\s*")
_ADDRESS = re.compile(rb"(https?|ftp|s3|file)://", re.IGNORECASE)
_TAR_MAGIC = slice(257, 262)
_ARCHIVE_NAME = re.compile(r"\.(tar|tgz|tar\.(gz|bz2|xz|zst))$")
_FOLDER = "folder"
DAMAGED = (
    "it is damaged or was not copied whole: copy it again, or save it again where it came from"
)
"""What to do about an archive with a damaged part."""
STDIN = "stdin"
_PIPE_HINT = (
    "the command before the pipe failed or was stopped: look at what it printed; after "
    "`set -o pipefail` a script notices"
)
_ROOT_FOLDERS = {"bin", "etc", "usr", "lib", "var", "sbin", "proc", "sys", "dev", ".dockerenv"}
_SAVE_HINT = "images are written by `docker save`, `podman save`, `skopeo copy` or `ocitool save`"


def not_a_tar(what: str, head: bytes) -> MalformedArchive:
    """Return the error for bytes that are not a tar archive."""
    if not head:
        hint = _PIPE_HINT if what == STDIN else _SAVE_HINT
        return MalformedArchive(f"{what} is empty", hint=hint)
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
    for magic, name, advice in _MAGIC:
        if head.startswith(magic):
            return MalformedArchive(f"{what} is {name}, not an image archive", hint=advice)
    return _wrapped(what, head) or MalformedArchive(
        f"{what} is not an image archive: it does not begin like a tar file", hint=_SAVE_HINT
    )


def damage_hint(what: str) -> str:
    """Return what to do about an archive that ends too early or cannot be read."""
    return _PIPE_HINT if what == STDIN else DAMAGED


def _wrapped(what: str, head: bytes) -> MalformedArchive | None:
    """Return the error for an archive that something was done to on its way, or None."""
    if head.startswith((*_TEXT_MARKS, *_REPLACED)):
        return MalformedArchive(
            f"{what} was turned into text, as PowerShell's `>` does it, and is lost",
            hint="write the archive with `docker save -o FILE`, and never through `>` there",
        )
    if sniff(head) is not Codec.NONE:
        return MalformedArchive(
            f"{what} is compressed twice: there is {sniff(head)} data inside",
            hint="decompress it once: the result is an archive that can be loaded",
        )
    if _is_base64(head):
        return MalformedArchive(
            f"{what} is an archive in base64, not an image archive",
            hint=f"decode it first: base64 -d {_shown(what)} | ocitool load",
        )
    if _ADDRESS.match(head.lstrip()):
        return MalformedArchive(
            f"{what} holds an address, not an image archive",
            hint="download what is there, and use that file",
        )
    return None


def _shown(what: str) -> str:
    """Return the file as a shell takes it; standard input has none."""
    return "FILE" if what == STDIN else shlex.quote(what)


def _is_base64(head: bytes) -> bool:
    """Tell whether text decodes to the beginning of a tar file or of compressed data."""
    if not _BASE64.fullmatch(head):
        return False
    text = b"".join(head.split()).rstrip(b"=")
    data = base64.b64decode(text[: len(text) // 4 * 4])
    return sniff(data) is not Codec.NONE or data[_TAR_MAGIC] == b"ustar"


def not_an_image(what: str, paths: Iterable[str], kind: str = "tar file") -> MalformedArchive:
    """Return the error for a sound tar file or folder that holds no image."""
    found = list(paths)
    tops = {path.split("/", 1)[0] for path in found}
    if _is_registry_storage(found, tops):
        return MalformedArchive(
            f"{what} is the folder in which a registry keeps its images, not an image archive",
            hint="start a registry that serves it, and use `ocitool pull`",
        )
    if "repositories" in tops:
        return MalformedArchive(
            f"{what} was written by docker before 1.10: it has no manifest.json and no config, so "
            "no image ID can be kept",
            hint="load it with a Docker engine of version 28 or older, and save it again",
        )
    if VOLUME_FILE in tops:
        return MalformedArchive(
            f"{what} is one volume of a bundle: its images are in all of them together",
            hint="`ocitool bundle show FILE…` lists them, `ocitool load FILE…` loads them",
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
    return _holding_one(what, found, kind) or _holding_none(what, found, kind)


def _holding_none(what: str, found: Sequence[str], kind: str) -> MalformedArchive:
    example = f", only files such as {quoted(found[0])}" if found else ""
    return MalformedArchive(
        f"{what} is a {kind} but holds no image: there is neither manifest.json nor index.json"
        f"{example}",
        hint="a root file system becomes an image with `docker import`; " + _SAVE_HINT,
    )


def _is_registry_storage(paths: Iterable[str], tops: set[str]) -> bool:
    # Both lie below docker/registry/v2 there.
    return {"blobs", "repositories"} <= tops or any(
        re.match(r"(docker/)?(registry/)?v2/(blobs|repositories)(/|$)", path) for path in paths
    )


def _holding_one(what: str, paths: Sequence[str], kind: str) -> MalformedArchive | None:
    """Return the error for what has an image further inside, or None."""
    inside = _folder_of_image(paths)
    if inside is not None:
        path = shlex.quote(inside)
        hint = f"use that folder: ocitool load {shlex.quote(os.path.join(what, inside))}"
        if kind != _FOLDER:
            hint = f"unpack it and use that folder: tar -xf {_shown(what)} && ocitool load ./{path}"
        return MalformedArchive(
            f"{what} holds no image at its top: it is in the folder {quoted(inside)}", hint=hint
        )
    for path in paths:
        folder, _, name = path.rpartition("/")
        if "/" not in folder and name != "layer.tar" and _ARCHIVE_NAME.search(name):
            return MalformedArchive(
                f"{what} is not an image archive itself: it holds another one, {quoted(path)}",
                hint="unpack it, and use the archive that is inside"
                if kind != _FOLDER
                else f"use that one: ocitool load {shlex.quote(os.path.join(what, path))}",
            )
    return None


def _folder_of_image(paths: Sequence[str]) -> str | None:
    """Return the folder that holds the files of an image, if it is not at the top."""
    with_blobs = {path[: path.index("/blobs/")] for path in paths if "/blobs/" in path}
    with_layers = {os.path.dirname(path) for path in paths if path.endswith(".tar")}
    with_layers |= {os.path.dirname(folder) for folder in with_layers}
    for path in paths:
        folder, name = os.path.split(path)
        if (
            name == "oci-layout"
            or (name == "index.json" and folder in with_blobs)
            or (name == "manifest.json" and folder in with_blobs | with_layers)
        ):
            return folder
    return None
