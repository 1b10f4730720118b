# SPDX-License-Identifier: Apache-2.0
"""vagrant: the machine's description is valid, and its provisioning is the set-up that `make check` runs."""
import os
import shutil
import subprocess

from lib.case import check, equal
from lib.process import need, run, scratch

SUBJECTS = ("phoenix",)
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def test_vagrantfile_is_valid(_env):
    """Without a provider installed: what a provider would say about its own block is not asked."""
    home = scratch()
    done = subprocess.run([need("vagrant"), "validate", "--ignore-provider"], cwd=os.path.join(ROOT, "vagrant"), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, VAGRANT_HOME=home, VAGRANT_DOTFILE_PATH=os.path.join(home, "dot"), HOME=home,
                                   VAGRANT_CHECKPOINT_DISABLE="1"))
    equal(done.returncode, 0, done.stdout)
    shutil.rmtree(home)


def test_provisioning_is_the_common_setup(_env):
    """Where all is installed it does nothing, offline, and says whether the kernel will do."""
    status, out, err = run(os.path.join(ROOT, "vagrant/provision.sh"), timeout_s=55)
    equal(status, 0, out + err)
    check(f"Linux {os.uname().release}" in out, out)
