"""What `rewrite` makes of a Kustomization is what kustomize renders."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ocitool.bundles.mapping import MappedImage
from ocitool.bundles.names import names_in
from ocitool.bundles.rewriting import NewNames, rewrite

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]

ONE, TWO = (f"sha256:{letter * 64}" for letter in "ab")
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: x}
spec: {containers: [{name: a, image: nginx:1.20}, {name: b, image: r.example/b}]}
"""
IMAGES = f"""\
resources: [pod.yaml]
images:
  - name: nginx
    newTag: "1.25"
  - {{name: r.example/b, newName: r.example/c, digest: "{TWO}"}}
"""


def rendered(folder: Path) -> set[str]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True
    )
    return set(names_in(done.stdout.encode(), "rendered").names)


def test_a20_kustomize_renders_the_new_names(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(POD)
    file = tmp_path / "kustomization.yaml"
    file.write_text(IMAGES)
    found = names_in(file.read_bytes(), "kustomization.yaml")
    assert rendered(tmp_path) == set(found.names)
    names = NewNames(
        [
            MappedImage(from_="docker.io/library/nginx:1.25", to="s.example/n:1.25", digest=ONE),
            MappedImage(from_=f"r.example/c@{TWO}", to=f"s.example/c@{TWO}", digest=TWO),
        ]
    )
    done = rewrite(file.read_bytes(), found, names)
    assert done.missing == ()
    file.write_bytes(done.data)
    assert rendered(tmp_path) == {f"s.example/n:1.25@{ONE}", f"s.example/c@{TWO}"}
