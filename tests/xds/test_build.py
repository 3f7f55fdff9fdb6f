import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as some

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol, Service, ServicePort
from osm_probes.mesh.policy import Permission, Requests, Split
from osm_probes.mesh.settings import Settings
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, PUSH_ORDER, ROUTES, SECRET, Snapshot
from osm_probes.xds import build
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from osm_probes.xds.build import SnapshotBuilder
from tests.builders import identity, mesh, secrets, service
from tests.xds.envoy_checks import complaint, decoded, with_resources

STORE = identity("bookstore")
BUYER = identity("bookbuyer")
SECRETS = secrets()

_PORTS = some.integers(1, 5)
_ADDRESSES = some.integers(1, 20).map("10.42.0.{}".format) | some.integers(1, 9).map("fd00::{}".format)
_ENDPOINTS = some.sets(some.builds(Endpoint, _ADDRESSES, _PORTS), max_size=3).map(lambda found: tuple(sorted(found)))
_PORTS_OF = some.lists(
    some.builds(ServicePort, _PORTS, _PORTS, some.sampled_from(Protocol), _ENDPOINTS),
    max_size=3,
    unique_by=lambda port: port.number,
).map(tuple)
_IDENTITIES = some.builds(Identity, some.sampled_from("ab"), some.sampled_from(["x", "y.z"]))
_SERVICES = some.lists(
    some.builds(
        Service,
        some.sampled_from("ab"),
        some.sampled_from(["one", "two", "three"]),
        _PORTS_OF,
        addresses=some.sets(_ADDRESSES, max_size=2).map(lambda found: tuple(sorted(found))),
        identities=some.sets(_IDENTITIES, max_size=2).map(lambda found: tuple(sorted(found))),
    ),
    max_size=5,
    unique_by=lambda each: (each.namespace, each.name),
)
_PATTERNS = some.sampled_from(["", ".*", "/a/[0-9]{1,3}", "^(.*?;)?(b)(;.*)?$"])
_REQUESTS = some.builds(
    Requests,
    _PATTERNS,
    some.sampled_from([(), ("GET",), ("GET", "POST")]),
    some.sampled_from([(), (("x-a", "1"),), ((":authority", "one"), ("x-a", ".*"))]),
)
_PERMISSIONS = some.lists(
    some.builds(
        Permission,
        some.sampled_from(["a/1", "a/2", "b/1"]),
        destination=_IDENTITIES,
        sources=some.sets(_IDENTITIES, min_size=1, max_size=3).map(lambda found: tuple(sorted(found))),
        requests=some.sets(_REQUESTS, max_size=3).map(lambda found: tuple(sorted(found))),
        connections=some.booleans(),
        ports=some.sets(_PORTS, max_size=2).map(lambda found: tuple(sorted(found))),
    ),
    max_size=3,
    unique_by=lambda each: each.name,
).map(lambda found: tuple(sorted(found)))
_BACKENDS = some.dictionaries(some.sampled_from(["one", "two", "three"]), some.integers(1, 9), min_size=1)
_SPLITS = some.lists(
    some.builds(
        Split,
        some.sampled_from("ab"),
        some.sampled_from(["one", "two"]),
        _BACKENDS.map(lambda found: tuple(sorted(found.items()))),
    ),
    max_size=2,
    unique_by=lambda each: (each.namespace, each.service),
).map(lambda found: tuple(sorted(found)))
MESHES = some.builds(
    Mesh,
    services=_SERVICES.map(lambda found: tuple(sorted(found, key=lambda each: (each.namespace, each.name)))),
    settings=some.builds(Settings, permissive=some.booleans(), egress=some.booleans()),
    permissions=_PERMISSIONS,
    splits=_SPLITS,
)


def built(of: Mesh, whose: Identity = BUYER) -> Snapshot:
    return SnapshotBuilder("cluster.local").build(of, whose, secrets=SECRETS)


def names(snapshot: Snapshot, type_url: str) -> list[str]:
    return list(snapshot.sets[type_url].by_name)


def versions(snapshot: Snapshot) -> dict[str, str]:
    return {url: snapshot.sets[url].version for url in PUSH_ORDER}


def wanted(message: Any, field: str) -> Iterator[str]:
    """All values of fields of that name in a message, Anys opened."""
    for descriptor, value in message.ListFields():
        values = value if descriptor.is_repeated else [value]
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            values = list(value.values())
        for each in values:
            if descriptor.name == field:
                yield each if isinstance(each, str) else each.name
            if descriptor.message_type is not None and hasattr(each, "ListFields"):
                yield from wanted(each, field)
                if each.DESCRIPTOR.full_name == "google.protobuf.Any":
                    yield from wanted(_opened(each), field)


def _opened(packed: Any) -> Any:
    name = packed.type_url.rpartition("/")[2]
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name)).FromString(
        packed.value
    )


@given(MESHES, _IDENTITIES)
def test_all_that_a_snapshot_refers_to_is_in_it(of: Mesh, whose: Identity) -> None:
    snapshot = built(of, whose)
    clusters, listeners = decoded(snapshot, CLUSTER), decoded(snapshot, LISTENER)
    with_endpoints = [each.name for each in clusters if each.HasField("eds_cluster_config")]
    assert sorted(with_endpoints) == names(snapshot, ENDPOINTS)
    routes = {name for each in listeners for name in wanted(each, "route_config_name")}
    assert routes == set(names(snapshot, ROUTES))
    asked = {
        name
        for each in (*clusters, *listeners)
        for field in ("tls_certificate_sds_secret_configs", "validation_context_sds_secret_config")
        for name in wanted(each, field)
    }
    assert asked <= set(names(snapshot, SECRET))
    callers = (*listeners, *decoded(snapshot, ROUTES))
    called = {name for each in callers for field in ("cluster", "clusters") for name in wanted(each, field)}
    assert called <= set(names(snapshot, CLUSTER))


@given(MESHES, _IDENTITIES)
def test_no_two_chains_of_a_listener_are_for_the_same_calls(of: Mesh, whose: Identity) -> None:
    for listener in decoded(built(of, whose), LISTENER):
        matches = [
            (chain.filter_chain_match.destination_port.value, address.address_prefix, name)
            for chain in listener.filter_chains
            for address in (*chain.filter_chain_match.prefix_ranges,) or (chain.filter_chain_match.prefix_ranges.add(),)
            for name in (*chain.filter_chain_match.server_names,) or ("",)
        ]
        assert len(matches) == len(set(matches))


def test_a_mesh_that_failed_for_one_identity_fails_for_the_next() -> None:
    builder = SnapshotBuilder("cluster.local")
    before, third = mesh(service()), identity("third")
    good = builder.build(before, BUYER, secrets=SECRETS)
    unfit = ServicePort(81, 14001, Protocol.HTTP, (Endpoint("10.42.0.11", 2**40),))
    broken = mesh(replace(service(), ports=(*service().ports, unfit)))
    for whose in (BUYER, third):
        with pytest.raises(ValueError, match="out of range"):
            builder.build(broken, whose, secrets=SECRETS)
    assert versions(builder.build(before, BUYER, secrets=SECRETS)) == versions(good)


@given(MESHES, MESHES, _IDENTITIES)
def test_what_is_kept_changes_nothing(before: Mesh, after: Mesh, whose: Identity) -> None:
    builder = SnapshotBuilder("cluster.local")
    for of in (before, after, before):
        assert versions(builder.build(of, whose, secrets=SECRETS)) == versions(built(of, whose))


@pytest.mark.envoy
@settings(max_examples=15)
@given(MESHES, _IDENTITIES)
def test_envoy_takes_every_snapshot(
    envoy: Path, tmp_path_factory: pytest.TempPathFactory, of: Mesh, whose: Identity
) -> None:
    proxy = ProxyName("00000000-0000-0000-0000-000000000001", SIDECAR, whose)
    start = bootstrap(
        proxy, trust_domain="cluster.local", ads=AdsTarget("127.0.0.1", 15128, "osm-controller"), secrets=SECRETS
    )
    folder = tmp_path_factory.mktemp("envoy")
    assert complaint(envoy, with_resources(start, built(of, whose)), folder=folder) == ""


def many(count: int, *, moved: int = -1) -> Mesh:
    """A mesh of that many services; one of them may have an endpoint elsewhere."""
    made = []
    for index in range(count):
        one = service(f"service-{index}", pods=2)
        if index == moved:
            ports = (replace(one.ports[0], endpoints=(Endpoint("10.42.9.9", 14001),)),)
            one = replace(one, ports=ports)
        made.append(replace(one, addresses=(f"10.96.{index // 250}.{index % 250 + 1}",)))
    return mesh(*made)


def test_a_moved_endpoint_builds_one_assignment_for_all_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("assignment_resource", "remote_cluster", "outbound_chains", "outbound_host", "outbound_roots_secret"):
        monkeypatch.setattr(build, name, counting(name, calls))
    builder = SnapshotBuilder("cluster.local")
    for whose in (BUYER, STORE):
        builder.build(many(200), whose, secrets=SECRETS)
    calls.clear()
    moved = many(200, moved=7)
    for whose in (BUYER, STORE):
        builder.build(moved, whose, secrets=SECRETS)
    assert calls == ["assignment_resource"]


def counting(name: str, calls: list[str]) -> Any:
    real = getattr(build, name)

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return real(*args, **kwargs)

    return count


def test_a_moved_endpoint_changes_only_the_assignments() -> None:
    before, after = versions(built(many(5))), versions(built(many(5, moved=2)))
    assert [url for url in PUSH_ORDER if before[url] != after[url]] == [ENDPOINTS]


def test_a_renewed_certificate_changes_only_the_secrets() -> None:
    builder = SnapshotBuilder("cluster.local")
    environment = mesh(service())
    before, after = (versions(builder.build(environment, STORE, secrets=each)) for each in (SECRETS, secrets()))
    assert [url for url in PUSH_ORDER if before[url] != after[url]] == [SECRET]


def test_endpoints_are_told_again_when_their_cluster_changed() -> None:
    one = service()
    other = replace(one, ports=(replace(one.ports[0], protocol=Protocol.TCP),))
    before, after = (built(mesh(each)).sets[ENDPOINTS].by_name["bookstore/bookstore|80"] for each in (one, other))
    assert before.body == after.body
    assert before.version != after.version


def test_with_permissive_mode_off_nothing_may_be_called() -> None:
    for whose in (BUYER, STORE):
        snapshot = built(closed(service()), whose)
        assert "outbound-listener" not in names(snapshot, LISTENER)
        assert "bookstore/bookstore|80" not in names(snapshot, CLUSTER)
        assert names(snapshot, ENDPOINTS) == []


def closed(*services: Service, permissions: tuple[Permission, ...] = (), splits: tuple[Split, ...] = ()) -> Mesh:
    """A mesh in which only these permissions count."""
    settings = Settings(permissive=False)
    return replace(mesh(*services), settings=settings, permissions=permissions, splits=splits)


def permission(**rest: Any) -> Permission:
    return Permission("bookstore/buy", destination=STORE, sources=(BUYER,), **rest)


def rules(snapshot: Snapshot) -> Any:
    """The RBAC of the only inbound route."""
    (routes,) = (each for each in decoded(snapshot, ROUTES) if each.name.startswith("rds-inbound"))
    (route,) = routes.virtual_hosts[0].routes
    return _opened(route.typed_per_filter_config["envoy.filters.http.rbac"])


def callers(snapshot: Snapshot) -> list[str]:
    """Whom the handshake of the only TCP destination takes; empty: whoever has a certificate of the mesh."""
    (secret,) = (each for each in decoded(snapshot, SECRET) if each.name.endswith("|14001"))
    return [each.matcher.exact for each in secret.validation_context.match_typed_subject_alt_names]


# A changed listener drains its connections. So those who take calls stay as they are, and requests on old connections
# are judged by the new rules.
@pytest.mark.parametrize("protocol", Protocol)
def test_no_policy_changes_the_inbound_listener(protocol: Protocol) -> None:
    one = service(protocol=protocol)
    allowed = permission(requests=(Requests(),), connections=True)
    worlds = (mesh(one), closed(one), closed(one, permissions=(allowed,)))
    assert len({built(each, STORE).sets[LISTENER].by_name["inbound-listener"].body for each in worlds}) == 1


@pytest.mark.parametrize(
    ("given", "protocol", "callable_"),
    [
        (permission(requests=(Requests("/books"),)), Protocol.HTTP, True),
        (permission(connections=True), Protocol.TCP, True),
        (permission(requests=(Requests(),)), Protocol.TCP, False),
        (permission(connections=True), Protocol.HTTP, False),
        (permission(requests=(Requests(),), ports=(14001,)), Protocol.HTTP, True),
        (permission(requests=(Requests(),), ports=(80,)), Protocol.HTTP, False),
        (permission(connections=True, ports=(80, 14001)), Protocol.TCP, True),
        (permission(connections=True, ports=(80,)), Protocol.TCP, False),
        (replace(permission(connections=True), destination=identity("other")), Protocol.TCP, False),
        (replace(permission(connections=True), sources=(identity("other"),)), Protocol.TCP, False),
    ],
)
def test_a_permission_tells_its_source_of_what_it_covers(
    given: Permission, protocol: Protocol, *, callable_: bool
) -> None:
    snapshot = built(closed(service(protocol=protocol), permissions=(given,)), BUYER)
    found = ["bookstore/bookstore|80"] if callable_ else []
    assert names(snapshot, CLUSTER) == [*found, "envoy-metrics-cluster"]
    assert names(snapshot, ENDPOINTS) == found
    assert ("outbound-listener" in names(snapshot, LISTENER)) is callable_
    assert ("root-cert-for-mtls-outbound:bookstore/bookstore" in names(snapshot, SECRET)) is callable_


def test_a_route_lets_through_all_in_permissive_mode_and_nothing_without_a_permission() -> None:
    assert not rules(built(mesh(service()), STORE)).HasField("rbac")
    nothing = rules(built(closed(service()), STORE)).rbac
    # Without the field Envoy would not ask at all.
    assert nothing.HasField("rules")
    assert nothing.rules.action == nothing.rules.ALLOW
    assert not nothing.rules.policies


def test_a_route_lets_through_what_its_permissions_cover() -> None:
    some_ports = (replace(permission(requests=(Requests(),), ports=(80,)), name="bookstore/elsewhere"),)
    snapshot = built(
        closed(service(), permissions=(permission(requests=(Requests("/b", ("GET",)),)), *some_ports)), STORE
    )
    assert dict(rules(snapshot).rbac.rules.policies).keys() == {"bookstore/buy"}
    (principal,) = rules(snapshot).rbac.rules.policies["bookstore/buy"].principals
    assert principal.authenticated.principal_name.exact == "bookbuyer.bookbuyer.cluster.local"


def test_a_tcp_destination_takes_connections_of_those_whom_a_permission_covers() -> None:
    one = service(protocol=Protocol.TCP)
    assert callers(built(mesh(one), STORE)) == []
    assert callers(built(closed(one), STORE)) == ["nobody.invalid"]
    covered = permission(connections=True)
    other = replace(permission(connections=True, ports=(80,)), sources=(identity("other"),))
    assert callers(built(closed(one, permissions=(covered, other)), STORE)) == ["bookbuyer.bookbuyer.cluster.local"]


def test_the_handshake_of_a_tcp_destination_asks_for_its_own_callers() -> None:
    (listener,) = (
        each
        for each in decoded(built(mesh(service(protocol=Protocol.TCP)), STORE), LISTENER)
        if each.name == "inbound-listener"
    )
    assert list(wanted(listener, "validation_context_sds_secret_config")) == [
        "root-cert-for-mtls-inbound:bookstore/bookstore|14001"
    ]


def test_in_permissive_mode_a_changed_permission_builds_nothing() -> None:
    builder, environment = SnapshotBuilder("cluster.local"), mesh(service())
    before = builder.build(environment, STORE, secrets=SECRETS)
    after = builder.build(replace(environment, permissions=(permission(connections=True),)), STORE, secrets=SECRETS)
    assert all(before.sets[url] is after.sets[url] for url in (CLUSTER, LISTENER, ROUTES, SECRET))


def test_a_changed_permission_builds_what_it_is_about_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("remote_cluster", "outbound_chains", "outbound_host", "inbound_chain", "inbound_routes"):
        monkeypatch.setattr(build, name, counting(name, calls))
    builder, environment = SnapshotBuilder("cluster.local"), many(200)
    some_of = tuple(
        Permission(f"a/{index}", identity(f"service-{index}"), (BUYER,), (Requests("/books"),)) for index in range(200)
    )
    before = replace(environment, settings=Settings(permissive=False), permissions=some_of)
    for whose in (BUYER, identity("service-7")):
        builder.build(before, whose, secrets=SECRETS)
    calls.clear()
    changed = (*some_of[:7], replace(some_of[7], requests=(Requests("/films"),)), *some_of[8:])
    after = replace(before, permissions=changed)
    for whose in (BUYER, identity("service-7")):
        builder.build(after, whose, secrets=SECRETS)
    assert calls == ["inbound_routes"]


def variant(name: str, address: str, *, protocol: Protocol = Protocol.HTTP, number: int = 80) -> Service:
    """A service of the namespace bookstore with an identity of its own name."""
    one = service("bookstore", number=number, protocol=protocol)
    return replace(one, name=name, addresses=(address,), identities=(Identity("bookstore", name),))


V1, V2 = variant("v1", "10.96.0.21"), variant("v2", "10.96.0.22")
SPLIT = Split("bookstore", "bookstore", (("v1", 90), ("v2", 10)))
CLUSTER_OF = "bookstore/{}|80".format


def shares(snapshot: Snapshot) -> dict[str, int]:
    """Where requests to the bookstore go."""
    (routes,) = (each for each in decoded(snapshot, ROUTES) if each.name == "rds-outbound.80")
    (host,) = (each for each in routes.virtual_hosts if each.name == CLUSTER_OF("bookstore"))
    action = host.routes[0].route
    if action.cluster:
        return {action.cluster: 1}
    return {each.name: each.weight.value for each in action.weighted_clusters.clusters}


@pytest.mark.parametrize(
    ("services", "found"),
    [
        pytest.param((V1, V2), {CLUSTER_OF("v1"): 90, CLUSTER_OF("v2"): 10}, id="by weight"),
        pytest.param((V1,), {CLUSTER_OF("v1"): 1}, id="what does not exist leaves its share to the others"),
        pytest.param((), {CLUSTER_OF("bookstore"): 1}, id="to the root, if none exists"),
        pytest.param(
            (V1, variant("v2", "10.96.0.22", number=81)), {CLUSTER_OF("v1"): 1}, id="not to one without the port"
        ),
        pytest.param(
            (V1, variant("v2", "10.96.0.22", protocol=Protocol.TCP)),
            {CLUSTER_OF("v1"): 1},
            id="not to one that speaks something else",
        ),
        pytest.param((V1, replace(V2, addresses=())), {CLUSTER_OF("v1"): 1}, id="not to a headless one"),
    ],
)
def test_calls_to_a_split_service_go_to_its_backends(services: tuple[Service, ...], found: dict[str, int]) -> None:
    assert shares(built(replace(mesh(service(), *services), splits=(SPLIT,)))) == found


def test_a_service_may_be_a_backend_of_itself() -> None:
    both = Split("bookstore", "bookstore", (("bookstore", 3), ("v1", 1)))
    assert shares(built(replace(mesh(service(), V1), splits=(both,)))) == {
        CLUSTER_OF("bookstore"): 3,
        CLUSTER_OF("v1"): 1,
    }


def test_a_split_of_a_tcp_service_is_in_its_chain() -> None:
    tcp = (variant(name, f"10.96.0.2{n}", protocol=Protocol.TCP) for n, name in enumerate(("v1", "v2")))
    snapshot = built(replace(mesh(service(protocol=Protocol.TCP), *tcp), splits=(SPLIT,)))
    (listener,) = (each for each in decoded(snapshot, LISTENER) if each.name == "outbound-listener")
    (chain,) = (each for each in listener.filter_chains if each.name == "bookstore/bookstore|80 at 80")
    proxy = _opened(chain.filters[0].typed_config)
    assert {each.name: each.weight for each in proxy.weighted_clusters.clusters} == {
        CLUSTER_OF("v1"): 90,
        CLUSTER_OF("v2"): 10,
    }


def test_a_split_of_requests_changes_no_listener() -> None:
    environment = mesh(service(), V1, V2)
    before, after = versions(built(environment)), versions(built(replace(environment, splits=(SPLIT,))))
    assert [url for url in PUSH_ORDER if before[url] != after[url]] == [ROUTES]


def may_call(*accounts: str) -> tuple[Permission, ...]:
    return tuple(
        Permission(f"bookstore/{account}", Identity("bookstore", account), (BUYER,), (Requests(),))
        for account in accounts
    )


@pytest.mark.parametrize(
    ("accounts", "found", "clusters"),
    [
        (("v1", "v2"), {CLUSTER_OF("v1"): 90, CLUSTER_OF("v2"): 10}, ["v1", "v2"]),
        (("bookstore", "v1"), {CLUSTER_OF("v1"): 1}, ["bookstore", "v1"]),
        (("v2",), {CLUSTER_OF("v2"): 1}, ["v2"]),
        (("bookstore",), {CLUSTER_OF("bookstore"): 1}, ["bookstore"]),
    ],
)
def test_a_split_goes_to_those_backends_that_may_be_called(
    accounts: tuple[str, ...], found: dict[str, int], clusters: list[str]
) -> None:
    snapshot = built(closed(service(), V1, V2, permissions=may_call(*accounts), splits=(SPLIT,)))
    assert shares(snapshot) == found
    assert names(snapshot, CLUSTER) == [*map(CLUSTER_OF, clusters), "envoy-metrics-cluster"]


def test_a_split_service_of_which_nothing_may_be_called_is_not_told() -> None:
    assert names(built(closed(service(), V1, V2, splits=(SPLIT,))), ROUTES) == []


def test_only_with_egress_is_there_a_way_out_of_the_mesh() -> None:
    for egress in (False, True):
        snapshot = built(replace(mesh(service()), settings=Settings(egress=egress)))
        (listener,) = (each for each in decoded(snapshot, LISTENER) if each.name == "outbound-listener")
        assert listener.HasField("default_filter_chain") is egress
        assert ("passthrough-outbound" in names(snapshot, CLUSTER)) is egress


def test_a_service_is_trusted_only_as_its_own_identities() -> None:
    secret = decoded(built(mesh(service())), SECRET)[1]
    assert secret.name == "root-cert-for-mtls-outbound:bookstore/bookstore"
    matchers = secret.validation_context.match_typed_subject_alt_names
    assert [each.matcher.exact for each in matchers] == ["bookstore.bookstore.cluster.local"]


def test_a_service_without_identities_is_trusted_as_nobody() -> None:
    secret = decoded(built(mesh(replace(service(), identities=()))), SECRET)[1]
    assert [each.matcher.exact for each in secret.validation_context.match_typed_subject_alt_names] == [
        "nobody.invalid"
    ]


def test_two_services_of_one_address_do_not_spoil_the_listener() -> None:
    snapshot = built(mesh(service("a"), service("b")))
    (listener,) = (each for each in decoded(snapshot, LISTENER) if each.name == "outbound-listener")
    assert [chain.name for chain in listener.filter_chains] == ["a/a|80 at 80"]


def test_a_headless_service_is_called_at_the_pod_that_was_dialled() -> None:
    headless = replace(service(pods=2), addresses=())
    snapshot = built(mesh(headless))
    (cluster,) = (each for each in decoded(snapshot, CLUSTER) if each.name == "bookstore/bookstore|80")
    assert cluster.type == cluster.ORIGINAL_DST
    (listener,) = (each for each in decoded(snapshot, LISTENER) if each.name == "outbound-listener")
    (chain,) = listener.filter_chains
    assert [each.address_prefix for each in chain.filter_chain_match.prefix_ranges] == ["10.42.0.11", "10.42.0.12"]
    assert chain.filter_chain_match.destination_port.value == 14001


@pytest.mark.parametrize(("caller", "short"), [(STORE, True), (BUYER, False)])
def test_a_bare_name_means_a_service_of_the_callers_namespace(caller: Identity, *, short: bool) -> None:
    (routes,) = (each for each in decoded(built(mesh(service()), caller), ROUTES) if each.name == "rds-outbound.80")
    bare = ["bookstore"] if short else []
    assert list(routes.virtual_hosts[0].domains) == [
        *bare,
        "bookstore.bookstore",
        "bookstore.bookstore.svc",
        "bookstore.bookstore.svc.cluster",
        "bookstore.bookstore.svc.cluster.local",
        "10.96.0.11",
    ]


def test_the_order_of_endpoints_and_services_does_not_matter() -> None:
    services = [replace(service(f"s{index}"), addresses=(f"10.96.0.{index}",)) for index in range(9)]
    shuffled = random.Random(1).sample(services, len(services))
    assert versions(built(mesh(*services))) == versions(built(mesh(*shuffled)))
