"""No message, log or exception has what is secret in an address, however it is written."""

import logging
import socket
import threading
import traceback

import pytest
from served import fit
from servers import Redis, free_port

import fastals
from fastals.cli._main import main
from fastals.serving import RedisRecommendations, forget, publish
from fastals.serving._address import Address, is_redis, told_target

redis = pytest.importorskip("redis")

SECRET = "geheim"
"""Part of every password below, and of no message."""

GOOD = {  # H is host and port; what is shown
    "redis://:geheim@H/0": "redis://***@H/0",
    "redis://ann:geheim@H": "redis://***@H",
    "redis://geheim@H/0": "redis://***@H/0",
    "REDIS://:geheim@H/0": "redis://***@H/0",
    "redis://:x%2Fgeheim@H/0": "redis://***@H/0",
    "redis://:x%40geheim%3A@H/0": "redis://***@H/0",
    "redis://:x@geheim@H/0": "redis://***@H/0",
    "redis://:geheim:y@H/0": "redis://***@H/0",
    "redis://ann:x%3Fgeheim%23@H/0?socket_timeout=5": "redis://***@H/0",
    "redis://H/0?password=geheim": "redis://H/0",
    "redis://H?username=ann&password=geheim%40x&db=1": "redis://H?db=1",
    "redis://H?p%61ssword=geheim": "redis://H",
    "rediss://:geheim@H/0?ssl_cert_reqs=none&ssl_password=geheim": "rediss://***@H/0",
    "redis+cluster://:geheim@H": "redis+cluster://***@H",
    "rediss+cluster://ann:geheim@H": "rediss+cluster://***@H",
    "unix://:geheim@/nowhere/redis.sock?db=1": "unix://***@/nowhere/redis.sock?db=1",
    "unix:///nowhere/redis.sock?password=geheim": "unix:///nowhere/redis.sock",
}

BROKEN = [
    "redis://:x/geheim@H/0",
    "redis://:x?geheim@H/0",
    "redis://:x#geheim@H/0",
    "redis://:x geheim@H/0",
    "redis://:geheim",
    "redis://ann:geheim",
    "redis://:geheim@host:port",
    "redis://:geheim@H:99999/0",
    "redis://:geheim@[::1/0",
    "redis://:[geheim]@h[/0",
    "redis://H/geheim",
    "redis://H/0?db=geheim",
    "redis://H/0?geheim",
    "redis://H/0?password=x&geheim@y",
    "redis://:geheim@h\u00f6st/0",
    "redis://:geheim@" + "h" * 64 + "/0",
    "redis://:geheim@h..x/0",
    "redis://:geheim@H/0?no_such_option=geheim",
    "redis://:geheim@H/0?socket_timeout=geheim",
    "redis://:geheim@H/0?decode_responses=true",
    "redis+cluster://:geheim@H/x",
    "unix://geheim",
    "unix://:geheim@host/run/redis.sock",
    "unix://:x/geheim@/run/redis.sock",
    "reddis://:geheim@H/0",
    "redis:/:geheim@H/0",
    "redis//:geheim@H/0",
    "https://ann:x/geheim@H/lists.txt?token=geheim",
    "https://H/lists.txt?token=geheim",
]


def chain(error):
    """An error and all that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def all_texts(error):
    """Whatever somebody may come to see of an error."""
    yield "".join(traceback.format_exception(error))
    for each in chain(error):
        yield from (str(each), repr(each), repr(each.args))


@pytest.fixture(scope="module")
def model():
    return fit(30, 8)


@pytest.mark.parametrize("template", [*GOOD, *BROKEN])
def test_no_secret_is_told_where_nobody_answers(model, template, caplog, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    address = template.replace("H", f"127.0.0.1:{free_port()}")
    model.save("model")
    calls = {
        "publish": lambda: publish(model, address),
        "read": lambda: RedisRecommendations(address).get("u0001"),
        "forget": lambda: forget(address, ["u0001"]),
    }
    for name, call in calls.items():
        with pytest.raises((fastals.FastalsError, OSError)) as caught:
            call()
        assert isinstance(caught.value, fastals.FastalsError), name
        assert SECRET not in "".join(all_texts(caught.value)), name
    assert main(["publish", "model", "--to", address]) == 1
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err + caplog.text


@pytest.mark.parametrize("template", GOOD)
def test_what_is_shown(template):
    address = Address(template.replace("H", "127.0.0.1:6379"))
    assert str(address) == repr(address) == told_target(template.replace("H", "127.0.0.1:6379"))
    assert str(address) == GOOD[template].replace("H", "127.0.0.1:6379")
    assert is_redis(template)


@pytest.mark.parametrize("template", [one for one in BROKEN if is_redis(one) and "option" not in one])
def test_broken_addresses_are_refused_before_anything_is_sent(template):
    with pytest.raises(fastals.ParameterError, match=r"cannot be read: |refuses what follows"):
        Address(template.replace("H", "127.0.0.1:6379")).connect()


def test_passwords_arrive_as_they_are_meant(tmp_path, model):
    password = "x/geheim@?#: %é"
    server = Redis(tmp_path / "redis", "--requirepass", password)
    encoded = "x%2Fgeheim%40%3F%23%3A%20%25%C3%A9"
    try:
        host = f"127.0.0.1:{server.port}"
        for address in (f"redis://:{encoded}@{host}", f"redis://default:{encoded}@{host}/0"):
            published = publish(model, address, progress=False)
            assert published.to == f"redis://***@{host}" + "/0" * address.endswith("/0")
            assert SECRET not in repr(published) + str(published)
        reader = RedisRecommendations(f"redis://{host}?password={encoded}")
        assert not reader.get("u0001").popular
        assert SECRET not in repr(reader)
        for wrong in (f"redis://:{SECRET}@{host}", f"redis://{SECRET}:x@{host}"):
            with pytest.raises(fastals.ServingError, match="refuses the user and password") as caught:
                publish(model, wrong)
            assert f":{SECRET}" not in "".join(all_texts(caught.value))
    finally:
        server.stop()


def test_a_server_that_repeats_the_password(model):
    """As one does to which AUTH is no command."""
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def answer():
        with server:
            while not stop.is_set():
                connection, _ = server.accept()
                with connection:
                    if connection.recv(4096):
                        connection.sendall(b"-ERR unknown command 'AUTH', with args beginning with: 'x/geheim@'\r\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    address = f"redis://:x%2Fgeheim%40@127.0.0.1:{server.getsockname()[1]}/0"
    try:
        with pytest.raises(fastals.ServingError, match=r"unknown command 'AUTH'.*\*\*\*") as caught:
            publish(model, address)
        assert SECRET not in "".join(all_texts(caught.value))
    finally:
        stop.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


def test_a_socket(tmp_path, model):
    server = Redis(tmp_path / "redis", "--unixsocket", str(tmp_path / "s"))
    try:
        published = publish(model, f"unix://{tmp_path}/s?db=1", progress=False)
        assert published.to == f"unix://{tmp_path}/s?db=1"
        assert not RedisRecommendations(f"unix://{tmp_path}/s?db=1").get("u0001").popular
        with pytest.raises(fastals.ServingError, match="holds no lists"):
            RedisRecommendations(f"unix://{tmp_path}/s").get("u0001")
    finally:
        server.stop()
