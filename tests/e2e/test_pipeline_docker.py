# SPDX-License-Identifier: Apache-2.0
"""
pipeline_docker: the deployer with real docker-compose and a Docker daemon of the test's own.

    phoenixd ─▶ docker-compose ─▶ dockerd (own data, no bridge) ─▶ containers on 127.0.0.1
"""
import json
import os
import re
import shutil
import signal
import time

from lib.case import Bench, check, equal, timeout
from lib.docker import Dockerd
from lib.net import ask, free_port, wait_for
from lib.pipeline import Rig, SERVICE, answer_of, log_of
from lib.process import Skip, built, run

SUBJECTS = ("phoenix",)

C_SERVICE = r'''
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void on_end(int n) { _exit(0); }
static int count;
static void *serve(void *p)
{
	int fd = (int)(long)p;
	char b[8192], path[4096];
	size_t n = 0;
	ssize_t k;
	while ((k = read(fd, b + n, sizeof(b) - 1 - n)) > 0) {
		b[n += k] = 0;
		if (!strstr(b, "\r\n\r\n"))
			continue;
		n = 0;
		sscanf(b, "%*s %4000s", path);
		if (CRASH && strcmp(path, "/healthz") && ++count > 10)
			_exit(9);
		char body[4200], head[256];
		int len = sprintf(body, "{\"path\": \"%s\", \"v\": %d}", path, VALUE);
		int h = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len);
		if (write(fd, head, h) < 0 || write(fd, body, len) < 0)
			break;
	}
	close(fd);
	return 0;
}
int main(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
	signal(SIGTERM, on_end);
	signal(SIGPIPE, SIG_IGN);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(s, (void *)&a, sizeof a)) {
		perror("bind");
		return 1;
	}
	listen(s, 128);
	puts("the service listens");
	fflush(stdout);
	for (;;) {
		pthread_t t;
		int c = accept(s, 0, 0);
		if (c >= 0 && pthread_create(&t, 0, serve, (void *)(long)c) == 0)
			pthread_detach(t);
	}
}
'''

NODE_SERVICE = '''
require("http").createServer((req, res) => {
  const body = JSON.stringify({path: req.url, v: 1});
  res.writeHead(200, {"Content-Type": "application/json", "Content-Length": Buffer.byteLength(body)});
  res.end(body);
}).listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
'''


def setup():
    env = Bench()
    env.dockerd = env.own(Dockerd())
    os.environ["DOCKER_HOST"] = env.dockerd.host  # for the gateway and its children
    env.dockerd.start()
    env.rig = env.own(Rig())
    return env


def c_spec(env, id, value=1, crash=0, **more):
    code = f"#define VALUE {value}\n#define CRASH {crash}\n" + C_SERVICE
    spec = env.rig.spec(id, deploy={"kind": "docker"}, deadline={"healthy_ms": 20000}, **more)
    spec["service"].update({"source": {"files": {"service.c": code}}, "language": "c"})
    del spec["service"]["command"]
    return spec


def ours(env, id):
    return [c for c in env.dockerd.containers(f"phoenix.migration={id}")]


@timeout(150)
def test_c_from_scratch_to_the_end(env):
    """An existing docker-compose.yml with somebody else's service: only ours is added, theirs runs on."""
    rig = env.rig
    project = os.path.join(rig.gw.directory, "project")
    os.makedirs(project)
    theirs = os.path.join(project, "theirs")
    os.makedirs(theirs)
    with open(os.path.join(theirs, "s.c"), "w") as file:
        file.write("#define VALUE 7\n#define CRASH 0\n" + C_SERVICE)
    equal(run("cc", "-static", "-pthread", "-o", f"{theirs}/service", f"{theirs}/s.c")[0], 0)
    with open(os.path.join(theirs, "Dockerfile"), "w") as file:
        file.write('FROM scratch\nCOPY service /service\nCMD ["/service"]\n')
    port = free_port()
    text = (f'# the shop\nservices:\n  legacy:  # do not touch\n    build: ./theirs\n    network_mode: host\n'
            f'    environment: {{PORT: "{port}"}}\n\n# nothing else\n')
    path = os.path.join(project, "docker-compose.yml")
    with open(path, "w") as file:
        file.write(text)
    code, out, err = run("docker-compose", "-p", "shop", "-f", path, "up", "-d", timeout_s=90)
    equal(code, 0, err)
    before = [c for c in env.dockerd.containers("com.docker.compose.project=shop")]
    spec = c_spec(env, "shop")
    spec["deploy"].update({"directory": project, "project": "shop"})
    spec["route"]["legacy_url"] = rig.legacy.url
    code, out, err = rig.migrate(spec, timeout_s=140)
    equal(code, 0, f"exit\n{out}{err}")
    check("Successfully built" in out or "naming to" in out, "the build's output, live", out)
    with open(path) as file:
        now = file.read()
    check(now.startswith(text[:text.index("\n# nothing else")]) and now.endswith("\n# nothing else\n"),
          "everything else is byte for byte", now)
    check('  shop:\n' in now and 'image: "phoenix-shop:1"' in now, now)
    containers = ours(env, "shop")
    equal([c[1:3] for c in containers], [["phoenix-shop:1", "running"]], "our container")
    equal(rig.gw.ask("GET", "/shop/3").json(), {"path": "/shop/3", "v": 1})
    after = [c for c in env.dockerd.containers("com.docker.compose.project=shop") if c[0] != containers[0][0]]
    equal(after, before, "the other container")
    equal(ask(("127.0.0.1", port), "GET", "/x").json()["v"], 7)
    equal(env.dockerd.containers("com.docker.compose.project=shop-trial"), [], "the trial's container is gone")
    # Undone, the file is what it was.
    rig.admin.ok("POST", "/admin/routes/shop/rollback", {"reason": "a test"})
    equal(rig.admin.request("DELETE", "/admin/migrations/shop").status, 202)
    wait_for("it being forgotten", lambda: not rig.known("shop"), 60)
    with open(path) as file:
        equal(file.read(), text, "docker-compose.yml after undoing")
    equal(ours(env, "shop"), [])
    equal([c for c in env.dockerd.containers("com.docker.compose.project=shop")], before, "the other container")


@timeout(150)
def test_former_container_comes_back(env):
    """Release 1 is deployed; release 2 crashes after ten requests: its last words are told, release 1 runs again."""
    rig = env.rig
    spec = c_spec(env, "former", verify=[])
    code, out, err = rig.ctl("deploy", rig.write(spec), "--timeout", "100s", timeout_s=110)
    equal(code, 0, f"exit\n{out}{err}")
    equal([c[1:3] for c in ours(env, "former")], [["phoenix-former:1", "running"]])
    with open(os.path.join(rig.work, "deploy", "docker-compose.yml")) as file:
        first = file.read()
    spec["service"]["source"]["files"]["service.c"] = "#define VALUE 1\n#define CRASH 1\n" + C_SERVICE
    code, out, err = rig.migrate(spec, timeout_s=140)
    equal(code, 10, f"exit\n{out}{err}")
    item = rig.get("former")
    check(item["failed_in"] in ("mirror", "migrate"), item["failed_in"])
    check("the service ended by itself" in item["reason"] or "exit status 9" in item["reason"], item["reason"])
    check("service: the service listens" in log_of(item), "the container's last lines", log_of(item))
    equal([c[1:3] for c in ours(env, "former")], [["phoenix-former:1", "running"]])
    equal(answer_of(spec, "/former/1")["v"], 1)
    with open(os.path.join(rig.work, "deploy", "docker-compose.yml")) as file:
        equal(file.read(), first, "docker-compose.yml")
    equal(rig.admin.weight("former")["set"], 0.0)


@timeout(150)
def test_python_from_an_imported_image(env):
    env.dockerd.import_image("local/python:1", ["/usr/bin/python3", "/usr/lib/python3.11" if os.path.isdir("/usr/lib/python3.11")
                                                else os.path.dirname(os.__file__)])
    spec = env.rig.spec("py", deploy={"kind": "docker"}, deadline={"healthy_ms": 20000}, service={"image": "local/python:1"})
    del spec["service"]["command"]
    code, out, err = env.rig.migrate(spec, timeout_s=140)
    equal(code, 0, f"exit\n{out}{err}")
    with open(os.path.join(env.rig.work, "deploy", "py", "Dockerfile")) as file:
        check("FROM local/python:1" in file.read(), "the template's base image")
    containers = ours(env, "py")
    equal([c[1:3] for c in containers], [["phoenix-py:1", "running"]])
    # SIGTERM reaches it, though it does not handle it and no grace would be long enough: not killed (137).
    code, out, err = env.dockerd.docker("stop", "-t", "30", containers[0][0])
    equal(code, 0, err)
    equal(env.dockerd.docker("inspect", "-f", "{{.State.ExitCode}}", containers[0][0])[1].strip(), "143", "exit status")


@timeout(150)
def test_node_from_an_imported_image(env):
    node = shutil.which("node")
    if not node:
        raise Skip("node is not installed")
    env.dockerd.import_image("local/node:1", [node])
    spec = env.rig.spec("node", deploy={"kind": "docker"}, deadline={"healthy_ms": 20000})
    del spec["service"]["command"]
    spec["service"].update({"source": {"files": {"server.js": NODE_SERVICE}}, "language": "node", "image": "local/node:1",
                            "dockerfile": f'FROM local/node:1\nCOPY server.js /server.js\nCMD ["{node}", "/server.js"]\n'})
    code, out, err = env.rig.migrate(spec, timeout_s=140)
    equal(code, 0, f"exit\n{out}{err}")
    check("Dockerfile: as given" in out, out)


@timeout(60)
def test_a_service_of_that_name_is_not_ours(env):
    rig = env.rig
    project = os.path.join(rig.gw.directory, "foreign")
    os.makedirs(project)
    path = os.path.join(project, "docker-compose.yml")
    text = "services:\n  theirs:\n    image: nothing\n"
    with open(path, "w") as file:
        file.write(text)
    spec = c_spec(env, "theirs")
    spec["deploy"]["directory"] = project
    code, out, err = rig.migrate(spec)
    equal(code, 10, f"exit\n{out}{err}")
    item = rig.get("theirs")
    equal(item["failed_in"], "deploy")
    check('has a service "theirs" that Phoenix did not write' in item["reason"], item["reason"])
    with open(path) as file:
        equal(file.read(), text)
    check(not os.path.exists(os.path.join(project, "theirs")), "the code was taken away again")


@timeout(60)
def test_bad_build(env):
    spec = c_spec(env, "nobuild")
    spec["service"]["dockerfile"] = "FROM local/there-is-no-such-image:1\n"
    code, out, err = env.rig.migrate(spec)
    equal(code, 10, f"exit\n{out}{err}")
    item = env.rig.get("nobuild")
    equal(item["failed_in"], "verify")
    check("the image cannot be built" in item["reason"], item["reason"])


@timeout(150)
def test_docker_killed_in_the_middle(env):
    """dockerd is killed while the route migrates: the container serves on and the migration ends well. Killed in a
    build: that is said, and undone."""
    rig = env.rig
    spec = c_spec(env, "dead", policy={"min_samples": 400, "step": 0.25, "interval_ms": 100})
    rig.submit(spec)
    rig.wait_stage("dead", "mirror", "migrate", timeout_s=100)
    env.dockerd.kill()
    item = rig.wait_over("dead")
    equal((item["stage"], item["state"]), ("complete", "complete"), log_of(item))
    equal(rig.gw.ask("GET", "/dead/1").json()["v"], 1, "while no Docker answers")
    rig.submit(c_spec(env, "dead2"))
    item = rig.wait_over("dead2")
    equal(item["failed_in"], "verify")
    check("no Docker daemon answers" in item["reason"], item["reason"])
    env.dockerd.again()
    spec = c_spec(env, "dead3")
    spec["service"]["build"] = ["sleep", "3"]
    rig.submit(spec)
    wait_for("the build", lambda: "build: sleep 3" in log_of(rig.get("dead3")), 20)
    env.dockerd.kill()
    item = rig.wait_over("dead3")
    equal((item["failed_in"], item["state"]), ("verify", "rolled_back"), log_of(item))
    check("cannot be built" in item["reason"], item["reason"])
    env.dockerd.again()


@timeout(150)
def test_docker_dead_while_undoing(env):
    """Undoing is tried again until Docker answers; the route is back at once, and legacy answers meanwhile."""
    rig = env.rig
    rig.submit(c_spec(env, "undone", policy={"min_samples": 1000000}, traffic={"rate": 20}))
    rig.wait_stage("undone", "mirror", timeout_s=100)
    env.dockerd.kill()
    try:
        rig.admin.ok("POST", "/admin/routes/undone/rollback", {"reason": "a test"})
        wait_for("a first try", lambda: "undoing failed, it is tried again" in log_of(rig.get("undone")), 60)
        item = rig.get("undone")
        equal((item["stage"], item["state"], item["over"]), ("undo", "rolled_back", False))
        equal(rig.admin.weight("undone")["set"], 0.0)
        equal(rig.gw.ask("GET", "/undone/1").json()["v"], 1, "legacy's answer")
    finally:
        env.dockerd.again()
    item = rig.wait_over("undone")
    equal((item["stage"], item["failed_in"]), ("rolled_back", "mirror"), log_of(item))
    check("release 1 was taken out of place" in log_of(item), log_of(item))
    equal(ours(env, "undone"), [])
    check(not os.path.exists(os.path.join(rig.work, "deploy", "undone")), "the code was taken away")


@timeout(60)
def test_what_is_missing_is_said(env):
    """Without docker, without compose, and with the plugin in the standalone one's place."""
    rig = env.rig
    folder = os.path.join(rig.gw.directory, "bin")
    os.makedirs(folder)
    for program in ("cc", "python3", "setpriv"):
        found = shutil.which(program)
        if found:
            os.symlink(found, os.path.join(folder, program))
    path = os.environ["PATH"]
    for name, script, words in [
            ("no-docker", None, "docker is not installed (apt-get install docker.io docker-compose)"),
            ("no-compose", '#!/bin/sh\n[ "$1" = version ] && echo 20 && exit 0\nexit 1\n',
             'neither "docker compose" nor docker-compose is installed')]:
        if script:
            with open(os.path.join(folder, "docker"), "w") as file:
                file.write(script)
            os.chmod(os.path.join(folder, "docker"), 0o755)
        os.environ["PATH"] = folder
        try:
            other = Rig()
        finally:
            os.environ["PATH"] = path
        try:
            spec = other.spec(name, deploy={"kind": "docker"})
            other.submit(spec)
            item = other.wait_over(name)
            equal(item["failed_in"], "verify")
            check(words in item["reason"], item["reason"])
            spec = other.spec(name + "-auto", deploy={"kind": "auto"})
            other.submit(spec)
            item = other.wait_over(name + "-auto")
            equal((item["stage"], item["kind"]), ("complete", "process"), log_of(item))
            check(words in log_of(item), log_of(item))
        finally:
            other.stop()


@timeout(150)
def test_the_plugin_goes_first(env):
    """`docker compose` is preferred: here a stand-in that hands over to docker-compose and notes its arguments."""
    rig = env.rig
    folder = os.path.join(rig.gw.directory, "plugin")
    os.makedirs(folder)
    real, compose = shutil.which("docker"), shutil.which("docker-compose")
    with open(os.path.join(folder, "docker"), "w") as file:
        file.write(f'#!/bin/sh\nif [ "$1" = compose ]; then shift; echo "$*" >>{folder}/log; exec {compose} "$@"; fi\n'
                   f'exec {real} "$@"\n')
    os.chmod(os.path.join(folder, "docker"), 0o755)
    path = os.environ["PATH"]
    os.environ["PATH"] = folder + ":" + path
    try:
        other = Rig()
    finally:
        os.environ["PATH"] = path
    try:
        spec = other.spec("plugin", deploy={"kind": "auto", "project": "plug"}, deadline={"healthy_ms": 20000})
        spec["service"].update({"source": {"files": {"s.c": "#define VALUE 1\n#define CRASH 0\n" + C_SERVICE}}, "language": "c"})
        del spec["service"]["command"]
        other.submit(spec, "?until=healthy")
        item = other.wait_over("plugin", 100)
        equal((item["stage"], item["kind"]), ("deployed", "docker"), log_of(item))
        with open(os.path.join(folder, "log")) as log:
            text = log.read()
        check(re.search(r"^-p plug -f \S+/docker-compose.yml up -d --no-deps plugin$", text, re.M), text)
        equal(other.admin.request("DELETE", "/admin/migrations/plugin").status, 202)
        wait_for("it being forgotten", lambda: not other.known("plugin"), 60)
        equal(ours(env, "plugin"), [])
    finally:
        other.stop()
