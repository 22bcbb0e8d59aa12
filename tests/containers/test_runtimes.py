"""containerd and CRI runtimes: real sockets, and stand-ins for ctr and crictl."""

import json
import socket
from pathlib import Path

import pytest

from ocitool.containers.providers import find_providers
from ocitool.containers.uses import containers_by_image, describe_uses
from ocitool.errors import Refused
from ocitool.places.layout import Layout
from tests.containers.listed import APP, CRI, OF_CONTAINERD, OTHER, Remarks

_CTR = """#!/bin/sh
case "$*" in
*"namespaces ls"*) printf 'default\\nmoby\\n' ;;
*"-n moby"*) exit 1 ;;
*"tasks ls"*) printf 'TASK PID STATUS\\nweb 7 RUNNING\\n' ;;
*"images ls"*) printf 'REF TYPE DIGEST SIZE\\ndocker.io/library/app:1 t %s 1\\n' "$DIGEST" ;;
*"containers ls"*) printf 'web\\ngone\\n' ;;
*"info gone"*) echo 'ctr: container "gone": not found' >&2; exit 1 ;;
*"info web"*) cat "$LISTING" ;;
*) exit 9 ;;
esac
"""


class TestRuntimes:
    """containerd and CRI runtimes: real sockets, and stand-ins for ctr and crictl."""

    @pytest.fixture(autouse=True)
    def _alone(self, no_engines: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{tmp_path}/bin")
        for name in ("sh", "cat"):
            (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
        monkeypatch.setenv("LISTING", str(tmp_path / "listing"))
        monkeypatch.setenv("DIGEST", str(OTHER.descriptor.digest))
        (tmp_path / "listing").write_text(json.dumps(OF_CONTAINERD))

    @staticmethod
    def install(tmp_path: Path, tool: str, text: str) -> None:
        path = tmp_path / "bin" / tool
        path.write_text(text)
        path.chmod(0o755)

    @staticmethod
    def listen(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))

    @pytest.mark.parametrize("words", [[], ["containerd"]])
    def test_containerd_is_asked_by_ctr_in_every_namespace(
        self, layout: Layout, tmp_path: Path, words: list[str]
    ) -> None:
        self.listen(tmp_path / "c")
        self.install(tmp_path, "ctr", _CTR)
        told = Remarks()
        _, provider = find_providers(words, layout=layout, observer=told)
        held = containers_by_image(layout, provider.uses())
        # The name means another image in containerd: both may be in use.
        assert set(held) == {APP.descriptor.digest, OTHER.descriptor.digest}
        text = "container web (containerd, running)"
        assert {describe_uses(uses) for uses in held.values()} == {text}
        assert told.texts == []

    def test_a_cri_runtime_is_asked_by_crictl(self, layout: Layout, tmp_path: Path) -> None:
        self.listen(tmp_path / "cri")
        (tmp_path / "listing").write_text(json.dumps({"containers": [CRI]}))
        self.install(tmp_path, "crictl", '#!/bin/sh\ncat "$LISTING"\n')
        for words in ([], ["cri"], [f"cri:unix://{tmp_path}/cri"]):
            _, provider = find_providers(words, layout=layout)
            assert set(containers_by_image(layout, provider.uses())) == {APP.descriptor.digest}

    def test_a_runtime_without_its_tool_is_not_passed_over_in_silence(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        self.listen(tmp_path / "c")
        told = Remarks()
        assert [one.name for one in find_providers([], layout=layout, observer=told)] == ["store"]
        (text,) = told.texts
        assert "ctr is not installed" in text
        assert "--containers containerd:FILE" in text
        (_, named) = find_providers(["containerd"], layout=layout)
        with pytest.raises(Refused, match="ctr is not installed"):
            named.uses()

    def test_a_tool_that_fails_has_not_said_that_there_are_none(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        self.listen(tmp_path / "c")
        self.install(tmp_path, "ctr", "#!/bin/sh\necho 'ctr: cannot dial' >&2; exit 1\n")
        (_, provider) = find_providers([], layout=layout)
        with pytest.raises(Refused, match="cannot dial"):
            provider.uses()

    @pytest.mark.parametrize("kind", ["containerd", "cri"])
    def test_a_runtime_that_is_named_and_not_here_is_refused(
        self, layout: Layout, kind: str
    ) -> None:
        with pytest.raises(Refused, match=f"there is no {kind} here"):
            find_providers([kind], layout=layout)
