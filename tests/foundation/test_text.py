from osm_probes.foundation.text import legible, one_line, printable


def test_bytes_that_are_not_unicode_are_escaped() -> None:
    assert legible(b"a\xff\xc3\xa9.yaml".decode(errors="surrogateescape")) == "a\\udcff\xe9.yaml"


def test_one_line_has_no_control_characters() -> None:
    assert one_line("a\x1b[31mb\r\nc\td\u202ee └ ü") == "a [31mb  c d e └ ü"


def test_printable_text_keeps_its_lines_and_has_no_control_characters() -> None:
    assert printable("a\x1b[31mb\r\nc\td") == "a [31mb \nc d"
