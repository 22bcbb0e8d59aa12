"""Settings on an image: each is changed where it stands, and everything else stays."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.editing.parts import ImageParts
from ocitool.editing.settings import Settings, apply_settings
from ocitool.errors import Refused
from ocitool.oci import Platform
from tests.editing.test_layers import parts_of
from tests.support.images import CREATED, build_image

LATER = "2025-01-02T03:04:05Z"
RUNTIME: dict[str, object] = {
    "Hostname": "",
    "User": "0",
    "Env": ["PATH=/bin", "A=1", "B=2"],
    "Cmd": ["run"],
    "Labels": {"a": "1", "c": "3"},
    "ExposedPorts": {"80/tcp": {}},
    "OnBuild": None,
}
IMAGE = build_image(config={"config": RUNTIME, "docker_version": "20.10.5"})


def config_of(parts: ImageParts) -> dict[str, object]:
    found: dict[str, object] = json.loads(parts.config.raw)
    return found


def runtime_after(settings: Settings) -> Mapping[str, object]:
    found = config_of(apply_settings(parts_of(IMAGE), settings))["config"]
    assert isinstance(found, dict)
    return found


class TestM2OnlyWhatIsAskedFor:
    @pytest.mark.parametrize(
        ("settings", "member", "expected"),
        [
            (Settings(labels={"b": "2"}), "Labels", {"a": "1", "b": "2", "c": "3"}),
            (Settings(labels={"a": ""}), "Labels", {"a": "", "c": "3"}),
            (Settings(without_labels=("a", "x")), "Labels", {"c": "3"}),
            (Settings(env={"A": "9", "Z": ""}), "Env", ["PATH=/bin", "A=9", "B=2", "Z="]),
            (Settings(without_env=("A",)), "Env", ["PATH=/bin", "B=2"]),
            (Settings(entrypoint=("/app", "-v")), "Entrypoint", ["/app", "-v"]),
            (Settings(cmd=("x",)), "Cmd", ["x"]),
            (Settings(user="7:8"), "User", "7:8"),
            (Settings(working_dir="/w"), "WorkingDir", "/w"),
            (Settings(exposed=("53/udp",)), "ExposedPorts", {"53/udp": {}, "80/tcp": {}}),
            (Settings(volumes=("/v",)), "Volumes", {"/v": {}}),
            (Settings(stop_signal="SIGINT"), "StopSignal", "SIGINT"),
        ],
    )
    def test_one_member_changes_and_the_others_stay(
        self, settings: Settings, member: str, expected: object
    ) -> None:
        after = runtime_after(settings)
        assert after[member] == expected
        assert {**after, member: 0} == {**RUNTIME, member: 0}

    def test_what_is_emptied_is_gone(self) -> None:
        assert "Cmd" not in runtime_after(Settings(cmd=()))
        assert "Labels" not in runtime_after(Settings(without_labels=("a", "c")))

    def test_new_members_go_where_the_specification_has_them(self) -> None:
        after = runtime_after(Settings(working_dir="/w", entrypoint=("/e",)))
        assert list(after) == [
            *("Hostname", "User", "Env", "Entrypoint", "Cmd"),
            *("WorkingDir", "Labels", "ExposedPorts", "OnBuild"),
        ]

    @pytest.mark.parametrize(
        "settings",
        [
            Settings(),
            Settings(labels={"a": "1"}, env={"B": "2"}, cmd=("run",), user="0"),
            Settings(without_env=("X",), exposed=("80/tcp",), platform=Platform.parse("amd64")),
            Settings(entrypoint=(), stop_signal="", created=CREATED),
        ],
    )
    def test_what_holds_already_gives_the_very_same_documents(self, settings: Settings) -> None:
        before = parts_of(IMAGE)
        after = apply_settings(before, settings, epoch=LATER)
        assert (after.manifest.raw, after.config.raw) == (before.manifest.raw, before.config.raw)

    def test_another_platform(self) -> None:
        after = config_of(
            apply_settings(parts_of(IMAGE), Settings(platform=Platform.parse("linux/arm/v7")))
        )
        assert (after["os"], after["architecture"], after["variant"]) == ("linux", "arm", "v7")
        assert list(after)[:4] == ["created", "architecture", "variant", "os"]

    @given(
        st.dictionaries(st.text(min_size=1), st.text()),
        st.lists(st.text(min_size=1), max_size=4),
    )
    def test_labels_are_what_a_dictionary_would_be(
        self, added: dict[str, str], removed: list[str]
    ) -> None:
        after = runtime_after(Settings(labels=added, without_labels=tuple(removed)))
        expected = {k: v for k, v in {"a": "1", "c": "3"}.items() if k not in removed} | added
        assert after.get("Labels", {}) == expected


class TestM5History:
    def test_one_entry_names_what_was_set_and_no_value(self) -> None:
        settings = Settings(env={"TOKEN": "secret"}, labels={"x": "y"}, cmd=("run",))
        new = apply_settings(parts_of(IMAGE), settings)
        assert config_of(new)["history"][1:] == [  # type: ignore[index]
            {"created": CREATED, "created_by": "ocitool set label,env", "empty_layer": True}
        ]

    def test_without_history_there_is_none(self) -> None:
        new = apply_settings(parts_of(IMAGE), Settings(user="9"), history=False)
        assert len(new.config.history) == 1

    def test_an_annotation_changes_the_manifest_alone(self) -> None:
        new = apply_settings(parts_of(IMAGE), Settings(annotations={"k": "v"}))
        assert json.loads(new.manifest.raw)["annotations"] == {"k": "v"}
        assert new.config.raw == parts_of(IMAGE).config.raw


class TestM1Times:
    def test_a_changed_image_gets_the_time_of_the_source_code(self) -> None:
        new = apply_settings(parts_of(IMAGE), Settings(user="9"), epoch=LATER)
        assert (new.config.created, new.config.history[-1].created) == (LATER, LATER)

    def test_a_time_that_was_asked_for_comes_first(self) -> None:
        new = apply_settings(parts_of(IMAGE), Settings(created="2001-01-01T00:00:00Z"), epoch=LATER)
        assert new.config.created == "2001-01-01T00:00:00Z"
        assert new.config.history[-1].created_by == "ocitool set created"


class TestM3Annotations:
    def test_a_docker_manifest_has_none(self) -> None:
        docker = parts_of(build_image(docker=True))
        with pytest.raises(Refused) as caught:
            apply_settings(docker, Settings(annotations={"k": "v"}))
        assert "convert" in str(caught.value.hint)
        assert apply_settings(docker, Settings(without_annotations=("k",))) == docker
