#!/bin/sh
# node_init.sh STATE NAME PAUSE - the first process of a test's node, in new namespaces. It mounts private versions of the
# paths that are hard-coded in kubelet, containerd and CNI plugins, and then executes PAUSE, which reaps orphans.
set -eu
state=$1 name=$2 pause=$3

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
for folder in lib/kubelet lib/cni log; do
  mkdir -p "/var/$folder" "$state/var/$folder"
  mount --bind "$state/var/$folder" "/var/$folder"
done
mount -t proc proc /proc

umount -R -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$controller"
  mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd

# kubelet would change these settings for the whole machine. Files with the expected values hide the real ones from it.
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
# Volumes that kubelet mounts must propagate to the containers.
mount --make-rshared /

hostname "$name"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Replies to calls through a Service's address cross the bridge, where iptables must translate them back.
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true
ulimit -n "$(ulimit -Hn)"
: >"$state/ready"
exec "$pause"
