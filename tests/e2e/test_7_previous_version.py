"""Scenario 7: pods that the previous version injected stay served: upgrade, CA rotation, rollback, upgrade again.

Each step is a test: the traffic of the step must be without loss, each sidecar connected to a controller of the
installed version, and a policy that is made in the step in effect.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509

from osm_probes.cluster.ca_secret_content import CaSecretContent, retire_patch, sign_patch
from osm_probes.mesh.labels import PROXY_UUID
from osm_probes.mesh.proxy_uuid import is_bound
from osm_probes.pki.authority import Authority
from tests.e2e import shop
from tests.e2e.applications import BUYER, MESH, OSM, STORE, Applications, enrolled, policy
from tests.e2e.cluster import Cluster
from tests.e2e.mesh import VALUES, Mesh
from tests.e2e.osm_command import osm
from tests.e2e.previous import NoHistoryError, PreviousVersion, previous_version
from tools.images import builder

_CA: Final = ("secret", "osm-ca-bundle", f"--namespace={OSM}")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def previous(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> PreviousVersion:
    """The previous version, whose images the node has."""
    try:
        version = previous_version()
    except NoHistoryError as error:
        pytest.skip(str(error))  # a shallow clone, which nothing on this machine can complete
    for archive in version.archives(builder(), tmp_path_factory.mktemp("previous")):
        cluster.node.load(archive)
        archive.unlink()
    return version


@pytest.fixture(scope="module")
def apps(cluster: Cluster, previous: PreviousVersion) -> Iterator[Applications]:
    """The previous version with a bookstore and a bookbuyer, in a mesh that the tests upgrade and roll back."""
    strict = {"traffic": {"enablePermissiveTrafficPolicyMode": False}}
    values = {**previous.values, "meshName": MESH, "meshConfig": strict}
    apps = Applications(Mesh.installed(cluster, OSM, values=values, chart=previous.chart))
    cluster.apply(*enrolled(STORE, shop.STORE), *enrolled(BUYER, shop.BUYER), *policy("none"))
    cluster.apply(*shop.bookstore(STORE))
    cluster.rolled_out(f"deployment/{shop.STORE}", namespace=STORE)
    yield apps
    cluster.kubectl("delete", "namespace", STORE, BUYER, OSM, "--wait=false")


@pytest.fixture(scope="module")
def new() -> Authority:
    """The CA that replaces the mesh's own."""
    return Authority.create("osm-ca")


def test_the_previous_version_serves_its_pods(apps: Applications) -> None:
    apps.start_buyer("injected-before")
    apps.check("installed")
    for pod in apps.sidecars().values():
        assert not is_bound(pod["metadata"]["labels"][PROXY_UUID])
        assert apps.certificate(pod).not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)


def test_after_an_upgrade_its_pods_are_served_and_get_new_certificates(apps: Applications) -> None:
    before = apps.sidecars()
    apps.mesh.upgrade(VALUES)
    apps.check("upgraded")
    apps.cluster.until(
        lambda: all(_days(apps, pod) <= 7 for pod in before.values()), what="new certificates", within=60.0
    )
    apps.until_renewed()
    assert sorted(apps.sidecars()) == sorted(before), "no pod was replaced"
    assert unproven(apps) == set(before)


def test_pods_of_both_versions_call_each_other(apps: Applications) -> None:
    before = set(apps.sidecars())
    apps.start_buyer("injected-after")
    apps.scale_store(2)
    apps.check("mixed")
    assert len(apps.sidecars()) == 4
    assert unproven(apps) == before


def test_in_a_ca_rotation_pods_of_both_versions_trust_the_new_root_first(apps: Applications, new: Authority) -> None:
    patch_ca(apps, {"data": CaSecretContent(new.root_pem, new.key_pem).data})
    apps.cluster.until(lambda: apps.roots() == {2}, what="all sidecars trust both roots", within=90.0)
    apps.check("both-trusted")


def test_when_the_new_ca_signs_pods_of_both_versions_get_its_certificates(apps: Applications, new: Authority) -> None:
    before = apps.serials()
    # The leader does this when all have trusted the new root for 5 minutes; the test does it at once.
    patch_ca(apps, sign_patch(datetime.now(UTC)))
    apps.cluster.until(lambda: not apps.serials() & before, what="the new CA signs", within=90.0)
    apps.check("new-signs")
    root = x509.load_pem_x509_certificate(new.root_pem)
    for pod in apps.sidecars().values():
        apps.certificate(pod).verify_directly_issued_by(root)


def test_when_the_old_root_is_not_trusted_pods_of_both_versions_are_served(apps: Applications) -> None:
    # The leader does this after a day.
    patch_ca(apps, retire_patch())
    apps.cluster.until(lambda: apps.roots() == {1}, what="only the new root is trusted", within=90.0)
    apps.check("rotated")


def test_after_a_rollback_pods_of_both_versions_are_served_for_at_least_3_days(apps: Applications) -> None:
    apps.mesh.roll_back()
    apps.check("rolled-back")
    assert min(_days(apps, pod) for pod in apps.sidecars().values()) > 3
    apps.start_buyer("injected-after-rollback")
    apps.scale_store(3)
    apps.check("rolled-back-mixed")


def test_after_another_upgrade_all_pods_are_served(apps: Applications) -> None:
    bound = {name for name, pod in apps.sidecars().items() if is_bound(pod["metadata"]["labels"][PROXY_UUID])}
    apps.mesh.upgrade(VALUES)
    apps.check("upgraded-again")
    pods = apps.sidecars()
    assert (len(pods), len(bound)) == (6, 2)
    assert unproven(apps) == set(pods) - bound
    apps.cluster.until(
        lambda: all(_days(apps, pod) <= 7 for pod in pods.values()), what="new certificates", within=60.0
    )


def patch_ca(apps: Applications, patch: Json) -> None:
    """Change the CA's Secret."""
    apps.cluster.kubectl("patch", *_CA, "--type=merge", f"--patch={json.dumps(patch)}")


def unproven(apps: Applications) -> set[str]:
    """The pods that `osm verify` lists as injected by an earlier version."""
    found: set[str] = set()

    def collect(result: Json) -> None:
        if result["name"] == "Uuids of sidecars":
            for reason in result.get("reasons", []):
                found.update(reason.partition(": ")[0].split(", "))
        for part in result.get("results", []):
            collect(part)

    collect(json.loads(osm(apps.cluster, "verify", "control-plane", f"--osm-namespace={OSM}", "--output=json")))
    return found


def _days(apps: Applications, pod: Json) -> float:
    return (apps.certificate(pod).not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)
