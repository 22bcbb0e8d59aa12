"""How many examples Hypothesis tries: a part with the other tests, all of them when asked."""

import os


def part_of(count: int) -> int:
    """Return `count` where OCITOOL_EXAMPLES is `all`, else two fifths of it."""
    return count if os.environ.get("OCITOOL_EXAMPLES") == "all" else max(8, count * 2 // 5)
