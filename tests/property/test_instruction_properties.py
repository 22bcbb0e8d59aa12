"""Instructions of `container commit --change`: any text is applied or refused, values survive."""

import json
import shlex

from hypothesis import given
from hypothesis import strategies as st

from ocitool.editing.instructions import apply_instructions, parse_instruction
from ocitool.errors import UsageError

KEYWORDS = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
    "run",
    "From",
]
TEXTS = st.text(st.sampled_from("aZ09 =\"'\\$${}:-+/[],\t\n.é"), max_size=30)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(st.sampled_from(KEYWORDS), TEXTS)
def test_any_text_is_applied_or_refused_and_makes_plain_json(keyword: str, text: str) -> None:
    fields: dict[str, object] = {"config": {"Env": ["PATH=/bin", "a=b"]}}
    try:
        apply_instructions(fields, [parse_instruction(f"{keyword} {text}")])
    except UsageError:
        return
    assert json.loads(json.dumps(fields)) == fields


@given(VALUES, VALUES)
def test_a_quoted_value_is_taken_as_it_is(first: str, second: str) -> None:
    fields: dict[str, object] = {}
    line = f"ENV A={shlex.quote(first)} B={shlex.quote(second)}"
    apply_instructions(fields, [parse_instruction(line)])
    assert fields["config"] == {"Env": [f"A={first}", f"B={second}"]}


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_json_command_is_taken_word_by_word(words: list[str]) -> None:
    fields: dict[str, object] = {}
    apply_instructions(fields, [parse_instruction(f"CMD {json.dumps(words)}")])
    assert fields["config"] == {"Cmd": words}
