"""`ocitool facts` as a user types it: text, JSON, rules, allowances, SBOM; and no secret in any."""

import base64
import json
from pathlib import Path
from typing import Any, cast

import pytest

from tests.inside.facts import planted
from tests.inside.facts.scenes import SECRETS, clean_images, planted_image
from tests.support.command import Command
from tests.support.registry import EmulatedRegistry
from tests.support.small_images import file, gone, small_image, with_unread_layer, write_image


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("planted"), planted_image("gzip"), "docker29-save")


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write_image(tmp_path, clean_images()["scratch"], "oci-archive")


def document(ocitool: Command, *arguments: str | Path, code: int = 0) -> Any:
    done = ocitool("facts", *arguments, "--json")
    assert done.code == code, done.err
    return cast("dict[str, Any]", done.json)


@pytest.mark.parametrize(
    ("kind", "code", "bare"),
    [("missing", 4, 4), ("damaged", 7, 7), ("encrypted", 3, 0), ("foreign", 3, 0)],
)
def test_with_a_layer_that_was_not_read_no_rule_passes(
    ocitool: Command, tmp_path: Path, kind: str, code: int, bare: int
) -> None:
    image = small_image([file("a", 10)], [file("b", 20)], [gone("a")])
    path = write_image(tmp_path, with_unread_layer(image, kind))
    done = ocitool("facts", path, "--deny", "setuid,secrets")
    assert (done.code, "passed" in done.out) == (code, False)
    assert "failed  setuid: layer 2 was not read" in done.out
    found = document(ocitool, path, "--deny", "setuid", code=code)
    assert (found["passed"], found["rules"][0]["passed"]) == (False, False)
    assert ocitool("facts", path).code == bare


class TestSecrecy:
    @pytest.mark.parametrize(
        "options",
        [
            (),
            ("--json",),
            ("--debug", "--deny", "secrets,shell"),
            ("-v", "--packages"),
            ("--sbom", "cyclonedx", "-"),
            ("-q", "--deny", "secrets"),
        ],
    )
    def test_no_secret_stands_in_any_output(
        self, ocitool: Command, image: Path, options: tuple[str, ...]
    ) -> None:
        done = ocitool("facts", image, *options)
        assert done.code in (0, 3)
        shown = done.out + done.err
        for secret in SECRETS:
            for form in (secret, json.dumps(secret)[1:-1], *secret.splitlines()):
                assert len(form) < 8 or form.startswith("-----") or form not in shown

    def test_at_most_four_characters_are_shown(self, ocitool: Command, image: Path) -> None:
        secrets = document(ocitool, image)["secrets"]
        assert len(secrets) == 17
        assert max(len(secret["begins"]) for secret in secrets) == 4


class TestText:
    def test_the_first_lines_say_what_it_is(self, ocitool: Command, image: Path) -> None:
        done = ocitool("facts", image)
        lines = done.out.splitlines()
        assert lines[0] == "small:1"
        assert lines[1].split(maxsplit=1)[1].startswith("full OS: shell sh, bash, dash and 1 more")
        assert "17 found, 2 of them hidden by a later layer" in done.out

    def test_eighty_columns_are_enough(self, ocitool: Command, image: Path) -> None:
        shown = ocitool.on_terminal("facts", image, "--deny", "secrets", NO_COLOR="1")
        assert max(map(len, shown.splitlines())) <= 80

    def test_a_clean_image_is_short(self, ocitool: Command, clean: Path) -> None:
        out = ocitool("facts", clean).out
        assert "scratch: no shell; no package manager; no C library" in out
        assert "none found" in out
        assert "Secrets" not in out


class TestHostileNames:
    PATH = "app/\x1b[31mred\udcff.env"

    @pytest.fixture
    def hostile(self, tmp_path: Path) -> Path:
        secret = f"A=1\nAPI_TOKEN={planted.GITHUB}\n"
        image = small_image(
            [
                file(self.PATH, len(secret), secret),
                file("usr/bin/\x1b]0;title\x07", 1, mode=0o4755),
                file("lib/x-1.dist-info/METADATA", 30, "Name: \x1b[2Jclear\nVersion: 1\n"),
            ]
        )
        return write_image(tmp_path, image)

    def test_they_cannot_control_the_terminal(self, ocitool: Command, hostile: Path) -> None:
        done = ocitool("facts", f"oci:{hostile}", "--packages", "--deny", "setuid,secrets")
        assert done.code == 3
        assert "\x1b" not in done.out + done.err
        assert "app/\\x1b[31mred\\udcff.env" in done.out

    def test_json_has_them_whole(self, ocitool: Command, hostile: Path) -> None:
        (secret,) = document(ocitool, f"oci:{hostile}")["secrets"]
        assert secret["path"] == "app/\x1b[31mred\ufffd.env"
        assert base64.b64decode(secret["path_bytes"]) == b"app/\x1b[31mred\xff.env"


class TestRules:
    def test_a_denied_finding_is_exit_3_and_names_its_place(
        self, ocitool: Command, image: Path
    ) -> None:
        done = ocitool("facts", image, "--deny", "setuid,setgid", "--deny", "capabilities")
        assert done.code == 3
        assert "denied  setuid: 1 finding" in done.out
        assert "usr/bin/su: mode 4755" in done.out
        assert "passed  capabilities" in done.out

    def test_every_rule_is_told_in_one_run(self, ocitool: Command, image: Path) -> None:
        rules = (
            "secrets,shell,package-manager,setuid,setgid,world-writable,capabilities,root,full-os"
        )
        found = document(ocitool, image, "--deny", f"{rules},package:base-*", code=3)
        counts = {rule["rule"]: len(rule["violations"]) for rule in found["rules"]}
        assert counts == {
            "secrets": 17,
            "shell": 4,
            "package-manager": 2,
            "setuid": 1,
            "setgid": 1,
            "world-writable": 1,
            "capabilities": 0,
            "root": 1,
            "full-os": 1,
            "package:base-*": 1,
        }
        assert found["passed"] is False

    def test_an_image_without_them_passes(self, ocitool: Command, clean: Path) -> None:
        assert document(ocitool, clean, "--deny", "secrets,shell,setuid")["passed"] is True

    def test_allowed_findings_pass_and_keep_their_reason(
        self, ocitool: Command, image: Path
    ) -> None:
        allowed = ("--allow", "usr/bin/su=users change", "--allow", "secrets=a test image")
        found = document(ocitool, image, "--deny", "setuid,secrets", *allowed)
        assert [rule["allowed"] for rule in found["rules"]] == [1, 17]
        assert {secret["allowed"] for secret in found["secrets"]} == {"a test image"}

    def test_places_of_the_configuration_can_be_allowed(
        self, ocitool: Command, image: Path
    ) -> None:
        found = document(ocitool, image, "--deny", "secrets", "--allow", "env:API_*=public", code=3)
        assert found["allowances"] == [{"what": "env:API_*", "reason": "public", "used": 1}]
        assert len(found["rules"][0]["violations"]) == 16

    def test_an_allowance_for_what_is_gone_is_reported(self, ocitool: Command, clean: Path) -> None:
        done = ocitool("facts", clean, "--allow", "app/.env=old")
        assert done.code == 0
        assert "--allow app/.env (old) allows nothing any more" in done.err
        found = document(ocitool, clean, "--allow", "app/.env=old")
        assert found["allowances"] == [{"what": "app/.env", "reason": "old", "used": 0}]

    def test_quiet_prints_the_denied_places_alone(self, ocitool: Command, image: Path) -> None:
        done = ocitool("facts", image, "-q", "--deny", "setuid,setgid")
        assert (done.code, done.out) == (3, "usr/bin/su\nusr/bin/wall\n")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--deny", "everything"), "no rule 'everything'"),
            (("--deny", "package:"), "no rule 'package:'"),
            (("--allow", "usr/bin/su"), "has no reason"),
            (("--sbom", "spdx", "x"), "'spdx' is not a format"),
            (("--sbom", "app.json", "cyclonedx"), "write --sbom cyclonedx app.json"),
            (("--sbom", "cyclonedx", "-", "--json"), "cannot both go to stdout"),
        ],
    )
    def test_wrong_options_are_usage_errors(
        self, ocitool: Command, clean: Path, options: tuple[str, ...], message: str
    ) -> None:
        done = ocitool("facts", clean, *options)
        assert done.code == 2
        assert message in done.err


class TestSbom:
    def test_equal_images_and_times_give_equal_bytes(
        self, ocitool: Command, image: Path, tmp_path: Path
    ) -> None:
        files = []
        for name in ("a.json", "b.json"):
            variables = {"SOURCE_DATE_EPOCH": "1700000000"}
            done = ocitool(
                "facts", image, "--sbom", "cyclonedx", tmp_path / name, variables=variables
            )
            assert done.code == 0, done.err
            files.append((tmp_path / name).read_bytes())
        assert files[0] == files[1]
        found = json.loads(files[0])
        assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
        assert [one["purl"] for one in found["components"]] == ["pkg:deb/base-files@12"]

    def test_a_wrong_time_is_a_usage_error(self, ocitool: Command, clean: Path) -> None:
        done = ocitool(
            "facts", clean, "--sbom", "cyclonedx", "-", variables={"SOURCE_DATE_EPOCH": "soon"}
        )
        assert done.code == 2
        assert "SOURCE_DATE_EPOCH is 'soon'" in done.err

    def test_to_stdout_it_is_all_that_is_printed(self, ocitool: Command, clean: Path) -> None:
        done = ocitool("facts", clean, "--sbom", "cyclonedx", "-")
        assert json.loads(done.out)["bomFormat"] == "CycloneDX"


class TestPlaces:
    def test_an_image_of_the_store(self, loaded: Command) -> None:
        found = document(loaded, "fmt/app:1.0")
        assert found["names"] == ["docker.io/fmt/app:1.0"]

    def test_an_image_of_a_registry_of_which_each_layer_is_fetched_once(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        built = planted_image("gzip")
        with EmulatedRegistry() as registry:
            registry.add_image("a/b", built, "1")
            done = ocitool(
                "facts",
                f"docker://{registry.host}/a/b:1",
                "--json",
                variables={"XDG_CACHE_HOME": str(tmp_path / "cache")},
            )
            fetched = [len(registry.requests("GET", layer.digest.hex)) for layer in built.layers]
        assert done.code == 0, done.err
        assert fetched == [1, 1, 1, 1]
        assert len(cast("dict[str, Any]", done.json)["secrets"]) == 17

    def test_an_image_that_is_nowhere(self, loaded: Command) -> None:
        assert loaded("facts", "nothing:1").code == 4


class TestLayersThatCannotBeRead:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Path:
        return write_image(tmp_path, planted_image("gzip"))

    def layer(self, layout: Path, number: int) -> Path:
        digest = planted_image("gzip").layers[number - 1].digest
        return layout / "blobs" / digest.algorithm / digest.hex

    def test_a_damaged_one_is_told_and_nothing_has_passed(
        self, ocitool: Command, layout: Path, tmp_path: Path
    ) -> None:
        path = self.layer(layout, 2)
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        sbom = tmp_path / "sbom.json"
        done = ocitool(
            "facts", f"oci:{layout}", "--deny", "capabilities", "--sbom", "cyclonedx", sbom
        )
        assert done.code == 7
        assert "layer 2: the layer cannot be read" in done.err
        assert "usr/bin/su" in done.out
        assert not sbom.exists()

    def test_a_missing_one_is_not_found(self, ocitool: Command, layout: Path) -> None:
        self.layer(layout, 1).unlink()
        done = ocitool("facts", f"oci:{layout}")
        assert done.code == 4
        assert "layer 1: the layer cannot be read" in done.err
        assert "root/.npmrc" in done.out
