"""Files with bytes set, inserted, deleted, cut or doubled: 100 of a kind, or 1,000 each night.

`pytest --hypothesis-profile=nightly` tries other ones each time, and ten times as many.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MAX_SECONDS = 10  # of one of them; without such an end, a test would hang
FUZZ = settings(
    deadline=MAX_SECONDS * 1000, database=None,
    # The same ones on each machine, unless there are many.
    derandomize=settings.default is None or settings.default.max_examples <= 100,
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
