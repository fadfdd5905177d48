"""What the explorer lets in, and what it says to the others: one line of JSON, with every header."""

import json
import threading
import time
from dataclasses import replace
from functools import partial

import anyio
import httpx
import pytest
from starlette.testclient import TestClient

from cutaway.circuits.explore import security, turns
from cutaway.circuits.explore.app import application
from cutaway.circuits.explore.bench import Bench, nobody_waits
from cutaway.circuits.explore.findings import Pattern
from cutaway.circuits.explore.security import HEADERS, Door
from cutaway.circuits.explore.server import LOOPBACK, door_of, listen, url_of
from cutaway.circuits.explore.setup import Setup
from cutaway.core.errors import CutawayError

from .explore_scenes import planted_setup

HOME = "http://127.0.0.1:8765"
SESSION = "0123456789abcdef"
LOCAL = Door(frozenset(LOOPBACK))
POSTS = ("/answer", "/sweep", "/pattern", "/cancel")


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Setup:
    return planted_setup(tmp_path_factory.mktemp("run"), seed=1)[0]


@pytest.fixture
def client(setup) -> TestClient:
    return visitor(setup)


def visitor(setup: Setup, door: Door = LOCAL, home: str = HOME) -> TestClient:
    return TestClient(application(setup, door), base_url=home, raise_server_exceptions=False, headers={"origin": home})


def body(setup: Setup, **more) -> dict:
    return {"session": SESSION, "question": {"phrase": setup.phrases[0], "second": setup.second}, **more}


def check_refused(response: httpx.Response, status: int, said: str = "") -> None:
    assert response.status_code == status, response.text
    (line,) = response.json().values()
    assert response.json() == {"error": line}
    assert said in line
    assert "\n" not in line
    assert "Traceback" not in line
    check_headers(response)


def check_headers(response: httpx.Response) -> None:
    for name, value in HEADERS.items():
        assert response.headers.get_list(name) == [value]
    assert "server" not in response.headers


# --- what is served ---------------------------------------------------------------------------------------------------


def test_the_page_and_its_files(client):
    for path, kind in {
        "/": "text/html",
        "/style.css": "text/css",
        "/explore.css": "text/css",
        "/explore.js": "text/javascript",
    }.items():
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(kind)
        check_headers(response)
        check_headers(client.head(path))


def test_the_policy_lets_the_page_load_its_own_files_alone():
    assert HEADERS["content-security-policy"].split("; ") == [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src data:",
        "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert HEADERS["x-frame-options"] == "DENY"
    assert HEADERS["x-content-type-options"] == "nosniff"
    assert HEADERS["referrer-policy"] == "no-referrer"
    assert HEADERS["cache-control"] == "no-store"


def test_questions_are_answered(client, setup):
    answer = client.post("/answer", json=body(setup))
    check_headers(answer)
    assert [step["token"] for step in answer.json()["steps"]] == list(answer.json()["read"]["expected"])
    assert len(client.post("/sweep", json=body(setup)).json()["effects"]) == 3
    pattern = client.post("/pattern", json=body(setup, head="0.0")).json()
    assert len(pattern["before"]) == len(pattern["tokens"])
    assert client.post("/cancel", json={"session": SESSION}).json() == {"cancelled": False}


def test_a_phrase_that_cannot_be_read_is_an_answer_of_one_line(client, setup):
    asked = body(setup)
    asked["question"]["phrase"] = "nothing with capitals"
    response = client.post("/answer", json=asked)
    assert response.status_code == 200
    assert "2 to 5 words" in response.json()["error"]


# --- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "10.0.0.1:8765",
        "",
        "[::1",
        "localhost@evil.example",
    ],
)
@pytest.mark.parametrize("path", ["/", "/explore.js", "/answer", "/nothing"])
def test_another_name_for_this_machine_is_not_let_in(client, host, path):
    for ask in (client.get, partial(client.post, json={})):
        check_refused(ask(path, headers={"host": host}), 403, "not known by that name")


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "localhost:9999"])
def test_the_names_of_this_machine_are_let_in(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


def test_two_hosts_are_none(setup):
    sent = raw(setup, [(b"host", b"127.0.0.1"), (b"host", b"evil.example"), *ASKING[1:]])
    assert sent[0]["status"] == 403


ASKING = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1"), (b"content-type", b"application/json")]


def raw(setup: Setup, headers: list[tuple[bytes, bytes]], receive=None) -> list[dict]:
    """What is sent back to a request made by hand; its body never comes, unless `receive` says so."""
    sent, scope = [], {"type": "http", "method": "POST", "path": "/answer", "query_string": b"", "headers": headers}

    async def send(message):
        sent.append(message)

    anyio.run(application(setup, LOCAL), scope, receive or anyio.sleep_forever, send)
    return sent


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:9999",
        "http://localhost:8765",
        "http://127.0.0.1:8765/",
        "http://127.0.0.1:8765.evil.example",
        "http://[::1",
        "127.0.0.1:8765",
        "file://",
        "null",
        "",
    ],
)
@pytest.mark.parametrize("path", POSTS)
def test_the_page_of_another_server_may_not_ask(client, setup, path, origin):
    check_refused(client.post(path, json=body(setup), headers={"origin": origin}), 403, "only the page of this server")


def test_a_request_without_an_origin_may_not_ask(setup):
    client = TestClient(application(setup, LOCAL), base_url=HOME)
    check_refused(client.post("/answer", json=body(setup)), 403)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp"],
)
def test_json_alone(client, setup, kind):
    sent = client.post("/answer", content=json.dumps(body(setup)), headers={"content-type": kind})
    check_refused(sent, 415, "application/json")


def test_json_may_name_its_encoding(client, setup):
    kind = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/answer", content=json.dumps(body(setup)), headers=kind).status_code == 200


def test_a_token_beyond_this_machine(setup):
    door = Door(frozenset({"box"}), addresses=True, token="right-token")
    client = visitor(setup, door, "http://box:8765")
    for path in ("/", "/?token=wrong", "/?token=", "/nothing"):
        check_refused(client.get(path), 403, "token")
    for path in POSTS:
        check_refused(client.post(path, json=body(setup)), 403, "token")
        check_refused(client.post(path, json=body(setup), headers={"x-cutaway-token": "wröng".encode()}), 403, "token")
    assert client.get("/?token=right-token").status_code == 200
    assert (
        client.get("/explore.js").status_code == 200
    )  # says nothing of the run, and scripts load each other without it
    given = {"x-cutaway-token": "right-token"}
    assert client.post("/answer", json=body(setup), headers=given).status_code == 200
    assert client.get("/?token=right-token", headers={"host": "192.168.0.7:8765"}).status_code == 200
    check_refused(client.get("/?token=right-token", headers={"host": "evil.example"}), 403, "not known")
    assert "right-token" not in repr(door)


def test_the_door_is_chosen_by_where_the_server_listens():
    with listen("127.0.0.1", 0) as bound:
        door = door_of(bound, "127.0.0.1")
        assert not door.token
        assert url_of(bound, "127.0.0.1", door) == f"http://127.0.0.1:{bound.getsockname()[1]}/"
    with listen("0.0.0.0", 0) as bound:
        door = door_of(bound, "0.0.0.0")
        assert len(door.token) >= 32
        assert url_of(bound, "0.0.0.0", door).endswith(f"/?token={door.token}")
        assert door_of(bound, "0.0.0.0").token != door.token


def test_a_port_that_is_taken():
    with listen("127.0.0.1", 0) as bound:
        taken = bound.getsockname()[1]
        with pytest.raises(CutawayError, match="give another --port"):
            listen("127.0.0.1", taken)
    with pytest.raises(CutawayError, match="65535"):
        listen("127.0.0.1", 70_000)
    with pytest.raises(CutawayError, match="cannot listen"):
        listen("no.such.host.invalid", None)


def test_the_usual_port_taken_and_none_asked_for():
    from unittest.mock import patch

    from cutaway.circuits.explore import server

    with (
        listen("127.0.0.1", 0) as bound,
        patch.object(server, "PORT", bound.getsockname()[1]),
        listen("127.0.0.1", None) as other,
    ):
        assert other.getsockname()[1] != bound.getsockname()[1]


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_too_much(client, setup):
    check_refused(client.post("/answer", json=body(setup, head="x" * 20_000)), 413, "16 KB")

    def chunks():  # without a length in front
        for _ in range(5):
            yield b" " * 5000

    check_refused(client.post("/answer", content=chunks(), headers={"content-type": "application/json"}), 413, "16 KB")
    for length in ("-1", "9" * 5000, "²"):
        sent = raw(setup, [*ASKING, (b"content-length", length.encode("latin-1"))])
        assert sent[0]["status"] == 413


def test_too_slow(setup, monkeypatch):
    monkeypatch.setattr(security, "PATIENCE", 0.05)
    assert raw(setup, ASKING)[0]["status"] == 408


@pytest.mark.parametrize("sent", [b"", b"{", b"[" * 15_000, b"\xff\xfe", b"nul", b"1" * 10_000, b'{"a":' * 3000])
def test_what_is_no_json(client, sent):
    check_refused(client.post("/answer", content=sent, headers={"content-type": "application/json"}), 400)


NO_QUESTIONS = (
    [],
    3,
    None,
    {},
    {"session": SESSION},
    {"session": SESSION, "question": []},
    {"session": "../../etc/passwd", "question": {"phrase": "x"}},
    {"session": "x", "question": {"phrase": "x"}},
    {"session": ["a" * 20], "question": {"phrase": "x"}},
    {"session": "ａ" * 20, "question": {"phrase": "x"}},
    {"session": SESSION, "question": {"phrase": "x"}, "run": "../x"},
    {"session": SESSION, "question": {"phrase": "x", "file": "/etc/passwd"}},
    {"session": SESSION, "question": {"phrase": "x", "heads": ["/etc/passwd"]}},
)


@pytest.mark.parametrize("data", NO_QUESTIONS, ids=lambda data: json.dumps(data)[:50])
@pytest.mark.parametrize("path", ["/answer", "/sweep", "/pattern"])
def test_what_is_no_question(client, path, data):
    check_refused(client.post(path, content=json.dumps(data), headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize("head", ["../../etc/passwd", "99.0", "m0", None, 3, [], "0.0\0"])
def test_what_is_no_head(client, setup, head):
    check_refused(client.post("/pattern", json=body(setup, head=head)), 400)


HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "🙂" * 100,
    "{{ 7 * 7 }}",
    "../../etc/passwd",
    "%00%0d%0aSet-Cookie: a=b",
    "x\u202egnp.exe",
    "The \u0130stanbul \ufb01re",
    "A" * 600,
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_phrases_are_text(client, setup, text):
    for name in ("phrase", "second", "answer"):
        asked = body(setup)
        asked["question"][name] = text
        response = client.post("/answer", json=asked)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        check_headers(response)


@pytest.mark.parametrize("sent", ['"\\ud800"', '"a\\u0000b"', '"' + "x" * 10_000 + '"'])
def test_phrases_that_are_no_text(client, sent):
    whole = f'{{"session": "{SESSION}", "question": {{"phrase": {sent}}}}}'
    check_refused(client.post("/answer", content=whole, headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/explore.js/",
        "/page.html.j2",
        "/setup.py",
        "/answer/",
    ],
)
def test_no_other_path(client, path):
    check_refused(client.get(path), 404)


def test_no_other_method(client, setup):
    for path in POSTS:
        check_refused(client.get(path), 405)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        check_refused(client.request(method, "/answer"), 405)
    check_refused(client.post("/", json={}), 405)


def test_a_fault_of_the_server_is_one_line_without_its_story(setup):
    broken = replace(setup, bench=Broken(setup.bench.model, setup.bench.reader, setup.bench.means))
    check_refused(visitor(broken).post("/answer", json=body(setup)), 500, "its terminal says why")


class Broken(Bench):
    def answer(self, question, check=nobody_waits):
        raise RuntimeError("a secret of /root")


def test_what_the_run_says_is_escaped_in_the_page(setup):
    evil = "<script>alert(1)</script>\"'&"
    marked = replace(
        setup,
        phrases=(evil, evil),
        second=evil,
        remark=evil,
        circuit=replace(setup.circuit, behavior=evil, step_names=(evil,)),
    )
    text = visitor(marked).get("/").text
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;") >= 5
    assert evil not in text


# --- one at a time ----------------------------------------------------------------------------------------------------


class Slow(Bench):
    """A bench that works until it is cancelled, or told to end; it counts who works at once."""

    def __init__(self, bench: Bench):
        super().__init__(bench.model, bench.reader, bench.means)
        self.end, self.begun = threading.Event(), threading.Event()
        self.working = self.most = 0
        self.seen: list[str] = []

    def answer(self, question, check=nobody_waits):
        self.working += 1
        self.most = max(self.most, self.working)
        self.seen.append(question.phrase)
        self.begun.set()
        try:
            while not self.end.is_set():
                check()
                time.sleep(0.002)
        finally:
            self.working -= 1
        return Pattern(question.phrase, (), [], None)

    sweep = answer


def with_slow(setup: Setup, steps) -> Slow:
    """Runs `steps(post, slow)` against a server whose bench is slow."""
    slow = Slow(setup.bench)
    app = application(replace(setup, bench=slow), LOCAL)

    async def main() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url=HOME, headers={"origin": HOME}, timeout=20
        ) as client:

            async def post(path: str, session: str = SESSION, phrase: str = "x", **more) -> httpx.Response:
                question = {} if path == "/cancel" else {"question": {"phrase": phrase}}
                return await client.post(path, json={"session": session, **question, **more})

            with anyio.fail_after(20):
                await steps(post, slow)

    anyio.run(main)
    return slow


async def until(happens) -> None:
    while not happens():
        await anyio.sleep(0.002)


def test_a_newer_question_of_a_page_ends_the_older_one(setup):
    async def steps(post, slow):
        answers = {}

        async def ask(name):
            answers[name] = await post("/sweep" if name == "first" else "/answer", phrase=name)

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "first")
            await until(slow.begun.is_set)
            group.start_soon(ask, "second")
            await until(lambda: "second" in slow.seen)
            slow.end.set()
        check_refused(answers["first"], 409, "newer question")
        assert answers["second"].json()["head"] == "second"

    assert with_slow(setup, steps).most == 1


def test_cancel_ends_a_sweep_midway(setup):
    async def steps(post, slow):
        answers = []

        async def ask():
            answers.append(await post("/sweep"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(slow.begun.is_set)
            assert (await post("/cancel", "f" * 16)).json() == {"cancelled": False}  # of another page
            assert not answers
            assert (await post("/cancel")).json() == {"cancelled": True}
        check_refused(answers[0], 409)
        slow.end.set()
        assert (await post("/answer")).status_code == 200  # the model is free again

    with_slow(setup, steps)


def test_pages_wait_for_each_other(setup):
    async def steps(post, slow):
        answers = []

        async def ask(i):
            answers.append(await post("/answer", f"{i:016}", phrase=str(i)))

        async with anyio.create_task_group() as group:
            for i in range(6):
                group.start_soon(ask, i)
            await until(slow.begun.is_set)
            await anyio.sleep(0.05)
            slow.end.set()
        assert [answer.status_code for answer in answers] == [200] * 6

    slow = with_slow(setup, steps)
    assert slow.most == 1
    assert len(slow.seen) == 6


def test_a_question_that_waits_is_given_up_at_once(setup):
    """A page that asks and asks leaves nothing behind in the queue."""

    async def steps(post, slow):
        statuses = []

        async def ask(i, session=SESSION):
            statuses.append((i, (await post("/answer", session, phrase=str(i))).status_code))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "other", "f" * 16)
            await until(slow.begun.is_set)
            for i in range(10):
                group.start_soon(ask, i)
                await anyio.sleep(0.01)
            await until(lambda: len(statuses) == 9)
            assert {status for _, status in statuses} == {409}
            slow.end.set()
        assert {i for i, status in statuses if status == 200} == {9, "other"}

    slow = with_slow(setup, steps)
    assert slow.seen == ["other", "9"]


def test_too_many_pages(setup):
    async def steps(post, slow):
        statuses = []

        async def ask(i):
            statuses.append((await post("/answer", f"{i:016}")).status_code)

        async with anyio.create_task_group() as group:
            for i in range(turns.SESSIONS):
                group.start_soon(ask, i)
            await until(slow.begun.is_set)
            await anyio.sleep(0.05)
            check_refused(await post("/answer", "f" * 16), 503, "too many pages")
            slow.end.set()
        assert statuses == [200] * turns.SESSIONS
        assert (await post("/answer", "f" * 16)).status_code == 200  # a quiet page is forgotten for it

    with_slow(setup, steps)


# --- the wall can be broken -------------------------------------------------------------------------------------------


def test_without_its_checks_the_wall_would_be_noticed(setup):
    """The tests above fail where the door lets everybody in."""

    class Open(Door):
        def check(self, scope):
            return None

    from cutaway.circuits.explore.security import Wall

    inside = application(setup, LOCAL).app
    client = TestClient(Wall(inside, Open(frozenset())), base_url=HOME)
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"content-type": "text/plain"}):
        response = client.post("/answer", content=json.dumps(body(setup)), headers=headers)
        with pytest.raises(AssertionError):
            check_refused(response, 403)
