from osm_probes.foundation.text import legible, one_line


def test_what_is_no_text_is_written_out() -> None:
    assert legible(b"a\xff\xc3\xa9.yaml".decode(errors="surrogateescape")) == "a\\udcff\xe9.yaml"


def test_a_line_of_others_steers_no_terminal() -> None:
    assert one_line("a\x1b[31mb\r\nc\td\u202ee └ ü") == "a [31mb  c d e └ ü"
