from osm_probes.foundation.text import legible


def test_what_is_no_text_is_written_out() -> None:
    assert legible(b"a\xff\xc3\xa9.yaml".decode(errors="surrogateescape")) == "a\\udcff\xe9.yaml"
