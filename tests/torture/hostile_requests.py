"""Requests as nobody's client sends them: sound ones, and what is done to their bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

EIGHT = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]
PATHS = (
    "/predict", "/feedback", "/health", "/ready", "/model", "/metrics", "/", "/docs",
    "/openapi.json", "/v2", "/v2/models/small", "/v2/models/small/infer", "/v2/models/small/ready",
    "/v2/models/small/versions/1/infer", "/v2/health/live", "/nowhere", "/predict/", "//predict",
    "/%00", "/..%2f..%2fetc/passwd", "/predict?x=1&x=2", "/v2/models/%F0%9F%98%80/infer", "*", "",
)  # fmt: skip
METHODS = ("POST", "POST", "POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
           "CONNECT", "post", "NONSENSE", "")  # fmt: skip
TYPES = ("application/json", "application/json; charset=utf-8", "", "text/plain", "application/xml",
         "application/json; charset=utf-16", "multipart/form-data", "application/octet-stream",
         "\x00")  # fmt: skip
VALUES = (
    "null", "true", "NaN", "Infinity", "-Infinity", "1e400", "-1e308", "1" * 5000, "0.1" + "0" * 99,
    '"x"', '"\\ud800"', '"\\u0000"', '"' + "x" * 9000 + '"', "[]", "{}", "[[1]]", "[" * 3000,
    "{\"a\":" * 500, "-0", "1e-400", '"😀"', "9007199254740993", "01", "+1", ".5", "'x'", "0x1F",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """The bytes of one request, and whether it is whole, so that an answer must come."""

    sent: bytes
    whole: bool


def make_hostile(number: int, seed: int = 0) -> Hostile:
    """Return request ``number`` of a seed: the same each time."""
    chance = random.Random(f"{seed}-{number}")
    body = chance.choice(BODIES)(chance)
    method, path = chance.choice(METHODS), chance.choice(PATHS[:12] if number % 2 else PATHS)
    if chance.random() < 0.5:
        method, path = "POST", chance.choice(("/predict", "/feedback", "/v2/models/small/infer"))
    headers = [
        f"content-type: {chance.choice(TYPES[:1] * 12 + TYPES)}",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n" + "\r\n".join(headers) + "\r\n\r\n"
    sent = head.encode("utf-8", "surrogateescape") + body
    twist = chance.choice(TWISTS) if chance.random() < 0.4 else None
    return Hostile(sent, whole=True) if twist is None else Hostile(twist(sent, chance), whole=False)


def _sound(chance: random.Random) -> bytes:
    record = {f"f{place}": value for place, value in enumerate(EIGHT)}
    tensor = {"name": "rows", "shape": [1, 8], "datatype": "FP64", "data": EIGHT}
    bodies = (
        {"features": EIGHT}, {"records": [record]}, {"inputs": [tensor]},
        {"prediction_id": "x", "label": 1}, {"feedback": [{"id": "a", "label": 0}]},
        {"records": [{**record, "id": "me"}] * 3},
    )  # fmt: skip
    return json.dumps(chance.choice(bodies)).encode()


def _odd_value(chance: random.Random) -> bytes:
    """Return a body in which one value, key or list is another one."""
    text = _sound(chance).decode()
    places = [place for place, sign in enumerate(text) if sign in ":,["]
    place = chance.choice(places) + 1
    end = next((i for i in range(place, len(text)) if text[i] in ",]}"), len(text))
    return f"{text[:place]}{chance.choice(VALUES)}{text[end:]}".encode("utf-8", "surrogatepass")


def _twice(chance: random.Random) -> bytes:
    text = _sound(chance).decode()
    return f"{text[:-1]},{text[1:]}".encode()


def _alone(chance: random.Random) -> bytes:
    return chance.choice(VALUES).encode("utf-8", "surrogatepass")


def _random(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(300))


def _cut(chance: random.Random) -> bytes:
    sound = _sound(chance)
    return sound[: chance.randrange(len(sound))]


def _wide(chance: random.Random) -> bytes:
    return _sound(chance).decode().encode(chance.choice(("utf-16", "utf-8-sig", "utf-32")))


def _large(chance: random.Random) -> bytes:
    return json.dumps({"features": EIGHT * chance.choice((2, 900, 40_000))}).encode()


BODIES: tuple[Callable[[random.Random], bytes], ...] = (
    _sound, _odd_value, _odd_value, _odd_value, _twice, _alone, _random, _cut, _wide, _large,
)  # fmt: skip


def _flip(sent: bytes, chance: random.Random) -> bytes:
    changed = bytearray(sent)
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(min(len(changed), 400))] = chance.randrange(256)
    return bytes(changed)


def _hang_up(sent: bytes, chance: random.Random) -> bytes:
    return sent[: chance.randrange(1, len(sent))]


def _two_lengths(sent: bytes, chance: random.Random) -> bytes:
    value = chance.choice(("0", "5", "-1", "1e3", "99999999999999999999", "x", "+5"))
    return sent.replace(b"connection: close", f"content-length: {value}".encode())


def _chunks(sent: bytes, chance: random.Random) -> bytes:
    head, _, body = sent.partition(b"\r\n\r\n")
    size = chance.choice((f"{len(body):x}", "-1", "ffffffffffffffff", "zz", "0", "5;" + "x" * 99))
    head = head.replace(b"connection: close", b"transfer-encoding: chunked")
    return head + b"\r\n\r\n" + size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"


def _odd_header(sent: bytes, chance: random.Random) -> bytes:
    lines = (
        b"x-request-id: " + chance.randbytes(40), b"expect: 100-continue", b"host: evil.example",
        b"accept-encoding: gzip;q=oops", b"authorization: Bearer \xff", b" folded: 1", b": none",
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x", b"range: bytes=9-1",
        b"content-encoding: gzip", b"transfer-encoding: gzip, chunked", b"upgrade: h2c",
        b"x: " + b"a" * 40_000, b"\r\n".join(b"a%d: b" % n for n in range(200)), b"no-colon",
    )  # fmt: skip
    return sent.replace(b"connection: close", chance.choice(lines) + b"\r\nconnection: close")


def _two_at_once(sent: bytes, _chance: random.Random) -> bytes:
    return sent.replace(b"connection: close", b"connection: keep-alive") + sent


def _other_version(sent: bytes, chance: random.Random) -> bytes:
    version = chance.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.9", b"ICY", b""))
    return sent.replace(b"HTTP/1.1", version, 1)


TWISTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _hang_up, _two_lengths, _chunks, _odd_header, _two_at_once, _other_version,
)  # fmt: skip
