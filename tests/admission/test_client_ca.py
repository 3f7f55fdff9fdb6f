import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.admission.client_ca import ClientCaError, follow_client_ca, load_client_ca
from osm_probes.foundation.tasks import start
from osm_probes.pki.authority import Authority
from tests.log_capture import capture_logs

FIRST, SECOND = Authority.create("first"), Authority.create("second")


def test_a_file_may_have_several_ca_certificates(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(FIRST.root_pem + SECOND.root_pem)
    assert load_client_ca(file) == FIRST.root_pem + SECOND.root_pem


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"text",
        b"\xff",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        FIRST.root_pem[:-100],
        FIRST.issue("x", validity=timedelta(hours=1)).key_pem,
    ],
)
def test_a_file_without_a_ca_certificate_is_an_error_that_names_the_flag_and_the_file(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ClientCaError, match=f"--client-ca {file}: "):
        load_client_ca(file)


async def test_a_changed_file_is_used_and_an_invalid_one_is_logged_once(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(b"broken")

    async def next_change() -> bytes:
        return await anext(aiter(follow_client_ca(file, last=FIRST.root_pem, every=0.001)))

    change = start(next_change(), name="change")
    with capture_logs() as lines:
        await asyncio.sleep(0.05)
        file.write_bytes(FIRST.root_pem)
        await asyncio.sleep(0.05)
        assert not change.done()
        file.write_bytes(SECOND.root_pem)
        async with asyncio.timeout(5):
            assert await change == SECOND.root_pem
    assert [line["event"] for line in lines] == [
        "the clients' CA cannot be read again",
        "the clients' CA can be read again",
    ]
