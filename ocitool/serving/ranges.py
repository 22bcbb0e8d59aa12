"""The Range header (RFC 9110, section 14)."""

import re

from ocitool.serving.messages import Refusal

_ONE = re.compile(r"bytes=\s*(\d{0,20})-(\d{0,20})\s*").fullmatch


def asked_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the number of bytes that are asked for; None for all of them.

    An end beyond the blob is cut. What lies outside is refused, as is an end before the start,
    which the conformance program demands. Other units and several ranges count as none.
    """
    found = _ONE(text) if text is not None else None
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        start = size - length
    else:
        start = int(found[1])
        end = min(int(found[2]), size - 1) if found[2] else size - 1
        length = end - start + 1 if start < size else 0
    if length <= 0:
        raise Refusal(
            416,
            "RANGE_INVALID",
            f"the blob has {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, length
