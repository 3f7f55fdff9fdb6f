"""What tests need of the machine: without it they are skipped in one line, but in CI they fail."""

import os
import resource
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from demo.namespaces import why_no_namespaces
from tests.e2e.available import why_no_cluster
from tools.envoy_binary import NoEnvoyError, envoy_binary
from tools.go_programs import NoProgramError
from tools.helm3 import helm3
from tools.kubernetes_binaries import kubernetes_binaries

# Tests with thousands of connections need more descriptors than the 1,024 that a shell has.
_, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_HARD, _HARD))

# A slow machine is no counterexample; a test's own timeout bounds it. CI asks the same questions each time: what a new
# draw would find there is found by the next person who runs the tests, and not by somebody else's change.
settings.register_profile("ours", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("ours")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what a test will need: it takes minutes, and no test's time limit counts them here."""
    if not session.config.option.collectonly:
        for marker, why_not in {"kubernetes": no_kubernetes, "helm3": no_helm3, "e2e": no_cluster}.items():
            if any(item.get_closest_marker(marker) for item in session.items):
                why_not()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a test out here, and pytest tells one line for all that lack the same."""
    reason = no_namespaces() if item.get_closest_marker("netns") else ""
    if not reason and item.get_closest_marker("envoy"):
        reason = no_envoy()
    if not reason and item.get_closest_marker("kubernetes"):
        reason = no_kubernetes()
    if not reason and item.get_closest_marker("helm3"):
        reason = no_helm3()
    if not reason and item.get_closest_marker("e2e"):
        reason = no_cluster()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def envoy() -> Path:
    """A real Envoy's path, for tests marked envoy."""
    return envoy_binary()


@cache
def no_envoy() -> str:
    """Why there is no Envoy; empty if there is."""
    try:
        envoy_binary()
    except NoEnvoyError as error:
        return str(error)
    return ""


@cache
def no_kubernetes() -> str:
    """Why there is no API server; empty if there is."""
    try:
        kubernetes_binaries()
    except NoProgramError as error:
        return str(error)
    return ""


@cache
def no_helm3() -> str:
    """Why there is no Helm 3; empty if there is."""
    try:
        helm3()
    except NoProgramError as error:
        return str(error)
    return ""


@cache
def no_cluster() -> str:
    """Why there is no one-node cluster; empty if there is."""
    return why_no_cluster()


@cache
def no_namespaces() -> str:
    """Why this process cannot make a network namespace with iptables; empty if it can."""
    reason = why_no_namespaces()
    return f"tests in network namespaces need root, iproute2, iptables and curl: {reason}" if reason else ""
