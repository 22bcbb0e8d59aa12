"""One step of a history as a line of a Dockerfile: what builders note, and what the user wrote."""

import pytest

from ocitool.image.instructions import Builder, read_step
from ocitool.inside import recorded
from ocitool.inside.recorded import Wording, go_list, wording
from ocitool.inside.settings import settings
from ocitool.oci import HistoryEntry
from ocitool.oci.runtime import RuntimeConfig

HEX = "c50ecf0f8081044924e199cfe6cfd18d0c9dd4d16be07790bb24f7088112b98e"
NOP = "/bin/sh -c #(nop) "
WITNESS = RuntimeConfig(
    env=("A=1", "B=$HOME", "NAME=John Doe", "TWO=a b", "MORE=c d"),
    labels={"maintainer": "A B <a@b>"},
    volumes=("/one two", "/data"),
    shell=("/bin/bash", "-o", "pipefail", "-c"),
)


def told(created_by: str, *, comment: str = "", config: RuntimeConfig = WITNESS) -> Wording:
    step = read_step(HistoryEntry(created_by=created_by, comment=comment))
    return wording(step, settings(config))


@pytest.mark.parametrize(
    ("created_by", "line"),
    [
        (f"{NOP} CMD [\"sh\"]", 'CMD ["sh"]'),
        (f"{NOP} CMD [\"nginx\" \"-g\" \"daemon off;\"]", 'CMD ["nginx", "-g", "daemon off;"]'),
        ('CMD ["sh" "-c" "echo \\"hi\\""]  # buildkit', 'CMD ["sh", "-c", "echo \\"hi\\""]'),
        (f"{NOP} ENTRYPOINT []", "ENTRYPOINT []"),
        (f'{NOP} CMD serve "a b"', 'CMD serve "a b"'),
        (f'{NOP} VOLUME ["/x", "/y z"]', 'VOLUME ["/x", "/y z"]'),
        (f"{NOP} ENV A=1", "ENV A=1"),
        (f"{NOP} ENV EMPTY=", 'ENV EMPTY=""'),
        (f"{NOP} ENV A=1 B=$HOME", 'ENV A=1 B="\\$HOME"'),
        (f"{NOP} ENV NAME=John Doe", 'ENV NAME="John Doe"'),
        (f"{NOP} ENV TWO=a b MORE=c d", 'ENV TWO="a b" MORE="c d"'),
        # Buildah keeps the line as it was.
        (f'{NOP} ENV NAME="John Doe" B=$B TWO=$A', 'ENV NAME="John Doe" B="\\$HOME" TWO="a b"'),
        (f"{NOP} ENV NAME='John Doe' MORE=c\\ d", 'ENV NAME="John Doe" MORE="c d"'),
        (f"{NOP} LABEL maintainer=A B <a@b>", 'LABEL maintainer="A B <a@b>"'),
        (f"{NOP} EXPOSE 80/tcp", "EXPOSE 80/tcp"),
        (f"{NOP} EXPOSE map[80/tcp:{{}}]", "EXPOSE 80/tcp"),
        ("EXPOSE [443/tcp] # buildkit", "EXPOSE 443/tcp"),
        (f"{NOP} VOLUME [/data]", "VOLUME /data"),
        (f"{NOP} VOLUME [/one two]", 'VOLUME ["/one two"]'),
        (f"{NOP} VOLUME [/data /one two]", 'VOLUME ["/data", "/one two"]'),
        (f"{NOP} EXPOSE 80 53/udp", "EXPOSE 80 53/udp"),
        (f"{NOP} WORKDIR /srv", "WORKDIR /srv"),
        (f"{NOP} USER app", "USER app"),
        (f"{NOP} STOPSIGNAL SIGQUIT", "STOPSIGNAL SIGQUIT"),
        (f"{NOP} ONBUILD RUN make", "ONBUILD RUN make"),
        (f"{NOP} SHELL [/bin/bash -o pipefail -c]", 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]'),
        ("ARG VERSION=1 # buildkit", "ARG VERSION=1"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c make # buildkit", "RUN make"),
        ("ADD https://a.example/x /x # buildkit", "ADD https://a.example/x /x"),
        # Others keep the line as it was.
        ("COPY --from=build /out /app", "COPY --from=build /out /app"),
        ("RUN mkdir -p /root", "RUN mkdir -p /root"),
        ('CMD ["a", "b"]', 'CMD ["a", "b"]'),
    ],
)  # fmt: skip
def test_what_is_recorded_whole_is_no_guess(created_by: str, line: str) -> None:
    assert told(created_by) == Wording(
        text=line, sets=told(created_by).sets, sets_any=told(created_by).sets_any
    )


@pytest.mark.parametrize(
    ("created_by", "line", "guess"),
    [
        ("RUN make install # buildkit", 'RUN ["make", "install"]', recorded.WORDS_ARE_LOST),
        ("RUN /dev/pipes/EOF # buildkit", "RUN <<EOF", recorded.SCRIPT_IS_LOST),
        ("COPY . /app # buildkit", "COPY . /app", recorded.STAGE_IS_LOST),
        (f"{NOP} CMD [/bin/sh -c x y]", "CMD [/bin/sh -c x y]", recorded.WORDS_ARE_LOST),
        (f"{NOP} ENV LATER=set again", 'ENV LATER="set again"', recorded.QUOTES_ARE_LOST),
        (f'{NOP} ENV LATER="set"', 'ENV LATER="\\"set\\""', recorded.QUOTES_ARE_LOST),
        (f"{NOP} ENV LATER=$A", 'ENV LATER="\\$A"', recorded.QUOTES_ARE_LOST),
        (f"{NOP} VOLUME [/a /b]", 'VOLUME ["/a", "/b"]', recorded.WORDS_ARE_LOST),
        (f"{NOP} SHELL [/bin/ash -c]", 'SHELL ["/bin/ash", "-c"]', recorded.WORDS_ARE_LOST),
        ("|2 A=1 /bin/sh -c make", "RUN make", recorded.ARGUMENTS_ARE_LOST),
        ("|2 A=some thing B=1 /bin/ls -l", 'RUN ["/bin/ls", "-l"]', recorded.ARGUMENTS_ARE_LOST),
        (f"{NOP} HEALTHCHECK &{{what}}", "HEALTHCHECK &{what}", recorded.WORDS_ARE_LOST),
    ],
)
def test_what_is_lost_makes_the_line_a_guess(created_by: str, line: str, guess: str) -> None:
    found = told(created_by)
    assert (found.text, found.guess) == (line, guess)


@pytest.mark.parametrize(
    ("created_by", "start", "destination"),
    [
        (f"{NOP} ADD file:{HEX} in / ", "ADD", "/"),
        (f"{NOP}COPY --chown=1:2 dir:{HEX} in /srv/a b ", "COPY --chown=1:2", "/srv/a b"),
        (f"{NOP}COPY --chown=app:appdir:{HEX} in /srv ", "COPY --chown=app:app", "/srv"),
        (f"{NOP}COPY multi:{HEX} in ./ ", "COPY", "./"),
        (f"{NOP} ADD {HEX} in /from/a/url ", "ADD", "/from/a/url"),
        (f"{NOP} ADD tarsum.v1+sha256:{HEX} in /x", "ADD", "/x"),
        ("COPY --chmod=755 <<EOF /etc/motd # buildkit", "COPY --chmod=755", "/etc/motd"),
    ],
)
def test_sources_are_never_made_up(created_by: str, start: str, destination: str) -> None:
    assert told(created_by) == Wording(text=start, copies_to=destination)


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        (
            """&{["CMD-SHELL" "curl -f http://localhost/ || exit 1"] "30s" "3s" "0s" '\\x03'}""",
            "--interval=30s --timeout=3s --retries=3 CMD curl -f http://localhost/ || exit 1",
        ),
        (
            """&{["CMD" "/probe" "-q"] "1m30s" "0s" "500ms" "0s" '\\n'}""",
            '--interval=1m30s --start-period=500ms --retries=10 CMD ["/probe", "-q"]',
        ),
        ("""&{["NONE"] "0s" "0s" "0s" '\\x00'}""", "NONE"),
        ("""&{["CMD-SHELL" "x"] "0s" "0s" '\\x00'}""", "CMD x"),
        ("--interval=5s CMD x", "--interval=5s CMD x"),
    ],
)
def test_a_health_check_is_read_from_the_notation_of_go(recorded: str, words: str) -> None:
    found = told(f"{NOP} HEALTHCHECK {recorded}")
    assert (found.text, found.guess) == (f"HEALTHCHECK {words}", "")
    assert found.sets == {"healthcheck": words}


class TestRun:
    def test_lines_are_broken_where_the_dockerfile_broke_them(self) -> None:
        found = told("/bin/sh -c set -eux; \tapt-get update;     apt-get install  -y x && true")
        assert found.text == (
            "RUN set -eux; \\\n    apt-get update; \\\n    apt-get install \\\n    -y x && true"
        )

    def test_spaces_within_quotes_stay(self) -> None:
        command = r"""echo "a   b" 'c   \' d\"e "x \"   y" """.strip()
        assert told(f"/bin/sh -c {command}").text == f"RUN {command}"

    def test_line_breaks_that_are_recorded_stay(self) -> None:
        assert told("/bin/sh -c one \\\n && two").text == "RUN one \\\n && two"

    def test_several_lines_are_a_here_document(self) -> None:
        found = told("RUN /bin/sh -c apt-get update\napt-get install x\n # buildkit")
        assert found == Wording(text="RUN <<EOF\napt-get update\napt-get install x\nEOF")

    def test_a_line_that_ends_it_gets_another_end(self) -> None:
        assert told("RUN /bin/sh -c a\nEOF\nb # buildkit").text == "RUN <<EOF_\na\nEOF\nb\nEOF_"

    def test_a_here_document_within_a_command_is_kept(self) -> None:
        command = "cat <<END > /x && echo\n  text\nEND"
        assert told(f"RUN /bin/sh -c {command} # buildkit").text == f"RUN {command}"

    def test_windows_has_a_shell_of_its_own(self) -> None:
        assert told("cmd /S /C dir").text == "RUN dir"
        assert told("cmd /S /C #(nop)  ENV A=1").text == "ENV A=1"


@pytest.mark.parametrize(
    ("text", "arguments", "words", "whole"),
    [
        ("|1 VERSION=3 /bin/sh -c make", ("VERSION=3",), "make", True),
        ("|2 A=1 B=two words /bin/sh -c make", ("A=1", "B=two words"), "make", True),
        ("RUN |1 A= /bin/sh -c make # buildkit", ("A=",), "make", True),
        ("|2 A=b c=d E=f /bin/sh -c make", ("A=b", "c=d", "E=f"), "make", False),
        ("/bin/sh -c echo '|1 A=b'", (), "echo '|1 A=b'", True),
    ],
)
def test_build_arguments_are_split_from_the_command(
    text: str, arguments: tuple[str, ...], words: str, whole: bool
) -> None:
    step = read_step(HistoryEntry(created_by=text))
    assert (step.arguments, step.words, step.has_shell) == (arguments, words, True)
    assert step.has_all_arguments is whole


def test_a_step_knows_the_shell_that_was_set_before_it() -> None:
    bash = ("/bin/bash", "-o", "pipefail", "-c")
    entry = HistoryEntry(created_by="RUN |1 A=b /bin/bash -o pipefail -c make # buildkit")
    step = read_step(entry, bash)
    assert (step.words, step.arguments, step.has_shell) == ("make", ("A=b",), True)
    assert (
        read_step(HistoryEntry(created_by="/bin/bash -o pipefail -c #(nop) USER a"), bash).words
        == "a"
    )


def test_the_comment_tells_buildkit_too() -> None:
    entry = HistoryEntry(created_by='CMD ["a" "b"]', comment="buildkit.dockerfile.v0")
    assert read_step(entry).builder is Builder.BUILDKIT


@pytest.mark.parametrize("text", ["bash", "bazel build ...", "/bin/sh", "", "jib-core:null"])
def test_what_is_no_instruction_has_no_keyword(text: str) -> None:
    step = read_step(HistoryEntry(created_by=text))
    assert (step.keyword, step.words) == ("", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a" "b c"]', ["a", "b c"]),
        ('["a", "b"]', ["a", "b"]),
        ('["tab\\t" "\\u00e9"]', ["tab\t", "é"]),
        ("[]", []),
        ("[a b]", None),
        ('["\\x07"]', None),
        ('["open]', None),
        ("", None),
    ],
)
def test_lists_of_go_and_of_json(text: str, words: list[str] | None) -> None:
    assert go_list(text) == words
