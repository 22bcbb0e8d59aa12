"""The JSON documents of the commands that edit images."""

from ocitool.cli.render.document import View

_IMAGE = View("platform old new image_id changed")
_ATTACHED = View("digest kind artifact_type subject tag copied_as")
_DELIVERED = View("destination pinned moved_from sent_blobs sent_bytes")
EDITED = View(
    "old new media_type changed dry_run",
    images=_IMAGE,
    attestations="attestations",
    attestations_kept="keeps_attestations",
    attached=_ATTACHED,
    remarks="remarks",
    delivered=_DELIVERED,
)
