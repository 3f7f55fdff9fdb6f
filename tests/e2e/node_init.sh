#!/bin/sh
# node_init.sh STATE NAME PAUSE - the first process of a test's node, in namespaces of its own: it makes the places that
# kubelet, containerd and CNI plugins hold to be fixed the node's own, then only reaps.
set -eu
state=$1 name=$2 pause=$3

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
for each in lib/kubelet lib/cni log; do
  mkdir -p "/var/$each" "$state/var/$each"
  mount --bind "$state/var/$each" "/var/$each"
done
mount -t proc proc /proc

umount -R -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for each in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$each"
  mount -t cgroup -o "$each" cgroup "/sys/fs/cgroup/$each"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd

# kubelet would set these for the whole machine: it is shown that they are set.
while read -r setting value; do
  shown=/run/$(echo "$setting" | tr / -)
  echo "$value" >"$shown"
  mount --bind "$shown" "/proc/sys/$setting"
done <<EOF_SETTINGS
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
EOF_SETTINGS
# Volumes that kubelet mounts must reach containers.
mount --make-rshared /

hostname "$name"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Calls of one pod to another by a Service's address pass the bridge: its replies must be translated back.
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true
ulimit -n "$(ulimit -Hn)"
: >"$state/ready"
exec "$pause"
