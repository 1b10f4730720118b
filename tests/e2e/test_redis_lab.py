# SPDX-License-Identifier: Apache-2.0
"""
redis lab: what the fleet's tests rely on: a Redis of the lab dies, hangs, forgets and fails over as a real one does.
"""
import socket

from lib.case import Bench, check, equal
from lib.net import wait_for
from lib.redis import Redis, RedisError, Sentinel

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.redis = env.own(Redis())
    return env


def test_killed_and_started_again(env):
    env.redis.cli("SET", "a", "1")
    env.redis.kill()
    try:
        env.redis.cli("PING")
    except OSError:
        pass
    else:
        raise AssertionError("a killed server answered")
    env.redis.restart()
    equal(env.redis.cli("GET", "a"), "1", "what was written before SIGKILL")


def test_restarted_empty(env):
    env.redis.cli("HSET", "h", "x", "1")
    equal(env.redis.hash("h"), {"x": "1"})
    env.redis.restart_empty()
    equal(env.redis.keys(), [])


def test_frozen_takes_connections_and_answers_nothing(env):
    with env.redis.hold():
        try:
            env.redis.cli("PING", timeout_s=0.3)
        except socket.timeout:
            pass
        else:
            raise AssertionError("a frozen server answered")
    equal(env.redis.cli("PING"), "PONG")


def test_unix_socket_and_password(env):
    redis = env.own(Redis(unix=True, password="geheim", maxmemory="3mb"))
    equal(redis.cli("CONFIG", "GET", "maxmemory"), ["maxmemory", "3145728"])
    password, redis.password = redis.password, None
    try:
        redis.cli("PING")
    except RedisError as error:
        check("NOAUTH" in str(error), error)
    else:
        raise AssertionError("no password was asked for")
    finally:
        redis.password = password


def test_sentinel_fails_over(env):
    master = env.own(Redis())
    replica = env.own(Redis(replica_of=master))
    sentinel = env.own(Sentinel(master))
    wait_for("a replica in step", lambda: sentinel.replicas() == 1, 30, 0.1)
    master.cli("SET", "a", "1")
    wait_for("the copy", lambda: replica.cli("GET", "a") == "1")
    master.kill()
    equal(sentinel.wait_failover(master), replica.port)
    equal(replica.cli("GET", "a"), "1")
