"""The JSON documents of the commands; `README.md` beside this file describes every field."""

import base64
import datetime as dt
import os
from collections.abc import Mapping

from ocitool.cli.render.document import View, each, path_bytes, path_text, plain

_TITLE = "org.opencontainers.image.title"
_YEAR_10000 = 253_402_300_800
"""Seconds since the epoch; Python's datetime ends before that year."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _or_none(value: object) -> object:
    return plain(value) or None


def rounded(seconds: object) -> object:
    """Return seconds to the millisecond."""
    return round(seconds, 3) if isinstance(seconds, float) else seconds


def time_of(seconds: object) -> str | None:
    """Return seconds since the epoch as a time, or None if an engine gave no valid one."""
    if not isinstance(seconds, int) or not 0 < seconds < _YEAR_10000:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _attached(below: object) -> object:
    return ATTACHED(below)


def _title(annotations: object) -> object:
    return annotations.get(_TITLE) if isinstance(annotations, Mapping) else None


def _attributes(values: object) -> dict[str, str]:
    """Return extended attributes, their values in base64."""
    if not isinstance(values, Mapping):
        return {}
    return {str(path_text(name)): base64.b64encode(values[name]).decode("ascii") for name in values}


PATH = View(path=("path", path_text), path_bytes=("path", path_bytes))
"""A path inside an image; `path_bytes` only if it is not UTF-8."""
FAILURE = View("name", error="error.message", hint="error.hint")
CHANGE = View("name", **{"from": "old", "to": "new"})
USE = View("provider id name state")
PIN = View("digest name since until reason")
_UNPACKED = View(
    "entries", bytes="size", special_left_out="special", attributes_left_out="attributes"
)

# Images that were copied.

_MISSING = View("digest platform")
IMAGE = View("names label digest media_type image_id platforms", missing=_MISSING)
_CONVERSION = View("layers compression", **{"from": "old", "to": "new"})
COPIED = View("attached", images=IMAGE, conversions=_CONVERSION, moved=CHANGE)
SAVED = COPIED | View("layer_compression", bytes_written="written")
STORED = COPIED | View(
    blobs_stored="transfer.stored_blobs",
    bytes_stored="transfer.stored_bytes",
    blobs_existing="transfer.existing_blobs",
    bytes_existing="transfer.existing_bytes",
)
PULLED = View("store", moved=CHANGE, images=STORED, failed=FAILURE)
_BLOB = View("digest media_type size").at("descriptor") | View(
    outcome="outcome", seconds=("seconds", rounded)
)
_COUNTS = View(
    blobs_stored="transfer.stored_blobs",
    bytes_stored="transfer.stored_bytes",
    blobs_existing="transfer.existing_blobs",
    bytes_existing="transfer.existing_bytes",
)
PUSHED = _COUNTS | View(
    "destination pinned moved_from attached",
    status="ending",
    image=IMAGE,
    blobs=("transfer.blobs", _BLOB),
    seconds=("seconds", rounded),
    **{"from": "name"},
)
FAILED_PUSH = View(destination="name", error="error.message", hint="error.hint")
TAG_COPIED = View(
    "source destination digest pinned moved_from attached",
    status="ending",
    media_type="image.media_type",
    blobs_sent="transfer.stored_blobs",
    bytes_sent="transfer.stored_bytes",
)
MIRRORED = View(
    "pinned moved_from attached",
    source="line.source",
    destination="line.destination",
    digest="line.digest",
    status="ending",
    rule="line.rule",
    blobs_sent="transfer.stored_blobs",
    bytes_sent="transfer.stored_bytes",
)

# The store.

LISTED = View(
    "names label other_names digest media_type kind image_ids platforms created size unpacked "
    "unique labels subject missing problem",
    former_name="former.name",
    former_name_lost=("former.lost", _or_none),
    pin=PIN,
).at("image") | View(containers=("holders", USE))
REFLOG = View("name number digest state", time=("time", _or_none))
REMOVED = View("images blobs freed waiting", dropped=("dropped", each("name")))
_USAGE = View(
    "size unique shared subject",
    digest="root.descriptor.digest",
    names="root.names",
    containers=("holders", USE),
    pin=PIN,
)
DISK_USAGE = View(
    "stored shared garbage unheld waiting leftovers problem written trees", images=_USAGE
)

# Looking inside.

_RUNTIME = View(
    "entrypoint cmd env exposed_ports volumes labels shell",
    user=("user", _or_none),
    working_dir=("working_dir", _or_none),
    stop_signal=("stop_signal", _or_none),
    healthcheck="healthcheck.test",
)
_LAYER = View(
    "digest diff_id media_type size file_bytes entries instruction created_by created problem",
    unpacked="tar_size",
)
INSPECTED = View(
    "names label other_names digest media_type index_digest image_id platform created size "
    "unpacked annotations attestations engine",
    file_bytes="waste.file_bytes",
    wasted_bytes="waste.wasted_bytes",
    author=("config.author", _or_none),
    config=("config.config", _RUNTIME),
    layers=_LAYER,
    platforms=View("platform digest size"),
)
HISTORY = View("instruction created_by created comment").at("step") | View(
    layer="layer.digest",
    diff_id="layer.diff_id",
    size="layer.size",
    unpacked="layer.tar_size",
    file_bytes="layer.file_bytes",
)


def _moment(seconds: object) -> str | None:
    """Return seconds since 1970 as a time; None for years that cannot be written."""
    try:
        moment = _EPOCH + dt.timedelta(seconds=float(str(seconds)))
    except (OverflowError, ValueError):
        return None
    return moment.isoformat().replace("+00:00", "Z")


def content(data: bytes) -> dict[str, object]:
    """Return the content of a file as text, or in base64 if it is not UTF-8."""
    try:
        return {"content": data.decode("utf-8"), "content_base64": None}
    except UnicodeDecodeError:
        return {"content": None, "content_base64": base64.b64encode(data).decode("ascii")}


_EVENT = View("layer action instruction size what")
FILE = (
    PATH
    | View(
        "type size mode uid gid",
        mtime=("mtime", _moment),
        link=("link", path_text),
        link_bytes=("link", path_bytes),
    )
    | View("device sha256 layer instruction nlink hides hidden_by how")
)
LISTED_FILE = FILE.at("entry") | View(story=_EVENT)
TAKEN = PATH | View(
    "destination",
    type="kind",
    unpacked=("extracted", _UNPACKED),
)
EXPORTED = View("digest platform layer destination bytes_written")

_STATE = View(
    "size mode uid gid device layer sha256",
    type="kind",
    mtime=("mtime", _moment),
    link=("link", path_text),
    link_bytes=("link", path_bytes),
    hard_link=("hard_link", path_text),
    hard_link_bytes=("hard_link", path_bytes),
    xattrs=("xattrs", _attributes),
)
_LAYER_OF = View("number digest diff_id stored instruction")
_SIDE = View("digest image_id platform", name="called")
COMPARED = View(
    "same size",
    problems=View("image layer kind text"),
    a=_SIDE,
    b=_SIDE,
    files=View(
        "mtime_only compared",
        added=PATH | _STATE,
        removed=PATH | _STATE,
        changed=PATH | View("what diff", a=_STATE, b=_STATE),
    ),
    config=View("field a b"),
    history=View("only_notes", changes=View("step instruction created_by", added="is_added")),
    layers=View(shared=View(a=_LAYER_OF, b=_LAYER_OF), only_a=_LAYER_OF, only_b=_LAYER_OF),
)
_WRITTEN = View("text guess layer files bytes created_by")
DOCKERFILE = View(
    "digest platform",
    name="called",
    base=("file.base", View("name digest found_by layers steps")),
    layers="file.layers",
    steps="file.steps",
    has_mounts="file.has_mounts",
    problem=("file.problem", _or_none),
    lines=("lines", _WRITTEN),
    unrecorded=("unrecorded", _WRITTEN),
)
_PROBLEM = View("kind subject message image layer created_by")
_PROVED = View("names label", digest="descriptor.digest")
VERIFIED = View(
    "sound blobs unreferenced",
    images="roots",
    bytes="size",
    problems=_PROBLEM,
    absent=("absent", each("digest")),
    foreign=("foreign", each("digest")),
    strays="unknown_files",
    remarks="remarks",
    proved=("proved", _PROVED),
    seconds=("seconds", rounded),
)
REPAIRED = VERIFIED.at("after") | View(
    "sound fetched lost leftovers",
    found=("before", _PROBLEM),
    set_aside=("aside", View("digest place")),
    rebuilt=View("files names lost", images="nameless"),
)

ODDITY = PATH | View("layer kind text")

# Garbage.

_GARBAGE_IMAGE = View(
    "digest kind names size reason", former_name="former", former_name_lost="lost"
)
_KEPT = View("digest names reason", former_name="former", containers=("holders", USE))
_PLAN = View(
    "path young absent size",
    images=_GARBAGE_IMAGE,
    blobs=View("digest size image reason"),
    strays="unknown_files",
    leftovers=View("path size reason"),
    kept=_KEPT,
    waiting=View("blobs size since"),
)
_SWEPT = View(
    "blobs leftovers waiting freed emptied spared",
    images=("images", each("digest")),
    dropped=("dropped", each("name")),
)
GARBAGE = _PLAN.at("plan") | View("asked", done=("swept", _SWEPT))
UNDONE = View("time images blobs names lost", kept=CHANGE)
_ENGINE_IMAGE = View("id names digests size", created=("created", time_of), former_name="former")
_ENGINE_SWEPT = View(
    "untagged deleted freed",
    images=("images", each("id")),
    refused=View("reason", id="image.id"),
)
ENGINE_GARBAGE = View("engine size").at("plan") | View(
    images=("plan.to_remove", _ENGINE_IMAGE),
    kept=("plan.held", _ENGINE_IMAGE.at("image") | View("reason", containers=("holders", USE))),
    done=("swept", _ENGINE_SWEPT),
    archive="archive",
)
ENGINE_EXPLANATION = _ENGINE_IMAGE.at("image") | View("state reason")

# Containers.

_BUNDLE = View("id name image digest manifest config created bundle", shared_tree="tree")
_STATE = View("pid exit_code started finished", state="status").at("state")
CONTAINER = _BUNDLE.at("container")
REMOVED_CONTAINER = CONTAINER | View(state=("container", lambda _: "removed"))
STARTED_CONTAINER = CONTAINER | _STATE
LISTED_CONTAINER = STARTED_CONTAINER | View("written total")
STOPPED_CONTAINERS = View(
    stopped=("done", STARTED_CONTAINER | View("was_running killed")), failed=FAILURE
)
REMOVED_CONTAINERS = View(removed=("done", REMOVED_CONTAINER), failed=FAILURE)
ENDED_CONTAINER = STARTED_CONTAINER
CREATED = CONTAINER | View("rootless remarks", unpacked=("extracted", _UNPACKED))

# Registries.

DIGEST = View("digest media_type size")
LOCKED = View("asked name image digest")
_RENAMED = View("file line column", name="old", new_name="new")
REWRITTEN = View("files", changes=_RENAMED, missing=_RENAMED)
_DESCRIPTOR = View("digest media_type")
_FILE = View("digest media_type size", title=("annotations", _title))
SENT = _DESCRIPTOR.at("descriptor") | View(
    "destination pinned",
    artifact_type="manifest.effective_artifact_type",
    subject="subject.digest",
    files=("manifest.layers", _FILE),
    blobs=("transfer.blobs", _BLOB),
)
ATTACHED = View("digest media_type size annotations").at("descriptor") | View(
    "artifact_type created tag", gone="is_gone", attached=("attached", _attached)
)


def without_store(path: str) -> object:
    """Return the plan of `gc` for a store that does not exist."""
    lists: dict[str, object] = {
        key: [] for key in ("images", "blobs", "leftovers", "kept", "asked", "strays")
    }
    waiting = {"blobs": 0, "size": 0, "since": None}
    return {
        "path": path,
        **lists,
        "young": 0,
        "absent": 0,
        "size": 0,
        "waiting": waiting,
        "done": None,
    }


def received(folder: str) -> View:
    """Return the view of an artifact whose files were written to a folder."""
    path = os.path.join
    return View(
        digest="descriptor.digest",
        artifact_type="artifact_type",
        files=_FILE.at("descriptor")
        | View(
            title="title",
            path=("title", lambda title: os.path.normpath(path(folder, str(title)))),
            kind=("is_folder", lambda is_folder: "folder" if is_folder else "file"),
        ),
    )
