"""The JSON documents about the files of containers; `README.md` beside this file describes them."""

from ocitool.cli.documents import PATH
from ocitool.cli.render.document import View

CHANGED_PATH = View(change="letter") | PATH
