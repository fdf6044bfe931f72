"""Every message is one printable line of bounded length."""

from __future__ import annotations

import errno
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.errors import LINE_LENGTH, InputError, one_line, refusal

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=3000)


@settings(deadline=None)
@given(ANY_TEXT)
def test_any_text_becomes_one_printable_line_of_bounded_length(text: str) -> None:
    line = one_line(text)
    assert line.isprintable() and len(line) <= LINE_LENGTH
    line.encode("utf-8")  # half a surrogate pair could not be printed


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_line_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert one_line(line) == line


@settings(deadline=None)
@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=LINE_LENGTH))
def test_words_in_any_script_are_kept(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two lines"), ("a  b", "a  b"), ("\x1b[31mred", "\\x1b[31mred"), ("a\u202eb", "a\\u202eb"),
        ("\udcff.ply", "\\udcff.ply"), ("no\u2028break", "no\\u2028break"), ("[red]a[/]", "[red]a[/]"),
    ],
)  # fmt: skip
def test_what_does_not_print_is_escaped_and_the_rest_is_not(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_long_message_keeps_the_file_and_the_advice() -> None:
    message = str(InputError(f"head.safetensors: was made by {'x' * 10**6}; pass that model with --model"))
    assert len(message) <= LINE_LENGTH
    assert message.startswith("head.safetensors: was made by xxx") and message.endswith("pass that model with --model")


def test_an_input_error_travels_between_processes() -> None:
    assert str(pickle.loads(pickle.dumps(InputError("a.ply: is empty; copy it again")))) == (
        "a.ply: is empty; copy it again"
    )


def test_what_this_machine_refuses_is_told_with_a_remedy_and_a_fault_of_ours_is_not() -> None:
    assert "free some space" in str(refusal(OSError(errno.ENOSPC, "No space left on device", "a.ply")))
    assert "a.ply" in str(refusal(OSError(errno.EACCES, "Permission denied", "a.ply")))
    assert "memory" in str(refusal(MemoryError()))
    assert refusal(KeyError("x")) is None
