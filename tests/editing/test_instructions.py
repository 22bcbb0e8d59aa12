"""Instructions of a Dockerfile on a configuration: what `docker commit --change` makes of them.

The expected values were read from docker 20.10, except for WORKDIR, which docker leaves unclean.
"""

from typing import Any

import pytest

from ocitool.editing.instructions import apply_instructions, parse_instruction
from ocitool.errors import UsageError

BEFORE = {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin", "RUN=1"], "Labels": {"a": "b"}}


def applied(*lines: str) -> dict[str, Any]:
    """Return what the lines make of the image's settings."""
    fields: dict[str, object] = {"config": BEFORE}
    apply_instructions(fields, [parse_instruction(line) for line in lines])
    runtime = fields["config"]
    assert isinstance(runtime, dict)
    return {key: value for key, value in runtime.items() if value != BEFORE.get(key)}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['CMD a "b c" $PATH'], {"Cmd": ["/bin/sh", "-c", 'a "b c" $PATH']}),
        (['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        (['ENTRYPOINT ["/x"]'], {"Entrypoint": ["/x"]}),
        (["CMD x", 'entrypoint ["/e"]'], {"Cmd": ["/bin/sh", "-c", "x"], "Entrypoint": ["/e"]}),
        (
            ["ENV A=1 B=\"2 $PATH\" C='$PATH' D=${RUN}x"],
            {"Env": ["PATH=/bin", "RUN=1", "A=1", "B=2 /bin", "C=$PATH", "D=1x"]},
        ),
        (["ENV OLD form of  it $RUN"], {"Env": ["PATH=/bin", "RUN=1", "OLD=form of  it 1"]}),
        (
            ['ENV e=a\\ b q="a\\"b" n="a\\nb"'],
            {"Env": ["PATH=/bin", "RUN=1", "e=a b", 'q=a"b', "n=a\\nb"]},
        ),
        (["ENV PATH=$PATH:/x"], {"Env": ["PATH=/bin:/x", "RUN=1"]}),
        (["ENV A=$ B=a$ C=${X:-d}"], {"Env": ["PATH=/bin", "RUN=1", "A=$", "B=a$", "C=d"]}),
        (['LABEL a=c "k v"=w'], {"Labels": {"a": "c", "k v": "w"}}),
        (["LABEL only this is it"], {"Labels": {"a": "b", "only": "this is it"}}),
        (
            ["EXPOSE 80 $RUN/udp 5-6"],
            {"ExposedPorts": {"80/tcp": {}, "1/udp": {}, "5/tcp": {}, "6/tcp": {}}},
        ),
        (["VOLUME /v /w", 'VOLUME ["/j k"]'], {"Volumes": {"/v": {}, "/w": {}, "/j k": {}}}),
        (["WORKDIR rel", "WORKDIR in/../side"], {"WorkingDir": "/rel/side"}),
        (["USER $RUN:5", "STOPSIGNAL SIGUSR1"], {"User": "1:5", "StopSignal": "SIGUSR1"}),
        (["ONBUILD RUN x $RUN"], {"OnBuild": ["RUN x $RUN"]}),
    ],
)
def test_a_line_sets_what_docker_sets(lines: list[str], expected: dict[str, Any]) -> None:
    assert applied(*lines) == expected


def test_an_entry_point_alone_clears_the_command() -> None:
    fields: dict[str, object] = {"config": BEFORE}
    apply_instructions(fields, [parse_instruction('ENTRYPOINT ["/x"]')])
    assert "Cmd" not in fields["config"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("RUN make", "not an instruction that changes"),
        ("CMD", "needs a value"),
        ("ENV A", "has no value"),
        ("ENV A=1 B", "has no value"),
        ("ENV A='x", "quote that is not closed"),
        ("EXPOSE http", "is not a port"),
        ("EXPOSE 90-80", "is not a port"),
        ("EXPOSE 99999", "is not a port"),
        ("USER a b", "takes one word"),
    ],
)
def test_what_makes_no_sense_is_told(line: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        applied(line)
