"""What an API server does to our programs: it goes, hangs, is slow, refuses, forgets, and loses what is ours."""

import base64
import contextlib
from collections.abc import Iterator
from typing import Final

from tests.faults.cluster import (
    SECRETS,
    api,
    change_much,
    cluster,
    expect_caught_up,
    injecting_cluster,
    speak_to,
    take_ca,
    webhook_configuration,
)
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Act, FaultError, Mode, Program, Row
from tests.faults.stage import REPLICA_HTTP_PORT, Stage
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.manifests import CRDS, documents, install_crds

_SLOW_PORT: Final = 7443
_CONFIGURATION: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-osm"


@contextlib.contextmanager
def killed(stage: Stage) -> Iterator[None]:
    """No API server; 100 pods go meanwhile."""
    api(stage).kill()
    yield
    change_much(stage)
    api(stage).start()
    expect_caught_up(stage)


@contextlib.contextmanager
def hung(stage: Stage) -> Iterator[None]:
    """It answers nothing, on no connection; 100 pods go meanwhile."""
    api(stage).hang()
    yield
    change_much(stage)
    api(stage).resume()
    expect_caught_up(stage)


@contextlib.contextmanager
def away_at_start(stage: Stage) -> Iterator[None]:
    """There is none when the program starts; as soon as it is there, which is before it is ready, the ADS may serve."""
    api(stage).kill()
    yield
    if said := stage.run("sh", "-c", "curl -s -i --max-time 5 http://127.0.0.1:9091/health/alive || true"):
        raise FaultError(f"alive is not silent before anything was served: {said[:60]}")
    api(stage).start()


@contextlib.contextmanager
def compacted(stage: Stage) -> Iterator[None]:
    """It comes back with all versions but the newest forgotten (410 for whoever asks for an older one)."""
    api(stage).kill()
    yield
    change_much(stage)
    api(stage).compact()
    api(stage).start()
    expect_caught_up(stage)


@contextlib.contextmanager
def slow_way(stage: Stage) -> Iterator[None]:
    """The program's way to the API server goes through a forwarder, which is quick for now."""
    (stage.folder / "late").write_text("0")
    with cluster(stage):
        stage.background_tasks("delay", _SLOW_PORT, api(stage).port, stage.folder / "late")
        speak_to(stage, f"https://127.0.0.1:{_SLOW_PORT}")
        yield


@contextlib.contextmanager
def slowed(stage: Stage) -> Iterator[None]:
    """Each way takes 0.7 s, and connections are made anew."""
    (stage.folder / "late").write_text("0.7")
    api(stage).kill()
    api(stage).start()
    yield
    change_much(stage)
    expect_caught_up(stage)
    (stage.folder / "late").write_text("0")


@contextlib.contextmanager
def forbidden(stage: Stage) -> Iterator[None]:
    """Its user may do nothing any more (403), and has to connect anew."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    name = f"{path}/osm-controller-osm-system"
    binding = api(stage).request("GET", name)
    api(stage).request("DELETE", name)
    api(stage).kill()
    api(stage).start()
    yield
    change_much(stage)
    _expect_warning(stage, "must be allowed to list and watch")
    del binding["metadata"]["resourceVersion"]
    api(stage).request("POST", path, binding)
    expect_caught_up(stage)


@contextlib.contextmanager
def throttled(stage: Stage) -> Iterator[None]:
    """All that is asked is answered with 429, by a stand-in that has the API server's port and certificate."""
    server = api(stage)
    server.kill()
    pki = server.pki.folder
    stand_in = stage.background_tasks("busy", server.port, pki / "apiserver.crt", pki / "apiserver.key")
    yield
    change_much(stage)
    _expect_warning(stage, "too many requests")
    stand_in.kill()
    stand_in.wait(5)
    server.start()
    expect_caught_up(stage)


@contextlib.contextmanager
def without_crds(stage: Stage) -> Iterator[None]:
    """The kinds that the chart brings are deleted, then there again."""
    for each in documents(CRDS):
        api(stage).delete(each)
    change_much(stage)
    yield
    install_crds(api(stage))
    expect_caught_up(stage)


@contextlib.contextmanager
def without_ca(stage: Stage) -> Iterator[None]:
    """The CA's Secret is deleted: the very same one must come back."""
    before = api(stage).request("GET", f"{SECRETS}/osm-ca-bundle")["data"]
    api(stage).request("DELETE", f"{SECRETS}/osm-ca-bundle")
    yield
    if _secret(api(stage)) != before:
        raise FaultError("the Secret of the CA was not written back as it was")


@contextlib.contextmanager
def without_authority(stage: Stage) -> Iterator[None]:
    """Nobody has made the CA."""
    with cluster(stage):
        api(stage).request("DELETE", f"{SECRETS}/osm-ca-bundle")
        for file in stage.ca.iterdir():
            file.unlink()
        yield


@contextlib.contextmanager
def racing(stage: Stage) -> Iterator[None]:
    """Two controllers start at once: one authority must come of it."""
    stage.replica()
    stage.start()
    stage.eventually(lambda: take_ca(stage), what="a CA")
    yield
    logs = ("program.log", "replica.log")
    made = [line for log in logs for line in stage.logged("a certificate authority is made", log=log)]
    ready = stage.run("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{REPLICA_HTTP_PORT}/health/ready")
    if len(made) != 1 or ready != "Service is ready":
        raise FaultError(f"{len(made)} authorities were made; the replica says {ready!r}")


@contextlib.contextmanager
def led_by_another(stage: Stage) -> Iterator[None]:
    """Another controller holds the Lease."""
    with cluster(stage):
        stage.leader = stage.replica()
        stage.eventually(lambda: stage.logged("leads", log="replica.log"), what="a leader")
        yield


@contextlib.contextmanager
def leader_killed(stage: Stage) -> Iterator[None]:
    """It is killed, and gives nothing back: this one must lead."""
    if stage.leader is None or stage.logged("leads"):
        raise FaultError("the other one does not lead")
    stage.leader.kill()
    yield
    if not stage.logged("leads"):
        raise FaultError("nobody leads")


@contextlib.contextmanager
def without_configuration(stage: Stage) -> Iterator[None]:
    """The webhook configuration is deleted: pods are created bare."""
    api(stage).request("DELETE", _CONFIGURATION)
    yield
    api(stage).create(webhook_configuration())


@contextlib.contextmanager
def overwritten_bundle(stage: Stage) -> Iterator[None]:
    """Somebody puts another CA into the webhook configuration."""
    before = api(stage).request("GET", _CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"]
    other = base64.b64encode(api(stage).pki.root_pem).decode()
    change = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": other}]
    api(stage).request("PATCH", _CONFIGURATION, change, form="application/json-patch+json")
    stage.eventually(
        lambda: api(stage).request("GET", _CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"] == before,
        what="the bundle is right again",
        within=2.0,
    )
    yield


@contextlib.contextmanager
def injecting_cluster_asked_directly(stage: Stage) -> Iterator[None]:
    """A cluster whose API server will not be there to be asked for the truth."""
    with injecting_cluster(stage):
        stage.truth = ()
        yield


@contextlib.contextmanager
def no_api_server(stage: Stage) -> Iterator[None]:
    """None is there; the webhook is asked as one would ask it."""
    api(stage).kill()
    yield
    api(stage).start()


def _secret(server: ApiServer) -> object:
    try:
        return server.request("GET", f"{SECRETS}/osm-ca-bundle")["data"]
    except ApiServerError:
        return None


def _expect_warning(stage: Stage, words: str) -> None:
    said = stage.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:9091/health/ready?verbose")
    if words not in said:
        raise FaultError(f"?verbose does not warn: {said[-300:]}")


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)

    def row(name: str, text: str, fault: Act) -> Row:
        return Row(f"api-{name}", text, fault, unharmed, setup=cluster, crowd=0)

    return (
        Row(
            "api-away-at-start", "no API server at the start", away_at_start,
            Expectation(Truth.FAILS, Alive.STAYS, recovers_within=30.0), setup=cluster, at_start=True, crowd=0,
        ),
        row("killed", "API server killed, 100 pods go, started again", killed),
        row("hung", "API server hangs, 100 pods go", hung),
        Row(
            "api-slow", "API server 0.7 s away each way", slowed, unharmed, setup=slow_way, crowd=0,
        ),
        row("forbidden", "API server answers 403", forbidden),
        row("throttled", "API server answers 429", throttled),
        row("compacted", "API server comes back with versions forgotten (410)", compacted),
        row("crds-deleted", "CRDs deleted, then there again", without_crds),
        row("ca-deleted", "Secret of the CA deleted", without_ca),
        Row(
            "api-replicas-race", "no CA yet, two controllers start at once", racing,
            Expectation(Truth.EITHER, Alive.STAYS), setup=without_authority, at_start=True, crowd=0,
        ),
        Row(
            "api-leader-killed", "the controller that holds the Lease killed", leader_killed, unharmed,
            setup=led_by_another, lasts=20.0, crowd=0,
        ),
        Row(
            "injector-configuration-deleted", "webhook configuration deleted", without_configuration,
            Expectation(Truth.FAILS, Alive.STAYS), program=Program.INJECTOR, setup=injecting_cluster, crowd=0,
        ),
        Row(
            "injector-bundle-overwritten", "CA bundle of the webhook configuration overwritten", overwritten_bundle,
            unharmed, program=Program.INJECTOR, setup=injecting_cluster, crowd=0,
        ),
        Row(
            "injector-api-killed", "API server killed, started again", no_api_server, unharmed,
            program=Program.INJECTOR, setup=injecting_cluster_asked_directly, crowd=0,
        ),
    )  # fmt: skip
