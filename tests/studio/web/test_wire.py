"""What goes over a page's WebSocket."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imhead.studio.web.wire import Outbox, packed, unpacked

ARRAYS = st.one_of(
    hnp.arrays(np.float32, st.integers(0, 9), elements=st.floats(-9, 9, width=32)),
    hnp.arrays(np.uint8, st.integers(0, 9)),
    hnp.arrays(np.uint32, st.integers(0, 9)),
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), ARRAYS, max_size=4), st.text())
def test_a_message_comes_back_as_it_was(arrays: dict[str, np.ndarray], text: str) -> None:
    message, found = unpacked(packed({"kind": text}, arrays))
    assert message == {"kind": text} and list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_an_array_that_a_page_cannot_read_is_not_sent() -> None:
    with pytest.raises(ValueError, match="places"):
        packed({}, {"places": np.zeros(3)})


def test_a_newer_frame_replaces_one_that_was_not_sent_and_nothing_else() -> None:
    async def taken() -> list[str | bytes]:
        outbox = Outbox(asyncio.get_running_loop())
        for content, kind in (("one", "frame"), ("news", ""), ("two", "frame"), ("more", "")):
            outbox.put(content, kind)
        return [await outbox.take() for _ in range(3)]

    assert asyncio.run(taken()) == ["news", "two", "more"]
