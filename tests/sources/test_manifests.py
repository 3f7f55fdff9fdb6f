import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from osm_probes.sources.manifests import ManifestError, object_decoder, read_objects
from osm_probes.sources.objects import EndpointSlice, MeshConfig, MeshObject, Pod
from osm_probes.sources.smi import HTTPRouteGroup
from tests.log_capture import capture_logs
from tests.sources.manifests import (
    document,
    mesh_config,
    namespace,
    pod,
    route_group,
    rule,
    service,
    slice_of,
    split,
    target,
    tcp_route,
)


def objects(text: str, name: str = "x.yaml") -> tuple[MeshObject, ...]:
    return read_objects(Path(name), text.encode())


def error_in(text: str, name: str = "x.yaml") -> str:
    with pytest.raises(ManifestError) as caught:
        objects(text, name)
    return str(caught.value)


def test_a_file_may_have_several_documents_some_empty() -> None:
    assert len(objects(f"---\n{namespace()}\n---\n---\n# nothing\n---\n{service()}\n")) == 2


def test_other_kinds_are_skipped() -> None:
    assert objects(document("Deployment", version="apps/v1", spec=17)) == ()


def test_a_list_is_unwrapped() -> None:
    items = [json.loads(namespace()), json.loads(service())]
    assert len(objects(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), "x.json")) == 2


def test_null_means_unset() -> None:
    assert objects(slice_of(ports=None, endpoints=None)) == objects(slice_of(ports=[], endpoints=[]))


def test_a_date_stays_a_string() -> None:
    (found,) = objects("{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {since: 2024-01-01}}}")
    assert found.metadata.labels == {"since": "2024-01-01"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (service({"port": "80"}), "document 1: spec.ports[0].port: Expected `int`, got `str`"),
        (service({"port": 80}, {"port": 99999}), "document 1: spec.ports[1].port: Expected `int` <= 65535"),
        (service({"port": 80}, {"port": 80}), "document 1: spec: ports[1].port: 80/TCP is defined twice"),
        (service({"port": 80, "targetPort": "9" * 5000}), "document 1: spec.ports[0]: targetPort: '99999"),
        (service({"port": 80, "targetPort": "99999999999"}), "targetPort: '99999999999' is neither a port between 1"),
        (service({"port": 80, "targetPort": "70000"}), "targetPort: '70000' is neither a port between 1"),
        (service({"port": 80, "targetPort": "0"}), "targetPort: '0' is neither"),
        (service({"port": 80, "targetPort": "٣"}), "targetPort: '٣' is neither"),
        (service({"port": 80, "targetPort": ""}), "targetPort: '' is neither"),
        (service({"port": 80, "targetPort": "sixteen-letters-"}), "targetPort: 'sixteen-letters-' is neither"),
        (service({"port": 80, "targetPort": "a--b"}), "targetPort: 'a--b' is neither"),
        (service({"port": 80, "targetPort": 70000}), "spec.ports[0].targetPort: Expected `int` <= 65535"),
        (service(clusterIP="10.0.0"), "document 1: spec.clusterIP: '10.0.0' is not an IP address"),
        (pod(ip="fe80::1%eth0"), "document 1: status.podIP: 'fe80::1%eth0' is not an IP address"),
        (slice_of({"addresses": ["x"]}), "document 1: endpoints[0].addresses[0]: 'x' is not an IP address"),
        (f"{namespace()}\n---\n{document('Pod', 'A/B')}", "document 2: metadata.name: Expected `str` matching regex"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {a: true}}}", "metadata.labels[...]: Expected `str`"),
        (service(clusterIP="9" * 10_000), "spec.clusterIP: '999"),
        ("{apiVersion: v1, kind: Pod}", "document 1: Object missing required field `metadata`"),
        (mesh_config({"certificate": {"serviceCertValidityDuration": "1 day"}}), "spec.certificate.serviceCert"),
        (mesh_config({"certificate": {"serviceCertValidityDuration": "0s"}}), "'0s' is not a duration above 0"),
        (mesh_config({"certificate": {"serviceCertValidityDuration": "4.9s"}}), "'4.9s' is below 5s"),
        (mesh_config({"certificate": {"serviceCertValidityDuration": "1ns"}}), "'1ns' is below 5s"),
        (mesh_config({"sidecar": {"maxDataPlaneConnections": -1}}), "spec.sidecar.maxDataPlaneConnections: Expected"),
        (mesh_config({"observability": {"osmLogLevel": "loud"}}), "spec.observability.osmLogLevel: Invalid enum value"),
        (mesh_config({"traffic": {"enableEgress": "true"}}), "spec.traffic.enableEgress: Expected `bool | null`"),
        (target(rule("Route")), "document 1: spec.rules[0].kind: Invalid enum value 'Route'"),
        (target(sources=[{"kind": "ServiceAccount"}]), "spec.sources[0]: Object missing required field `name`"),
        (document("TrafficTarget", version="access.smi-spec.io/v1alpha1"), "Object missing required field `spec`"),
        (route_group({"name": "a", "pathRegex": 1}), "spec.matches[0].pathRegex: Expected `str`, got `int`"),
        (route_group({"name": "a", "headers": [{"b:": "c"}]}), "Expected `str` matching regex"),
        (route_group({"name": "a", "methods": ["G T"]}), "spec.matches[0].methods[0]: Expected `str` matching regex"),
        (route_group({"pathRegex": "/b"}), "spec.matches[0]: Object missing required field `name`"),
        (tcp_route(0), "spec.matches.ports[0]: Expected `int` >= 1"),
        (split(v1=-1), "spec.backends[0].weight: Expected `int` >= 0"),
        (split(v1=1_000_001), "spec.backends[0].weight: Expected `int` <= 1000000"),
        (split(service="Shop"), "spec.service: Expected `str` matching regex"),
        ("{kind: Pod}", "document 1: apiVersion: expected a string, got NoneType"),
        ("just expected", "document 1: the document: expected an object, got str"),
        ("{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: 1}]}", "document 1: items[0].kind: expected"),
        (f"{namespace()}\n---\na: [", "document 2, line 3: while parsing a flow"),
        (f"{namespace()}\n---\na: *b", "document 2, line 3: the alias *b has no anchor before it"),
        (f"{namespace()}\n---\na: !!python/object:os.x {{}}", "document 2, line 3: the tag '!!python/object:os.x'"),
        (f"{namespace()}\n---\na: !!bool maybe", "document 2, line 3: 'maybe' is not of the type !!bool"),
        ("\x00", "document 1, line 1: the character #x0000 is not permitted"),
    ],
)
def test_an_error_names_the_document_and_the_field(text: str, expected: str) -> None:
    assert expected in error_in(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "document 1: not JSON: Input data was truncated"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "document 1: the key 'b' is defined twice in one object"),
        (
            '{"kind": "Pod", "apiVersion": "v1", "x": ' + "9" * 5000 + "}",
            "document 1: not JSON: Integer value out of range",
        ),
        ('{"a": "\\ud800"}', "document 1: "),
        ("\ufeff{}", "document 1: not JSON: JSON is malformed"),
    ],
)
def test_invalid_json_is_an_error(text: str, expected: str) -> None:
    assert error_in(text, "x.json").startswith(expected)


def test_json_keeps_null_as_unset() -> None:
    assert objects(slice_of(ports=None, endpoints=None), "x.json") == objects(slice_of(ports=[], endpoints=[]))


def alias_bomb() -> str:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 40)]
    return "\n".join(["apiVersion: v1", "kind: Pod", "l0: &l0 [x]", *levels])


def wide_alias_bomb() -> str:
    parts: dict[str, Any] = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "a"}}
    head = json.dumps(parts)[:-1]
    many = ", ".join(["*a"] * 5000)
    again = ", ".join(["*s"] * 5000)
    return f"{head}, x: &a {{ip: 10.0.0.1}}, y: &s {{addresses: [{many}]}}, subsets: [{again}]}}"


@pytest.mark.parametrize("text", [alias_bomb(), wide_alias_bomb()])
def test_aliases_that_expand_too_much_are_an_error(text: str) -> None:
    assert "the text has more than 1000000 nodes, its aliases expanded" in error_in(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep_yaml_does_not_crash_the_process(text: str) -> None:
    assert error_in(text) == "document 1, line 1: nested too deep: more than 64 levels"


def test_deep_json_does_not_crash_the_process() -> None:
    assert error_in("[" * 100_000 + "]" * 100_000, "x.json") == "document 1: nested too deep"


@pytest.mark.parametrize("target", ["1", "65535", "web", "fifteen-letters", "8a"])
def test_a_target_port_is_a_number_or_a_port_name(target: str) -> None:
    assert len(objects(service({"port": 80, "targetPort": target}))) == 1


def test_five_seconds_is_a_valid_certificate_validity() -> None:
    assert len(objects(mesh_config({"certificate": {"serviceCertValidityDuration": "5s"}}))) == 1


def test_an_object_of_the_api_server_is_decoded_like_one_of_a_file() -> None:
    decoded = object_decoder(Pod)(pod().encode())
    assert decoded is not None
    assert (decoded.spec.service_account_name, decoded.status.pod_ip) == ("seller", "10.42.0.1")


def test_null_means_unset_in_an_object_of_the_api_server() -> None:
    # The API server writes an empty EndpointSlice like this.
    content = json.loads(slice_of()) | {"endpoints": None, "ports": None}
    decoded = object_decoder(EndpointSlice)(json.dumps(content).encode())
    assert decoded is not None
    assert (decoded.endpoints, decoded.ports) == ([], [])


def test_an_endpoint_slice_of_dns_names_is_skipped() -> None:
    content = json.loads(slice_of({"addresses": ["example.com"]})) | {"addressType": "FQDN"}
    assert object_decoder(EndpointSlice)(json.dumps(content).encode()) is None


def test_an_error_in_an_object_of_the_api_server_names_the_field() -> None:
    content = mesh_config({"certificate": {"serviceCertValidityDuration": "soon"}}).encode()
    with pytest.raises(ManifestError, match=r"spec.certificate.serviceCertValidityDuration: 'soon'"):
        object_decoder(MeshConfig)(content)


def warnings_about(text: str) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        assert objects(text)
    return [line for line in lines if line["log_level"] == "warning"]


def test_an_unquoted_yes_where_a_text_is_expected_is_a_text_and_kubectl_s_refusal_is_logged_once() -> None:
    text = "{apiVersion: v1, kind: Pod, metadata: {name: a,\nlabels: {a: yes,\nb: off}}}"
    (found,) = objects(text)
    assert found.metadata.labels == {"a": "yes", "b": "off"}
    (line,) = warnings_about(text)
    assert line["event"].startswith("kubectl would refuse a manifest: it reads an unquoted yes, no, on, off")
    assert (line["manifest"], line["document"], line["lines"]) == ("x.yaml", 1, "2: yes, 3: off")


def test_an_unquoted_yes_where_a_boolean_is_expected_is_one_as_for_kubectl() -> None:
    text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostNetwork: yes}}"
    (found,) = objects(text)
    assert isinstance(found, Pod)
    assert found.spec.host_network
    assert not warnings_about(text)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("{hostNetwork: yes, serviceAccountName: A/B}", "serviceAccountName"), ("{hostNetwork: soon, x: yes}", "hostN")],
)
def test_the_error_of_a_manifest_with_an_unquoted_yes_is_about_the_fault(spec: str, expected: str) -> None:
    assert expected in error_in(f"{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {spec}}}")


def test_a_quoted_yes_is_a_text() -> None:
    assert not warnings_about('{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {a: "yes"}}}')


def test_merge_keys_are_followed() -> None:
    base = "{apiVersion: v1, kind: Pod, metadata: {name: a}, x: &x {serviceAccountName: b, hostNetwork: true}"
    (found,) = objects(base + ", spec: {<<: *x, hostNetwork: false}}")
    assert isinstance(found, Pod)
    assert (found.spec.service_account_name, found.spec.host_network) == ("b", False)


def test_an_error_text_is_short_and_one_line() -> None:
    text = document(
        "MeshConfig", version="config.openservicemesh.io/v1alpha2", spec={"sidecar": {"logLevel": "\n" * 9999}}
    )
    assert len(error_in(text)) < 600
    assert error_in(text).isprintable()


@pytest.mark.parametrize("error", [RecursionError(), KeyError("x"), OverflowError("y")])
def test_whatever_a_text_raises_is_a_manifest_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    # No text is known that raises them: the fuzzers in tests/fuzz look for one.
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(msgspec, "convert", fail)
    assert error_in(pod()).startswith("document 1: ")
    with pytest.raises(ManifestError):
        object_decoder(Pod)(json.dumps({"apiVersion": None}).encode())


def test_a_deep_object_of_the_api_server_is_an_error() -> None:
    # Custom resources may have any depth below an unknown field.
    deep = '{"metadata": {"name": "a"}, "x": ' + "[" * 5000 + "]" * 5000 + "}"
    with pytest.raises(ManifestError, match="nested too deep"):
        object_decoder(HTTPRouteGroup)(deep.encode())


def test_json_that_is_not_utf_8_is_an_error() -> None:
    with pytest.raises(ManifestError, match="document 1: not JSON: 'utf-8' codec can't decode byte 0x80"):
        read_objects(Path("x.json"), b'"\x80"')


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'"\x80"', b'{"metadata": {"name": "a"}, "x": [}'])
def test_content_that_is_not_an_object_is_an_error(content: bytes) -> None:
    with pytest.raises(ManifestError, match="not"):
        object_decoder(Pod)(content)
