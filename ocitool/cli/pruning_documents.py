"""The JSON document of registry prune; `README.md` beside this file describes every field."""

from ocitool.cli.render.document import View

_STEP = View(
    "order action tag digest tags parent size created media_type id reason",
    age_source="source",
    shared="is_shared",
    attached="is_attached",
)
_SPARED = View("name reason")
_DONE = View("tags digests size still_there broken checked", spared=_SPARED, refused=_SPARED)
_PLAN = View(
    "registry repository api time rules graph images images_going size notes damage",
    kept=View("tag digest rule"),
    steps=_STEP,
)
FAILED = View(repository="name", error="error.message", hint="error.hint")
PRUNED = _PLAN.at("plan") | View("brake", done=_DONE)
