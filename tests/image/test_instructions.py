"""Build steps in the words of a Dockerfile."""

import pytest

from ocitool.image.instructions import instruction


@pytest.mark.parametrize(
    ("created_by", "words"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', 'CMD ["sh"]'),
        ("/bin/sh -c #(nop) ADD file:abc in / ", "ADD file:abc in /"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("|1 VERSION=3 /bin/sh -c make", "RUN make"),
        ("|2 A=1 B=two words /bin/sh -c make", "RUN make"),
        ("RUN /bin/sh -c make # buildkit", "RUN make"),
        ("RUN |1 VERSION=3 /bin/sh -c make # buildkit", "RUN make"),
        ("COPY file /app # buildkit", "COPY file /app"),
        ("RUN /bin/bash -c make # buildkit", "RUN /bin/bash -c make"),
        ("ENV A=1", "ENV A=1"),
        ("/bin/sh -c make # not buildkit", "RUN make # not buildkit"),
        ("bazel build ...", "bazel build ..."),
        ("", ""),
        ("  ", ""),
        ("/bin/sh -c one \\\n && two", "RUN one \\\n && two"),
        ("/bin/sh", "/bin/sh"),
    ],
)
def test_a_step_is_told_in_the_words_of_a_dockerfile(created_by: str, words: str) -> None:
    assert instruction(created_by) == words
