"""The oras package packs, and does nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocitool.artifacts import conventions
from ocitool.errors import (
    Refused,
)
from tests.artifacts.site import REPOSITORY, Site
from tests.support.registry import EmulatedRegistry


class TestConventions:
    def test_they_are_those_of_the_package(self) -> None:
        defaults = pytest.importorskip("oras.defaults")
        assert defaults.annotation_title == conventions.TITLE
        assert defaults.annotation_unpack == conventions.UNPACK
        assert defaults.annotation_digest == conventions.CONTENT_DIGEST
        assert defaults.default_blob_media_type == conventions.FILE_TYPE
        assert defaults.default_blob_dir_media_type == conventions.FOLDER_TYPE
        assert defaults.unknown_config_media_type == conventions.UNKNOWN_CONFIG


# Tells every connection and every opened file that code of the package or of requests is behind.
_WATCHED = """
import json, sys
seen = {"ours": [], "theirs": [], "files": []}
def names():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame.f_globals.get("__name__", "").split(".")[0]
        frame = frame.f_back
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        theirs = {"oras", "requests", "urllib3", "docker"} & set(names())
        seen["theirs" if theirs else "ours"].append(event)
    elif event == "open" and "oras" in set(names()) and "importlib" not in set(names()):
        seen["files"].append(str(arguments[0]))
    elif event == "subprocess.Popen":
        seen["theirs"].append(event)
import requests
def reached(*arguments, **options):
    seen["theirs"].append("requests")
    raise AssertionError("requests was reached")
requests.Session.request = requests.Session.send = reached
import oras.provider, ocitool.places.registry
from ocitool.artifacts.sending import PackOptions, push, attach
from ocitool.places.registry import Registries
from ocitool.oci import Reference
sys.addaudithook(hook)
with Registries() as registries:
    push(registries, Reference.parse(sys.argv[1]), PackOptions(files=sys.argv[2:]))
    attach(registries, Reference.parse(sys.argv[1]), PackOptions(files=sys.argv[2:]))
print(json.dumps(seen))
"""


class TestThePackage:
    def test_it_opens_no_connection_and_reads_nobodys_credentials(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        home = site.folder / "home"
        (home / ".docker").mkdir(parents=True)
        (home / ".docker" / "config.json").write_text('{"credsStore": "missing-helper"}')
        done = subprocess.run(
            [sys.executable, "-c", _WATCHED, str(site.reference()), str(data)],
            env={**os.environ, "HOME": str(home), "DOCKER_CONFIG": str(site.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert seen["theirs"] == []
        assert seen["ours"]
        assert seen["files"]
        assert not [path for path in seen["files"] if path.startswith(str(home))]
        assert set(registry.tags[REPOSITORY]) == {"1"}

    def test_a_request_of_its_own_is_refused(self) -> None:
        from ocitool.artifacts.packer import Packer

        packer = Packer()
        with pytest.raises(Refused, match="tried to send a request"):
            packer.get_tags("registry.invalid/a:1")

    def test_it_is_loaded_only_where_something_is_packed(self) -> None:
        code = (
            "import sys, ocitool.artifacts.sending, ocitool.artifacts.receiving, "
            "ocitool.artifacts.attached, ocitool.cli.commands.artifact; "
            "sys.exit(bool({'oras', 'requests', 'jsonschema'} & set(sys.modules)))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
