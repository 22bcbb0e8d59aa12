"""The JSON documents about bundles; `README.md` beside this file describes every field."""

from ocitool.cli.documents import STORED, rounded
from ocitool.cli.render.document import View, each

_ATTACHED_ENTRY = View("digest media_type size subject artifact_type names")
_BUNDLE_IMAGE = View(
    "name digest media_type platforms",
    attached=_ATTACHED_ENTRY,
    closure=View("asked complete missing"),
)
_REQUIRED = View("digest size", **{"from": "from_"})
BUNDLE_FILE = View("path size kept")
BUNDLE_MADE = View("kind size", images=_BUNDLE_IMAGE, requires=_REQUIRED).at("listing") | View(
    "incomplete"
)
BUNDLE = View(
    "volumes lost_volumes rebuilt_volumes",
    parity="has_parity",
    files=("files", each("what")),
    digest="head.digest",
    kind="head.listing.kind",
    size="head.listing.size",
    builds_on="head.listing.builds_on",
    blobs=("head.listing.blobs", View("digest size type")),
    requires=("head.listing.requires", _REQUIRED),
    images=("head.listing.images", _BUNDLE_IMAGE),
)
BUNDLE_VERIFIED = View(
    "digest files volumes lost_volumes rebuilt_volumes sound whole lost_images size signer",
    kind="listing.kind",
    damage=View("file member kind message images"),
    lost=View("digest size type"),
    seconds=("seconds", rounded),
)
UNREADABLE = View("path", error="error.message", hint="error.hint")
BUNDLE_CHECKED = View(
    "applies lost_images",
    digest="bundle",
    lacking=View("digest size images is_required is_damaged"),
)
BUNDLE_LOADED = STORED
