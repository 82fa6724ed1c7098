"""No message, log or exception has what is secret in an address, however it is written."""

import contextlib
import logging
import socket
import threading
import traceback
from base64 import b64encode

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
    "redis://geheim:@H/0": "redis://***@H/0",
    "redis://:g%65heim@H/0": "redis://***@H/0",
    "redis://:geheim%C3%A9%0A@H/0": "redis://***@H/0",
    "redis://:geheim\u00e9@H/0": "redis://***@H/0",
    "redis://:geheim'%22%5C@H/0": "redis://***@H/0",
    "redis://H/0?password=geheim%2540": "redis://H/0",
    "redis://H/0?password=gehe+im": "redis://H/0",
    "ReDiS+Cluster://:geheim@H": "redis+cluster://***@H",
    "redis://:geheim" + "x" * 100_000 + "@H/0": "redis://***@H/0",
    "redis://:geheim@H/0?ssl_password=geheim": "redis://***@H/0",
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
    "redis://:geheim@H/0?encoding=ascii",
    "redis://:geheim@H/0?db=1&db=2",
    "redis://?host=127.0.0.1&port=1&password=geheim",
    "redis://H/0?password=x&geheim=1",
    "redis+cluster://H?password=x&geheim_option=1",
    "redis://:geheim\udcff@H/0",
    "redis://:geheim%FF@H/0",
    "redis://:geheim@H/0#geheim",
    " redis://:geheim@H/0",
    "redis://:geheim@H/0 ",
    "redis://:geheim\t@H/0",
    "redis:geheim",
    "Redis:/geheim@H",
    "redis//:geheim",
    "reddis://:geheim",
    "redis+sentinel://:geheim/0",
    "https://H/x.txt?token=a@geheim",
    "https://ann:1?geheim@H/x.txt",
    "s3://bucket/x.txt#geheim",
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
    rest, seen = [error], []
    while rest:
        if (one := rest.pop()) is not None and one not in seen:
            seen.append(one)
            rest += [one.__cause__, one.__context__]
    return seen


def all_texts(error):
    """Whatever somebody may come to see of an error."""
    yield "".join(traceback.format_exception(error))
    for each in chain(error):
        yield from (str(each), repr(each), repr(each.args), repr(vars(each)))


def is_told(*texts):
    """Whether the password stands in a text, as it is or as some may write it."""
    secret = SECRET.encode()
    forms = {SECRET, "g%65heim", "gehe im", "gehe+im", "gehe%20im", secret.hex(), b64encode(secret).decode()[:-2]}
    return any(form in text for form in forms for text in texts)


@pytest.fixture(scope="module")
def model():
    return fit(30, 8)


@pytest.mark.parametrize("template", [*GOOD, *BROKEN])
def test_no_secret_is_told_where_nobody_answers(model, template, caplog, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    # some of these wait for an answer of name servers, or for the storage that they name, and are no address of Redis
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
        assert not is_told(*all_texts(caught.value)), name
    commands = ["publish", "model", "--to", address], ["forget", "--from", address, "--users", "u0001"]
    for command in commands:
        assert main([*command, "--summary", "s.json"]) == 1
        told = capfd.readouterr()
        assert not is_told(told.out, told.err, caplog.text, (tmp_path / "s.json").read_text())


@pytest.mark.parametrize("template", ["redis://:geheim@H/0", "redis://H?password=geheim", "redis:geheim"])
def test_no_secret_is_told_of_wrong_usage(model, template, capfd, tmp_path, monkeypatch):
    """An address where something else should be."""
    monkeypatch.chdir(tmp_path)
    model.save("model")
    address = template.replace("H", "127.0.0.1:1")
    for command in (
        [address],
        ["publish", "model", address, "--to", "x.csv"],
        ["publish", "model", "--too", address],
        ["publish", "model", "--to=x.csv", f"--tu={address}"],
        ["publish", "model", "--to", "x.csv", "--ttl", address],
        ["publish", "model", "--to", "x.csv", f"--score-dtype={address}"],
        ["publish", "model", "--to", "x.csv", "--prefix", f"{address} "],
        ["publish", address, "--to", "x.csv"],
        ["run", address],
        ["info", address],
        ["publish", "model", "--to", "x.csv", "--summary", address],
    ):
        with contextlib.suppress(SystemExit):
            main(command)
        told = capfd.readouterr()
        assert not is_told(told.out, told.err), command


@pytest.mark.parametrize("address", [["redis://:geheim@H"], {"url": "redis://:geheim@H"}, ("redis://:geheim@H",)])
def test_an_address_that_is_no_string(model, address):
    for call in (lambda: publish(model, address), lambda: RedisRecommendations(address), lambda: forget(address, [1])):
        with pytest.raises(fastals.ArgumentTypeError, match=r"string or path-like, got (list|dict|tuple)") as caught:
            call()
        assert not is_told(str(caught.value))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://key:geheim@bucket/a/b.csv", "s3://***@bucket/a/b.csv"),
        ("https://ann:x/geheim@host/lists.csv?token=geheim", "https://***@host/lists.csv"),
        ("https://host/x?token=a@geheim", "https://…"),
        ("https://ann:1?geheim@host/", "https://…"),
        ("https://:geheim", "https://…"),
        ("https://host:80/x#geheim", "https://host:80/x"),
        ("redis:geheim", "redis…"),
        (" Redis+Cluster//:geheim", "Redis+Cluster…"),
        ("redis://:x/geheim@H/0", "redis://…"),
        ("redis://:geheim@[::1]:6379/2", "redis://***@[::1]:6379/2"),
        ("redis/lists.csv", "redis/lists.csv"),
        ("C:\\lists.csv", "C:\\lists.csv"),
    ],
)
def test_what_is_told_of_what_no_server_reads(address, told):
    assert told_target(address) == told


def test_a_short_password_leaves_no_holes(tmp_path, model):
    """A text in which each "e" is a star tells which letter the password is."""
    server = Redis(tmp_path / "redis", "--requirepass", "x")
    try:
        with pytest.raises(fastals.ServingError, match="refuses the user and password of the address") as caught:
            publish(model, f"redis://:e@127.0.0.1:{server.port}")
        assert "not shown" in str(caught.value)
        assert "**" not in str(caught.value).replace("***@", "", 1)
    finally:
        server.stop()


ANSWERS = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "numbers": b":5\r\n",
    "a number that is none": b":geheim\r\n",
    "truth": b"#t\r\n",
    "a map": b"%1\r\n+a\r\n+b\r\n",
    "a list": b"*2\r\n+a\r\n+b\r\n",
    "a text": b"$3\r\nabc\r\n",
    "nested lists": b"*1\r\n" * 20_000,
    "an error that is no text": b"-\xff geheim\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_redis_server(model, answer, monkeypatch):
    monkeypatch.setattr("fastals.serving._address.TIMEOUT", 1.0)
    server, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def talk():
        with server:
            while not stop.is_set():
                connection, _ = server.accept()
                connection.settimeout(3)
                with connection, contextlib.suppress(OSError):
                    while data := connection.recv(1 << 16):
                        connection.sendall(ANSWERS[answer] * max(data.count(b"\r\n*") + 1, 1))

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    host = f"127.0.0.1:{server.getsockname()[1]}"
    try:
        for scheme in ("redis", "redis+cluster"):
            address = f"{scheme}://:geheim@{host}"
            for call in (
                lambda address=address: publish(model, address),
                lambda address=address: RedisRecommendations(address).get("u0001"),
                lambda address=address: forget(address, ["u0001"]),
            ):
                with pytest.raises(fastals.ServingError) as caught:
                    call()
                assert not is_told(*all_texts(caught.value))
    finally:
        stop.set()
        with contextlib.suppress(OSError):  # it may have stopped
            socket.create_connection(server.getsockname()).close()
        thread.join()


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
        with pytest.raises(fastals.ServingError, match="not shown, since it repeats a part of the address") as caught:
            publish(model, address)
        assert not is_told(*all_texts(caught.value))
    finally:
        stop.set()
        with contextlib.suppress(OSError):  # it may have stopped
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
