"""What tests of the commands stand on."""

from tests.kubernetes.conftest import api_server, own_api_server

__all__ = ["api_server", "own_api_server"]
