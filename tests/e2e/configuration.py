"""Addresses and files -> the configuration of the node's programs: containerd, CNI, kubelet, kube-proxy."""

from pathlib import Path
from typing import Any, Final

NODE: Final = "node1"
NODE_ADDRESS: Final = "10.200.0.1"
POD_RANGE: Final = "10.201.0.0/24"
DNS_ADDRESS: Final = "10.96.0.10"
PAUSE_IMAGE: Final = "localhost/pause:1"
CONTAINERD: Final = "/run/containerd/containerd.sock"
Json = dict[str, Any]


def containerd(state: Path) -> str:
    """The configuration of containerd, in TOML."""
    return f"""
version = 2
root = "{state}/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Inside a container, the OOM score cannot be lowered as far as kubelet requests.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def pod_network() -> Json:
    """The CNI configuration: pods are connected to a bridge without a route to the outside."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def kubelet(state: Path, pki: Path) -> Json:
    """KubeletConfiguration."""
    resolver = state / "resolv.conf"
    resolver.write_text(f"nameserver {DNS_ADDRESS}\n")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        # Changed Secrets are in their volumes after a few seconds instead of a minute.
        "syncFrequency": "5s",
        "resolvConf": str(resolver),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        # A machine with little free disk or memory must not cause evictions.
        "evictionHard": dict.fromkeys(
            (
                "memory.available",
                "nodefs.available",
                "nodefs.inodesFree",
                "imagefs.available",
                "imagefs.inodesFree",
            ),
            "0%",
        ),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def kube_proxy(kubeconfig: Path) -> Json:
    """KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": NODE,
        "clusterCIDR": POD_RANGE,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        # 0: leave the machine's connection tracking settings unchanged.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
