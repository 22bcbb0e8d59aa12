"""The file of the page: a template, its style and script with their hashes, and the data."""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Final

from ocitool.inside.columns import FOLDED, FOLDER, Columns
from ocitool.inside.page.folding import folded

MOST_NODES: Final = 200_000
"""With more nodes than this, small files are added up by folder."""
_SCRIPTS: Final = ("model.js", "treemap.js", "page.js")
_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")


def page_document(title: str, facts: Mapping[str, object], columns: Columns) -> bytes:
    """Return the page as HTML in UTF-8, with no link to anything outside of it.

    `facts` is what the script shows beside the tree: totals, layers, waste by path, problems.
    """
    columns = folded(columns, MOST_NODES)
    tree = base64.b64encode(packed(columns)).decode()
    data = json.dumps({**facts, "nodes": len(columns), "tree": tree}, separators=(",", ":"))
    script, style = "".join(map(_resource, _SCRIPTS)), _resource("page.css")
    slots = {
        "title": html.escape(_printable(title)),
        "style": style,
        "script": script,
        "policy": _policy(script, style),
        # A browser looks for the end of a script without reading JSON.
        "data": data.replace("<", "\\u003c"),
    }
    return _SLOT.sub(lambda slot: slots[slot[1]], _resource("page.html")).encode()


def packed(columns: Columns) -> bytes:
    """Return all columns as raw deflate, in the order in which `model.js` reads them.

    Flags, a byte each; then numbers in 7-bit groups, the lowest first: depths, sizes, layers
    of what is no folder, what hid it and how of hidden files, how many files of folded ones;
    then the names in UTF-8, with slashes between them.
    """
    files = [node for node in range(len(columns)) if columns.kind(node) != FOLDER]
    hidden = [node for node in files if columns.is_hidden(node)]
    parts = (
        bytes(columns.flags),
        _numbers(columns.depths),
        _numbers(columns.sizes),
        _numbers(columns.layers[node] for node in files),
        _numbers(columns.hidden_by[node] for node in hidden),
        _numbers(columns.hows[node] for node in hidden),
        _numbers(columns.files[node] for node in files if columns.kind(node) == FOLDED),
        "/".join(columns.names).encode("utf-8", "surrogateescape"),
    )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join([*map(deflate.compress, parts), deflate.flush()])


def _numbers(values: Iterable[int]) -> bytes:
    out = bytearray()
    for value in values:
        left = value
        while left > 127:
            out.append(left & 127 | 128)
            left >>= 7
        out.append(left)
    return bytes(out)


def _policy(script: str, style: str) -> str:
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
