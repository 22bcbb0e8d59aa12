"""A Dockerfile from histories that are right, short, long, squashed, foreign or not there."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.inside.bases import Base, Candidate, FoundBy
from ocitool.inside.dockerfile import (
    ARGUMENT_IS_ELSEWHERE,
    ARGUMENT_OF_BUILD,
    LAYER_IS_GUESSED,
    LINE_BREAK,
    NOT_IN_HISTORY,
    NOT_TOLD,
    RAN_OR_COMMITTED,
    Dockerfile,
    dockerfile,
)
from ocitool.inside.recorded import WORDS_ARE_LOST
from ocitool.oci import Digest, ImageConfig
from tests.support.images import as_json

HEX = "c50ecf0f8081044924e199cfe6cfd18d0c9dd4d16be07790bb24f7088112b98e"
COPIED = f"/bin/sh -c #(nop) COPY file:{HEX} in /app "


def step(created_by: str, *, empty: bool = False, comment: str = "") -> dict[str, object]:
    return {"created_by": created_by, "empty_layer": empty, "comment": comment}


def config(
    layers: int, *history: Mapping[str, object], first: int = 0, **settings: Any
) -> ImageConfig:
    """Return a configuration with so many layers, numbered from `first`."""
    value = {
        "os": "linux",
        "architecture": "amd64",
        "config": settings,
        "rootfs": {
            "type": "layers",
            "diff_ids": [str(Digest.of(str(n).encode())) for n in range(first, first + layers)],
        },
        "history": list(history),
    }
    return ImageConfig.parse(as_json(value))


def told(found: Dockerfile) -> list[tuple[str, str, int | None]]:
    return [(line.text, line.guess, line.layer) for line in found.lines]


def test_steps_are_lines_with_the_layers_they_made() -> None:
    found = dockerfile(
        config(
            2,
            step("/bin/sh -c #(nop) ENV A=1", empty=True),
            step("/bin/sh -c make"),
            step(COPIED),
            step('/bin/sh -c #(nop)  CMD ["/app"]', empty=True),
            Env=["A=1"],
            Cmd=["/app"],
        )
    )
    assert told(found) == [
        ("ENV A=1", "", None),
        ("RUN make", "", 1),
        ("COPY", "", 2),
        ('CMD ["/app"]', "", None),
    ]
    assert [line.copies_to for line in found.lines] == [None, None, "/app", None]
    assert (found.base, found.unrecorded, found.problem) == (None, (), "")
    assert (found.layers, found.steps) == (2, 4)


class TestHistoriesThatDoNotFit:
    def test_layers_that_no_step_made_are_lines_of_their_own(self) -> None:
        found = dockerfile(config(3, step(COPIED)))
        assert told(found) == [
            ("COPY", LAYER_IS_GUESSED, 1),
            ("COPY", NOT_IN_HISTORY, 2),
            ("COPY", NOT_IN_HISTORY, 3),
        ]
        assert found.problem == "by the history 1 step made a layer, and there are 3"

    def test_with_too_many_steps_no_layer_is_named(self) -> None:
        found = dockerfile(config(1, step(COPIED), step("/bin/sh -c make")))
        assert told(found) == [("COPY", LAYER_IS_GUESSED, None), ("RUN make", "", None)]
        assert found.problem

    def test_a_squashed_image_has_one_layer_that_nothing_tells(self) -> None:
        merge = step("", comment="merge sha256:aa to sha256:bb")
        found = dockerfile(config(1, step("/bin/sh -c make", empty=True), merge))
        assert told(found) == [
            ("RUN make", "", None),
            ("COPY", "(merge sha256:aa to sha256:bb)", 1),
        ]

    def test_without_a_history_the_configuration_is_told(self) -> None:
        found = dockerfile(
            config(
                1,
                Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b c"],
                Entrypoint=["/e"],
                Cmd=["x"],
                User="1",
                WorkingDir="/w",
                Labels={"k": "v"},
                ExposedPorts={"80/tcp": {}},
                Volumes={"/v": {}},
                StopSignal="SIGINT",
                Healthcheck={"Test": ["CMD-SHELL", "true"], "Interval": 90_000_000_000},
                OnBuild=["RUN y"],
                Shell=["/bin/bash", "-c"],
            )
        )
        assert told(found) == [("COPY", NOT_IN_HISTORY, 1)]
        assert [line.text for line in found.unrecorded] == [
            'ENV A="b c"',
            "LABEL k=v",
            "EXPOSE 80/tcp",
            "VOLUME /v",
            "ONBUILD RUN y",
            "WORKDIR /w",
            "USER 1",
            'SHELL ["/bin/bash", "-c"]',
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s CMD true",
            'ENTRYPOINT ["/e"]',
            'CMD ["x"]',
        ]

    def test_only_what_the_history_does_not_say_is_told_from_the_configuration(self) -> None:
        env = step("/bin/sh -c #(nop) ENV A=1", empty=True)
        found = dockerfile(config(0, env, Env=["A=1", "B=2"]))
        assert [line.text for line in found.unrecorded] == ["ENV B=2"]

    def test_what_another_builder_wrote_may_set_anything(self) -> None:
        found = dockerfile(config(0, step("ENV A 1 2", empty=True), Env=["A=1 2"]))
        assert (told(found), found.unrecorded) == ([("ENV A 1 2", "", None)], ())

    def test_a_command_of_a_shell_is_told_as_it_was_written(self) -> None:
        command = step('/bin/sh -c #(nop) CMD serve "a b"', empty=True)
        found = dockerfile(config(0, command, Cmd=["/bin/sh", "-c", 'serve "a b"']))
        assert (told(found), found.unrecorded) == ([('CMD serve "a b"', "", None)], ())

    def test_ports_are_told_by_their_protocol(self) -> None:
        expose = step("/bin/sh -c #(nop)  EXPOSE 80 53/udp", empty=True)
        found = dockerfile(config(0, expose, ExposedPorts={"80/tcp": {}, "53/udp": {}}))
        assert (told(found), found.unrecorded) == ([("EXPOSE 80 53/udp", "", None)], ())


class TestStepsThatAreNoInstructions:
    def test_a_layer_of_another_tool_is_a_copy_of_unknown_files(self) -> None:
        found = dockerfile(config(1, step("bazel build ...")))
        assert told(found) == [("COPY", "bazel build ...", 1)]
        assert found.lines[0].copies_to == "/"

    def test_a_commit_without_a_layer_is_only_told(self) -> None:
        found = dockerfile(config(0, step("/bin/sh", empty=True, comment="commit msg")))
        assert told(found) == [("", "/bin/sh (commit msg)", None)]

    def test_an_import(self) -> None:
        found = dockerfile(config(1, step("", comment="Imported from -")))
        assert told(found) == [("COPY", "(Imported from -)", 1)]

    def test_what_the_classic_builder_ran_without_a_shell(self) -> None:
        found = dockerfile(config(2, step(COPIED), step("/usr/bin/make -C /src all")))
        guess = f"{RAN_OR_COMMITTED}; {WORDS_ARE_LOST}"
        assert told(found)[1] == ('RUN ["/usr/bin/make", "-C", "/src", "all"]', guess, 2)
        assert found.lines[1].copies_to is None

    @pytest.mark.parametrize(
        "entry",
        [
            step("/bin/bash"),
            step("/usr/bin/make", comment="commit msg"),
            step("nginx -g daemon"),
        ],
    )
    def test_a_commit_is_a_copy_of_unknown_files(self, entry: Mapping[str, object]) -> None:
        found = dockerfile(config(2, step(COPIED), entry))
        assert (found.lines[1].text, found.lines[1].copies_to) == ("COPY", "/")

    def test_of_another_builder_it_may_be_anything(self) -> None:
        assert told(dockerfile(config(1, step("/bin/x y")))) == [("COPY", "/bin/x y", 1)]

    def test_a_step_that_says_nothing(self) -> None:
        assert told(dockerfile(config(1, step("")))) == [("COPY", NOT_TOLD, 1)]


EVIL = "a\nRUN evil"


class TestLineBreaks:
    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"Env": [f"A={EVIL}"]}, 'ENV A="a RUN evil"'),
            ({"Labels": {"k": EVIL}}, 'LABEL k="a RUN evil"'),
            ({"User": EVIL}, "USER a RUN evil"),
            ({"WorkingDir": EVIL}, "WORKDIR a RUN evil"),
            ({"StopSignal": EVIL}, "STOPSIGNAL a RUN evil"),
            ({"OnBuild": [EVIL]}, "ONBUILD a RUN evil"),
            ({"ExposedPorts": {EVIL: {}}}, "EXPOSE a RUN evil"),
        ],
    )
    def test_a_value_never_begins_an_instruction(self, settings: dict[str, Any], told: str) -> None:
        (line,) = dockerfile(config(0, **settings)).unrecorded
        assert (line.text, line.guess) == ("", f"{LINE_BREAK}: {told}")

    def test_nor_does_a_step_of_the_history(self) -> None:
        steps = [f"/bin/sh -c #(nop) {word} {EVIL}" for word in ("USER", "COPY", "ENV A=")]
        found = dockerfile(config(1, *(step(text, empty="COPY" not in text) for text in steps)))
        assert [line for line in found.lines if "\n" in line.text] == []
        assert [line for line in found.lines if "\n" in (line.copies_to or "")] == []


class TestBuildArguments:
    def test_one_that_is_declared_is_not_repeated(self) -> None:
        found = dockerfile(
            config(
                1,
                step("/bin/sh -c #(nop)  ARG A=1", empty=True),
                step("|1 A=1 /bin/sh -c make"),
            )
        )
        assert told(found) == [("ARG A=1", "", None), ("RUN make", "", 1)]

    def test_a_value_that_the_build_gave_is_told_once(self) -> None:
        found = dockerfile(
            config(
                2,
                step("ARG A", empty=True),
                step("RUN |1 A=3 /bin/sh -c make # buildkit"),
                step("RUN |1 A=3 /bin/sh -c make more # buildkit"),
            )
        )
        assert told(found) == [
            ("ARG A=3", ARGUMENT_OF_BUILD, None),
            ("RUN make", "", 1),
            ("RUN make more", "", 2),
        ]

    def test_one_whose_declaration_is_lost_is_a_guess(self) -> None:
        found = dockerfile(config(1, step("|1 A=x y /bin/sh -c make")))
        assert told(found) == [('ARG A="x y"', ARGUMENT_IS_ELSEWHERE, None), ("RUN make", "", 1)]


def test_the_shell_that_a_step_sets_is_that_of_the_next() -> None:
    found = dockerfile(
        config(
            1,
            step("/bin/sh -c #(nop)  SHELL [/bin/bash -e -c]", empty=True),
            step("/bin/bash -e -c make"),
            Shell=["/bin/bash", "-e", "-c"],
        )
    )
    assert told(found) == [('SHELL ["/bin/bash", "-e", "-c"]', "", None), ("RUN make", "", 1)]


BASE = config(1, step("/bin/sh -c base"), step("ENV A=1", empty=True), Env=["A=1"])
CHILD = config(2, step("/bin/sh -c base"), step("ENV A=1", empty=True), step("/bin/sh -c own"))


def candidate(config: ImageConfig, name: str = "base:1") -> Candidate:
    return Candidate(name=name, digest=Digest.of(b"manifest"), config=config)


class TestBase:
    def test_it_is_unknown_if_nothing_tells_it(self) -> None:
        assert dockerfile(CHILD).base is None

    def test_an_image_with_the_lowest_layers_and_the_first_steps(self) -> None:
        found = dockerfile(CHILD, candidates=[candidate(BASE)])
        assert found.base == Base(
            name="base:1",
            digest=str(Digest.of(b"manifest")),
            found_by=FoundBy.STORE,
            layers=1,
            steps=2,
        )
        assert told(found) == [("RUN own", "", 2)]

    def test_of_several_the_one_with_most(self) -> None:
        middle = config(1, step("/bin/sh -c base"))
        both = [candidate(middle, "middle:1"), candidate(BASE), candidate(middle, "again:1")]
        found = dockerfile(CHILD, candidates=both).base
        assert found is not None
        assert found.name == "base:1"

    @pytest.mark.parametrize(
        "other",
        [
            CHILD,
            config(1, step("/bin/sh -c base"), step("CMD x", empty=True)),
            config(1, step("/bin/sh -c base"), first=7),
            config(0),
            config(3, step("/bin/sh -c base")),
        ],
        ids=["itself", "an earlier build", "another layer", "no layer", "more layers"],
    )
    def test_others_are_not(self, other: ImageConfig) -> None:
        assert dockerfile(CHILD, candidates=[candidate(other)]).base is None

    def test_an_annotation_tells_the_name_alone(self) -> None:
        noted = {
            "org.opencontainers.image.base.name": "docker.io/library/debian:12",
            "org.opencontainers.image.base.digest": "sha256:aa",
        }
        found = dockerfile(CHILD, noted)
        assert found.base == Base(
            name="docker.io/library/debian:12", digest="sha256:aa", found_by=FoundBy.ANNOTATION
        )
        assert len(found.lines) == 3
        named = dockerfile(CHILD, noted, [candidate(BASE)]).base
        assert named is not None
        assert (named.name, named.steps) == ("docker.io/library/debian:12", 2)

    def test_buildah_notes_it_beside_its_first_step(self) -> None:
        found = dockerfile(
            config(
                3,
                step("", comment="Imported from -"),
                step(COPIED, comment="FROM localhost/fmt/base:1"),
                step("/bin/sh -c true", comment="FROM 4493c4b066a6"),
            )
        )
        assert found.base == Base(
            name="localhost/fmt/base:1",
            digest=None,
            found_by=FoundBy.HISTORY,
            layers=1,
            steps=1,
        )
        assert told(found) == [("COPY", "", 2), ("RUN true", "", 3)]

    def test_of_one_layer_for_many_steps_the_steps_of_the_base_are_not_known(self) -> None:
        found = dockerfile(
            config(
                2,
                step("/bin/sh -c base"),
                step("/bin/sh -c own", empty=True),
                step("/bin/sh -c #(nop) USER app", comment="FROM debian:12"),
            )
        )
        assert found.base == Base(name="debian:12", digest=None, found_by=FoundBy.HISTORY)
        assert told(found)[1:] == [
            ("RUN own", "", None),
            ("USER app", "", 2),
            ("", "layer 2 holds what the steps above made", 2),
        ]

    def test_a_note_in_the_history_of_the_base_is_not_ours(self) -> None:
        found = dockerfile(
            config(2, step("/bin/sh -c a", comment="FROM debian:12"), step("/bin/sh -c b"))
        )
        assert found.base is None

    def test_an_annotation_and_a_note_of_one_base_go_together(self) -> None:
        noted = {
            "org.opencontainers.image.base.name": "debian:12",
            "org.opencontainers.image.base.digest": "sha256:aa",
        }
        history = [
            step("/bin/sh -c a"),
            step("/bin/sh -c b", comment="FROM debian:12"),
            step("/bin/sh -c c", comment="FROM 0123456789ab"),
        ]
        found = dockerfile(config(3, *history), noted)
        assert found.base == Base(
            name="debian:12",
            digest="sha256:aa",
            found_by=FoundBy.ANNOTATION,
            layers=1,
            steps=1,
        )


@pytest.mark.parametrize(
    "text",
    [
        "/bin/sh -c " + 'a  "' * 150_000,
        "/bin/sh -c #(nop) ENV " + 'A="' * 150_000,
        "/bin/sh -c #(nop) VOLUME [" + "/a " * 150_000 + "]",
        "/bin/sh -c #(nop) COPY " + "--a " * 150_000,
        "/bin/sh -c #(nop) HEALTHCHECK &{[" + '] "" ' * 150_000,
        "|9999 " + "A=b " * 150_000,
        "/bin/sh -c #(nop) CMD [" + '"a" ' * 150_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_hostile_step_takes_no_square(text: str) -> None:
    began = time.process_time()
    assert dockerfile(config(1, step(text))).lines
    assert time.process_time() - began < 3


def test_ten_thousand_steps_take_no_square() -> None:
    ten = range(10_000)
    steps = [step(f"|1 A{n // 2}={n} /bin/sh -c #(nop) ENV A{n}={n}", empty=True) for n in ten]
    began = time.process_time()
    found = dockerfile(config(0, *steps, Env=[f"A{n}=x" for n in ten]))
    assert len(found.unrecorded) == 10_000
    assert time.process_time() - began < 5


TEXTS = st.one_of(
    st.text(max_size=40),
    st.from_regex(
        r"(RUN |/bin/sh -c (#\(nop\)  )?|\|[0-9] )?(ENV|CMD|COPY|VOLUME|HEALTHCHECK|SHELL|LABEL)?"
        r"[ \[&{\"'=\\a-z\n\t<|]{0,30}( # buildkit)?",
        fullmatch=True,
    ),
)


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=6), st.integers(0, 6))
def test_any_history_makes_lines_that_have_a_text_or_a_guess(
    steps: list[tuple[str, bool]], layers: int
) -> None:
    history = [step(text, empty=empty) for text, empty in steps]
    found = dockerfile(config(layers, *history))
    assert all(line.text or line.guess for line in found.lines)
    assert len(found.lines) >= len(steps)
