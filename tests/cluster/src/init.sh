#!/bin/bash
# The first process of a machine of the test cluster: `init.sh join|boot FOLDER NAME NETNS CGROUP`.
# `join` enters the machine's control groups and makes its namespaces; `boot`, inside, mounts what a
# machine has for itself and then starts what it is told to through the pipe FOLDER/control.
#
# A PID namespace of its own makes an end certain: when this process dies, the kernel kills everything
# the machine runs, pods included, and unmounts what only they saw.
set -eu
folder=$2 name=$3 netns=$4 cgroup=$5

# type, mount point and options of each hierarchy of control groups
hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $3, $2, $4 }' "$1"; }

if [ "$1" = join ]; then
  hierarchies /proc/mounts | while read -r type point _; do
    top=$point/$cgroup
    mkdir -p "$top"
    if [ -e "$top/cgroup.clone_children" ] && [ -e "$top/cpuset.cpus" ]; then
      # A new set of processors is empty, and an empty one takes no process.
      cat "$point/cpuset.cpus" >"$top/cpuset.cpus"
      cat "$point/cpuset.mems" >"$top/cpuset.mems"
      echo 1 >"$top/cgroup.clone_children"
    fi
    if [ "$type" = cgroup2 ]; then
      for controller in $(cat "$top/cgroup.controllers"); do
        echo "+$controller" >"$top/cgroup.subtree_control"
      done
    fi
    mkdir -p "$top/$name"
    echo $$ >"$top/$name/cgroup.procs"
  done
  exec nsenter --net="/run/netns/$netns" unshare --mount --uts --ipc --cgroup --pid --fork \
    --kill-child bash "$0" boot "${@:2}"
fi

mount --make-rprivate /
mount -t proc proc /proc
hostname "$name"

# /sys shows the network devices of the namespace that mounts it.
list=$(hierarchies /proc/mounts)
mount -t sysfs sysfs /sys
case $list in
  cgroup2\ /sys/fs/cgroup\ *) ;;
  *) mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup ;;
esac
while read -r type point options; do
  mkdir -p "$point"
  if [ "$type" = cgroup2 ]; then
    mount -t cgroup2 cgroup2 "$point"
    # A group that has processes of its own gives no controllers to those below.
    mkdir -p "$point/init"
    echo 0 >"$point/init/cgroup.procs"
    for controller in $(cat "$point/cgroup.controllers"); do
      echo "+$controller" >"$point/cgroup.subtree_control"
    done
  else
    controllers=$(tr , '\n' <<<"$options" | grep -vxE 'rw|relatime|nosuid|nodev|noexec|xattr|release_agent=.*' | paste -sd,)
    case $controllers in name=*) controllers=none,$controllers ;; esac
    mount -t cgroup -o "$controllers" cgroup "$point"
  fi
done <<<"$list"
mount -t bpf -o mode=700 bpffs /sys/fs/bpf

mkdir -p "$folder"/{etc/upper,etc/work,lib,log/var,opt}
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc/upper,workdir=$folder/etc/work" overlay /etc
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/log/var" /var/log
mount --bind "$folder/opt" /opt
mount -t tmpfs -o mode=755 tmpfs /run

# What kubelet would set for the whole kernel is shown to it as already set.
while read -r file value; do
  shown=/run/sysctl-$(basename "$file")
  echo "$value" >"$shown"
  mount --bind "$shown" "/proc/sys/$file"
done <<'END'
kernel/keys/root_maxbytes 25000000
kernel/keys/root_maxkeys 1000000
kernel/panic 10
kernel/panic_on_oops 1
vm/overcommit_memory 1
vm/panic_on_oom 0
END
# Pods with mount propagation need a shared tree to propagate in; it is shared with nobody outside.
mount --make-rshared /

rm -f "$folder/control"
mkfifo -m 600 "$folder/control"
exec 3<>"$folder/control"
touch "$folder/ready"
# One that fails by itself is started again, as on every machine with a service manager: a kubelet that
# is faster than its runtime, for example. One that a signal ends stays down.
run() {
  exec 3<&-
  local code=1
  while [ "$code" -gt 0 ] && [ "$code" -lt 126 ]; do
    code=0
    "$folder/services/$1" || code=$?
    sleep 1
  done
}
while read -r service <&3; do
  run "$service" >>"$folder/log/$service.log" 2>&1 &
done
