#!/bin/sh
# Look for a way out of a container, as the usual enumerators do; each line that begins with USABLE is one.
# test_kernel_enumerators.py runs this inside sessions, where it must find nothing.
say() { echo "USABLE $*"; }

# who
[ "$(id -u)" = 0 ] && say "uid 0"
id -G | tr ' ' '\n' | grep -qx 0 && say "group 0"
[ "$(id -G | wc -w)" -gt 1 ] && say "groups $(id -G)"
grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | grep -v 0000000000000000 | while read -r line; do
    say "capabilities $line"
done
grep -q '^NoNewPrivs:.0' /proc/self/status && say "new privileges"
grep -q '^Seccomp:.[01]' /proc/self/status && say "no seccomp"

# sockets of engines, buses, agents, displays
for path in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock \
    /run/crio/crio.sock /run/dbus/system_bus_socket /run/user /tmp/.X11-unix /run/systemd/private \
    /var/run/secrets/kubernetes.io/serviceaccount/token /var/lib/kubelet; do
    [ -e "$path" ] && say "path $path"
done
grep -E '@' /proc/net/unix 2>/dev/null | grep -E 'containerd-shim|systemd|X11|dbus' | while read -r line; do
    say "abstract socket $line"
done
for name in DOCKER_HOST SSH_AUTH_SOCK KUBERNETES_SERVICE_HOST DISPLAY GPG_AGENT_INFO AWS_SECRET_ACCESS_KEY; do
    printenv "$name" >/dev/null && say "variable $name"
done
cat /proc/*/environ 2>/dev/null | tr '\0' '\n' | grep -iE '(secret|token|passw|api_?key|credential)' | while read -r line; do
    say "secret $line"
done

# devices, disks, mounts
for path in /dev/sd? /dev/vd? /dev/nvme?n? /dev/xvd? /dev/mem /dev/kmem /dev/kmsg /dev/fuse /dev/kvm /dev/net/tun \
    /dev/loop-control /dev/mapper/control /dev/vhost-net /dev/vsock /dev/userfaultfd /dev/port; do
    [ -e "$path" ] && say "device $path"
done
command -v fdisk >/dev/null && fdisk -l 2>/dev/null | grep '^Disk /' | while read -r line; do say "disk $line"; done
cut -d' ' -f4 /proc/self/mountinfo | grep -E '^/(home|root|Users)/' | while read -r line; do say "path of a person $line"; done
awk '$5 ~ /(docker|containerd|crio)\.sock|^\/host/' /proc/self/mountinfo | while read -r line; do say "mount $line"; done
awk '{ split($0, half, " - "); split(half[1], left, " "); split(half[2], right, " ");
    if (right[1] ~ /ext4|xfs|btrfs|overlay|9p|virtiofs|nfs/ && left[6] ~ /(^|,)rw/ && left[5] != "/workspace")
        print left[5] }' /proc/self/mountinfo | while read -r place; do
    [ -w "$place" ] && say "writable mount $place"
done

# settings of the kernel
for path in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/fs/binfmt_misc/register \
    /proc/sys/vm/panic_on_oom /proc/sys/net/ipv4/conf/all/route_localnet /proc/sysrq-trigger /sys/kernel/uevent_helper \
    /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/cgroup.procs \
    /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/devices/devices.allow /sys/power/state /sys/kernel/mm/hugepages \
    /proc/1/mem /proc/1/root/etc/passwd /etc/hosts /etc/resolv.conf /etc/passwd /etc/ld.so.preload; do
    [ -w "$path" ] && say "writable $path"
done
for path in /proc/kcore /proc/kallsyms /proc/keys /proc/timer_list /proc/sched_debug /proc/acpi /proc/scsi /proc/cmdline \
    /sys/firmware/acpi /sys/kernel/debug /sys/kernel/security /sys/kernel/tracing /sys/class/dmi/id; do
    if [ -d "$path" ]; then [ -n "$(ls -A "$path" 2>/dev/null)" ] && say "readable $path"
    elif [ -f "$path" ] && [ -n "$(head -c 1 "$path" 2>/dev/null)" ]; then say "readable $path"; fi
done

# namespaces of the first ones (linux/proc_ns.h, PROC_*_INIT_INO)
for pair in uts:4026531838 ipc:4026531839 pid:4026531836 cgroup:4026531835; do
    [ "$(readlink "/proc/self/ns/${pair%%:*}")" = "${pair%%:*}:[${pair##*:}]" ] && say "first namespace of ${pair%%:*}"
done
[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 40 ] && say "processes of others"
sed 1,2d /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -vx lo | while read -r name; do say "interface $name"; done
sed 1d /proc/net/route 2>/dev/null | while read -r line; do say "route $line"; done
grep -q '^nameserver' /etc/resolv.conf 2>/dev/null && say "resolver"
grep -vE '^(#|$|127\.|::1|f[ef]0[02]?::)' /etc/hosts 2>/dev/null | while read -r line; do say "host $line"; done

# tools and tricks
unshare -Ur true 2>/dev/null && say "user namespace"
unshare -m true 2>/dev/null && say "mount namespace"
mount -t tmpfs none /mnt 2>/dev/null && say "mount"
mknod /tmp/probe-device b 8 0 2>/dev/null && { head -c 1 /tmp/probe-device 2>/dev/null | grep -q . && say "device made"; rm -f /tmp/probe-device; }
command -v capsh >/dev/null && capsh --has-p=cap_sys_admin 2>/dev/null && say "capsh sys_admin"
command -v sudo >/dev/null && sudo -n true 2>/dev/null && say "sudo"
cp "$(command -v id)" /tmp/probe-id 2>/dev/null && chmod 6755 /tmp/probe-id 2>/dev/null &&
    [ "$(/tmp/probe-id -u)" = 0 ] && say "setuid"
rm -f /tmp/probe-id
find / -xdev -perm -4000 -type f 2>/dev/null | while read -r path; do
    "$path" --version >/dev/null 2>&1; grep -q '^Uid:.*[^0-9]0[^0-9]' /proc/self/status && say "setuid $path"
done
ls -l /proc/self/fd 2>/dev/null | grep -E ' -> /(proc|sys|home|root|var/lib/docker)' | grep -v '/proc/[0-9]*/fd' |
    while read -r line; do say "descriptor $line"; done
[ "$(readlink /proc/self/cwd)" = "$(pwd -P)" ] || say "working folder outside"
command -v python3 >/dev/null && python3 - <<'END'
import socket
for family, address in ((2, ('169.254.169.254', 80)), (2, ('100.100.100.200', 80)), (2, ('172.17.0.1', 2375)),
                        (2, ('127.0.0.1', 2375)), (2, ('127.0.0.1', 10250)), (2, ('192.0.2.1', 53))):
    try:
        wire = socket.socket(family, socket.SOCK_STREAM)
        wire.settimeout(0.5)
        wire.connect(address)
        print('USABLE address', address)
    except OSError as error:
        if error.errno in (None, 110): print('USABLE route to', address)
END
echo searched
