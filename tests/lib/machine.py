# SPDX-License-Identifier: Apache-2.0
"""
machine: this machine once more, with a systemd of its own, to see units, sandboxes and packages as a real host runs them.

The root is this system's, below an overlay in memory: what is installed or written there is gone afterwards. systemd is
process 1 of new pid, mount, ipc, uts and cgroup namespaces, in the network namespace of whoever calls; /sys is read-only, so
that nothing looks after devices; bpffs is a new one, mode 700 as systemd mounts it. It ends with the process that started it.
"""
import os
import re
import shutil
import signal
import subprocess

from .net import wait_for
from .process import Process, Skip, need, scratch

TARGET = "phoenix-test.target"

BOOT = r"""
set -e
R=$1; shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$R"
mkdir "$R/upper" "$R/work" "$R/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$R/upper",workdir="$R/work" "$R/root"
cd "$R/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm run/old
mount -t devpts -o newinstance devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for folder in "$@"; do mkdir -p "./$folder"; mount --bind "$folder" "./$folder"; done
mkdir -p run/systemd/system
rm -rf etc/systemd/system var/log/journal
mkdir etc/systemd/system
printf '[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\n' >run/systemd/system/phoenix-test.target
: >etc/fstab
pivot_root . run/old
umount -l /run/old
exec env -i container=phoenix-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=phoenix-test.target \
	--log-target=null --show-status=0
"""


class Machine:
    """`folders` (below /tmp, say) are seen inside under the same name."""

    def __init__(self, *folders):
        if os.geteuid():
            raise Skip("systemd in namespaces of its own needs root")
        if not os.path.exists("/lib/systemd/systemd"):
            raise Skip("systemd is not installed")
        self.cgroup = self._cgroup()
        self.directory = scratch()
        self.root = os.path.join(self.directory, "root")
        os.mkdir(self.root)
        self.process = Process([need("unshare"), "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child",
                                "--propagation", "private", "bash", "-c", BOOT, "boot", self.root, *folders], self.directory)
        self._start()

    @staticmethod
    def _cgroup():
        with open("/proc/self/mounts") as mounts:
            places = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
        if not places:
            raise Skip("there is no cgroup2 file system")
        for name in os.listdir(places[0]):  # of a test that was killed
            owner = re.match(r"phoenix-test-(\d+)$", name)
            if owner and not os.path.exists(f"/proc/{owner[1]}"):
                Machine._remove(os.path.join(places[0], name))
        path = os.path.join(places[0], f"phoenix-test-{os.getpid()}")
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise Skip(f"no control group can be made: {error.strerror}") from None
        return path

    @staticmethod
    def _remove(cgroup):
        """True when it could be: nobody is in it any more."""
        for folder, _, _ in os.walk(cgroup, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
        return True

    def _start(self):
        with open("/proc/self/cgroup") as file:
            here = next(line.split(":", 2)[2].strip() for line in file if line.startswith("0::"))
        procs = os.path.join(os.path.dirname(self.cgroup), here.lstrip("/"), "cgroup.procs")
        with open(os.path.join(self.cgroup, "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))
        try:
            self.process.start()
            self.init = None
            wait_for("systemd being process 1", self._find_init, 15)
        finally:
            with open(procs, "w") as file:
                file.write(str(os.getpid()))
        wait_for("systemd having started", lambda: self.run("systemctl", "is-active", TARGET, check=False) == "active\n", 20)

    def _find_init(self):
        if not self.process.alive():
            raise Skip("systemd cannot be started here: " + self.process.log().strip()[-300:])
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            children = file.read().split()
        for child in children:
            with open(f"/proc/{child}/comm") as file:
                if file.read() == "systemd\n":
                    self.init = child
        return self.init

    def run(self, *args, check=True, timeout_s=40, env=None):
        """Runs a program inside; its stdout and stderr."""
        done = subprocess.run([need("nsenter"), "-t", self.init, "-n", "-m", "-p", "-u", "-i", "-C", "--", "sh", "-c",
                               'cd / && exec "$@"', "sh", *map(str, args)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout_s, env=env)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout[-3000:]}")
        return done.stdout

    def write(self, path, text):
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"', "write", path, text)

    def show(self, unit, name):
        return self.run("systemctl", "show", "-p", name, "--value", unit).strip()

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False)

    def stop(self):
        if self.process.alive():
            self.process.child.send_signal(signal.SIGKILL)  # unshare ignores SIGTERM; --kill-child ends the rest
        self.process.end()

        wait_for("the control group being empty", lambda: self._remove(self.cgroup), 15)
        shutil.rmtree(self.directory, ignore_errors=True)
