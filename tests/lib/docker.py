# SPDX-License-Identifier: Apache-2.0
"""
docker: a Docker daemon of the tests' own: its data, sockets and processes in a folder of its own, no bridge and no
packet filter touched, containers on the host's loopback. Images are built FROM scratch or from files of this
machine that `docker import` takes: no registry is asked.
"""
import os
import re
import shutil
import subprocess
import tarfile
import time

from .net import wait_for
from .process import Process, Skip, need, run, scratch


class Dockerd(Process):
    def __init__(self):
        for program in ("dockerd", "docker", "docker-compose"):
            need(program)
        if os.geteuid() != 0:
            raise Skip("dockerd needs root")
        directory = scratch()
        self.socket = os.path.join(directory, "docker.sock")
        self.host = f"unix://{self.socket}"
        self.env_of_clients = {"DOCKER_HOST": self.host}
        super().__init__([need("dockerd"), "--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec",
                          "--pidfile", f"{directory}/pid", "-H", self.host, "--bridge=none", "--iptables=false",
                          "--ip6tables=false", "--ip-masq=false"], directory)

    def start(self):
        super().start()
        try:
            wait_for("dockerd", lambda: not self.alive() or self.docker("version")[0] == 0, 30, 0.2)
        except AssertionError:
            pass
        if not self.alive() or self.docker("version")[0] != 0:
            reason = self.log().strip().splitlines()[-1:] or ["no message"]
            self.stop()
            raise Skip(f"dockerd does not start here: {reason[0][-200:]}")
        return self

    def docker(self, *args, timeout_s=60):
        return run("docker", *args, timeout_s=timeout_s, env=dict(os.environ, **self.env_of_clients))

    def again(self):
        """After kill()."""
        for name in ("pid", "exec/containerd/containerd.pid"):
            try:
                os.unlink(os.path.join(self.directory, name))
            except FileNotFoundError:
                pass
        Process.start(self)
        wait_for("dockerd", lambda: self.docker("version")[0] == 0, 40, 0.2)

    def containers(self, label=""):
        code, out, err = self.docker("ps", "-a", "--format", "{{.ID}} {{.Image}} {{.State}} {{.Names}}",
                                     *(["--filter", f"label={label}"] if label else []))
        return [line.split() for line in out.splitlines()]

    def import_image(self, name, paths):
        """An image of files of this machine and the shared libraries they need."""
        found = set()
        for path in paths:
            found.add(path)
            if os.path.isfile(path):
                code, out, err = run("ldd", path)
                found.update(re.findall(r"(/[^ ]+) \(0x", out))
        archive = os.path.join(self.directory, "image.tar")
        with tarfile.open(archive, "w") as tar:
            for path in sorted(found):
                real = os.path.realpath(path)
                if os.path.isdir(path):
                    tar.add(path, path, filter=lambda t: None if "__pycache__" in t.name or "/test" in t.name else t)
                else:
                    tar.add(real, path)
        code, out, err = self.docker("import", archive, name, timeout_s=120)
        os.unlink(archive)
        if code:
            raise AssertionError(f"docker import: {err}")

    def stop(self):
        if self.alive():
            ids = self.docker("ps", "-aq")[1].split()
            if ids:
                self.docker("rm", "-f", *ids)
        self.end(20)
        code, out, err = run("findmnt", "-rno", "TARGET")
        for target in sorted((t for t in out.splitlines() if t.startswith(self.directory + "/")), reverse=True):
            run("umount", "-l", target)
        self.remove()
