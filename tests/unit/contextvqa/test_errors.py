"""What is said of an error is one line, whatever the error says."""

from contextvqa.errors import one_line


def test_a_message_of_many_lines_is_one_line() -> None:
    assert one_line("no\n  such\tfile\r\n") == "no such file"


def test_an_error_without_a_text_is_called_by_its_type() -> None:
    assert one_line(ValueError()) == "ValueError"


def test_a_terminal_shows_what_a_message_holds_and_does_not_obey_it() -> None:
    assert one_line("clear \x1b[2J\x07 问 é") == "clear \\x1b[2J\\x07 问 é"
