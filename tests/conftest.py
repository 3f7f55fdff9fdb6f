"""Requirements of tests on the machine: a test without them is skipped with one line; in CI it fails."""

import os
import resource
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from demo.namespaces import network_namespace_problem
from tests.e2e.available import cluster_problem
from tools.envoy_binary import NoEnvoyError, envoy_binary
from tools.go_programs import NoProgramError
from tools.helm3 import helm3
from tools.kubernetes_binaries import kubernetes_binaries

# Tests with thousands of connections need more file descriptors than a shell's default of 1,024.
_, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_HARD, _HARD))

# No deadline: each test has its own timeout, and a slow machine is not a counterexample. In CI each run has the same
# examples, so that a change does not fail because of an example that was drawn for the first time.
settings.register_profile("ours", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("ours")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs that the collected tests need now, because it takes minutes and tests have a time limit."""
    if not session.config.option.collectonly:
        for marker, why_not in {"kubernetes": no_kubernetes, "helm3": no_helm3, "e2e": no_cluster}.items():
            if any(item.get_closest_marker(marker) for item in session.items):
                why_not()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose requirements are missing; pytest prints one line for all tests with the same reason."""
    reason = no_namespaces() if item.get_closest_marker("netns") else ""
    if not reason and item.get_closest_marker("ipv6"):
        reason = no_ipv6_rules()
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
    """The path of a real Envoy, for tests marked envoy."""
    return envoy_binary()


@cache
def no_envoy() -> str:
    """The reason why there is no Envoy; empty if there is one."""
    try:
        envoy_binary()
    except NoEnvoyError as error:
        return str(error)
    return ""


@cache
def no_kubernetes() -> str:
    """The reason why there is no API server; empty if there is one."""
    try:
        kubernetes_binaries()
    except NoProgramError as error:
        return str(error)
    return ""


@cache
def no_helm3() -> str:
    """The reason why there is no Helm 3; empty if there is one."""
    try:
        helm3()
    except NoProgramError as error:
        return str(error)
    return ""


@cache
def no_cluster() -> str:
    """The reason why there is no one-node cluster; empty if there can be one."""
    return cluster_problem()


@cache
def no_namespaces() -> str:
    """The reason why this process cannot create network namespaces with iptables rules; empty if it can."""
    reason = network_namespace_problem()
    return f"tests in network namespaces need root, iproute2, iptables and curl: {reason}" if reason else ""


@cache
def no_ipv6_rules() -> str:
    """The reason why this process cannot set IPv6 rules in network namespaces; empty if it can."""
    reason = network_namespace_problem(tables="ip6tables")
    return f"tests with IPv6 in network namespaces need ip6tables: {reason}" if reason else ""
