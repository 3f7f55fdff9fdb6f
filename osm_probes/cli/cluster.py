"""--kubeconfig and --context -> a client, and a command's work with it."""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect, kubeconfig_of_user


def in_cluster(given: argparse.Namespace, work: Callable[[KubernetesClient], Awaitable[int]]) -> int:
    """Do a command's work with the cluster that was chosen; its exit status. Raises KubernetesError."""
    kubeconfig = kubeconfig_of_user(given.kubeconfig, environment=os.environ, home=Path.home())
    return asyncio.run(_with_client(kubeconfig, given.context or None, work))


async def _with_client(kubeconfig: str, context: str | None, work: Callable[[KubernetesClient], Awaitable[int]]) -> int:
    async with connect(kubeconfig, context=context) as client:
        return await work(client)
