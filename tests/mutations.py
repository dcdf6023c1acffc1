"""Files with bytes set, inserted, deleted, cut or doubled: 100 of a kind, in CI weekly 1,000.

`MUTATIONS=1000` tries so many, and other ones each time.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MAX_SECONDS = 10  # of one of them; without such an end, a test would hang
USUAL = 100
MUTATIONS = int(os.environ.get("MUTATIONS", USUAL))
WEEKLY = MUTATIONS > USUAL  # then also what takes long and has a shorter test beside it
FUZZ = settings(
    max_examples=MUTATIONS, deadline=MAX_SECONDS * 1000, database=None,
    derandomize=not WEEKLY,  # then the same ones on each machine
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    """Set, insert, delete, cut or double bytes of one of the files, once or more."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers and directories are near the ends, and are changed most.
        near = draw(st.sampled_from([64, 600, len(content)]))
        start = draw(st.integers(0, min(near, max(len(content) - 1, 0))))
        start = len(content) - start if draw(st.booleans()) else start
        match draw(st.sampled_from(["set", "set", "set", "insert", "delete", "cut", "double"])):
            case "set":
                content[start : start + 1] = draw(st.binary(min_size=1, max_size=8))
            case "insert":
                content[start:start] = draw(st.binary(max_size=40))
            case "delete":
                del content[start : start + draw(st.integers(1, 40))]
            case "cut":
                del content[start:]
            case "double":
                content += content[start:]
    return bytes(content)
