"""Kubeconfigs: a client or one UnusableKubeconfigError."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

from osm_probes.kube.connect import connect
from osm_probes.kube.errors import UnusableKubeconfigError
from tests.fuzz.mutations import near_bytes, near_json
from tests.fuzz.target import Check, FuzzTarget

_VALID = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "a",
    "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1", "insecure-skip-tls-verify": True}}],
    "users": [{"name": "a", "user": {"token": "x"}}],
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "b"}}],
}


@contextlib.contextmanager
def _opened() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"

        def check(content: bytes) -> None:
            file.write_bytes(content)
            try:
                connect(str(file))
            except UnusableKubeconfigError as error:
                assert str(error).isprintable(), "an error is one line"
                assert len(str(error)) < 900, "an error is short"

        yield check


_inputs = near_json([_VALID]).map(lambda value: json.dumps(value).encode()) | near_bytes([json.dumps(_VALID).encode()])
TARGETS = (FuzzTarget("kubeconfig", st.binary(max_size=100) | _inputs, _opened),)
