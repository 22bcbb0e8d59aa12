"""The JSON documents of `size` and `facts`, which say what is in an image."""

from ocitool.cli.documents import ODDITY, PATH
from ocitool.cli.render.document import View, each_of, path_bytes, path_text

_LARGE = PATH | View("bytes layer")
_LAYER_SIZE = View(
    "number digest diff_id instruction stored tar_size file_bytes hidden_bytes repeated_bytes "
    "files added changed deleted metadata_only_bytes problem"
)
_BUDGET = View("rule limit actual unit passed problem", causes=_LARGE)
_DUPLICATES = View(
    "reclaimable",
    sha256="digest.hex",
    bytes="size",
    paths=("paths", each_of(path_text)),
    path_bytes=("paths", each_of(path_bytes)),
)
SIZES = View(
    "digest platform stored tar_size file_bytes live_bytes wasted_bytes efficiency wasted_stored "
    "duplicate_bytes files directories",
    dive=View("efficiency wasted_bytes user_wasted_percent"),
    layers=_LAYER_SIZE,
    wasted=PATH | View("bytes layer hidden_by how files is_folder"),
    largest=_LARGE,
    directories_by_size=PATH | View("bytes files"),
    duplicates=_DUPLICATES,
    problems=ODDITY,
).at("report") | View("name", budgets=_BUDGET)
_PACKAGE = View("type name group version epoch architecture source license") | PATH
_PROGRAM = View("name", file=("file", path_text)) | PATH
_LOOSE = View("rule mode uid gid layer instruction") | PATH
_SECRET = PATH | View(
    "kind place name begins layer instruction hidden_by how note allowed",
)
_FACTS = View(
    "names digest platform created user reasons runs_as_root distribution",
    **{"class": "image_class"},
    shells=_PROGRAM,
    package_managers=_PROGRAM,
    c_libraries=View("name version") | PATH,
    ca_bundles=View("certificates") | PATH,
    zoneinfo=("zoneinfo", each_of(path_text)),
    unusual_files=("loose", _LOOSE),
    packages=_PACKAGE,
    secrets=_SECRET,
    unread=View("kind reason layer") | PATH,
)
_DENIAL = View(
    "rule passed allowed",
    violations=View("what layer", where=("where", path_text)),
)
FACTS = _FACTS.at("facts") | View(
    "passed", rules=("denials", _DENIAL), allowances=View("what reason used")
)
