"""`python -m emulator` as scripts rely on it: ready line, control side, misbehaviour on real sockets, clean end."""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.contract.emulator_parts import SECONDS, EmulatorProcess, emulator_process, fetch, hashed


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """One emulator that keeps rows, for the whole module."""
    with emulator_process("--keep", "rows") as emulator:
        yield emulator


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    """The emulator, fresh."""
    process.ask("POST", "/reset")
    return process


class TestProcess:
    def test_it_ends_cleanly(self) -> None:
        """The first line names both sides; after SIGTERM it exits with 0, even while a client hangs."""
        with emulator_process() as emulator:
            emulator.ask("POST", "/faults", {"match": {}, "answer": {"hang": True}})
            host, port = emulator.graph.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), SECONDS) as waiting:
                waiting.sendall(b"GET /v26.0/me HTTP/1.1\r\nHost: x\r\n\r\n")
                while not emulator.seen():
                    time.sleep(0.01)
                emulator.process.terminate()

                assert 0 == emulator.process.wait(SECONDS)

    def test_a_taken_port(self, emulator: EmulatorProcess) -> None:
        """A port in use is said in one line, with exit code 1."""
        port = emulator.graph.rpartition(":")[2]
        command = [sys.executable, "-m", "emulator", "--port", port]
        ended = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)

        assert (1, b"") == (ended.returncode, ended.stdout)
        assert b"choose other ports" in ended.stderr

    def test_seed(self, emulator: EmulatorProcess) -> None:
        """The seed names an app, a token that works and three ad accounts with accepted terms; a reset keeps them."""
        fields = "user_tos_accepted,tos_accepted,business"
        account = emulator.call("GET", emulator.seed["ad_accounts"][2], fields=fields).json

        assert {"app_id", "app_secret", "token", "user_id", "ad_accounts"} == set(emulator.seed)
        assert (
            1 == account["user_tos_accepted"]["custom_audience_tos"] == account["tos_accepted"]["custom_audience_tos"]
        )
        assert [] == emulator.ask("GET", "/audiences")
        assert emulator.seed == emulator.ask("GET", "/seed")


class TestLookingInside:
    def test_members(self, emulator: EmulatorProcess) -> None:
        """Members are JSON lines of key to stored value, with only the asked keys when some are asked."""
        audience = emulator.audience()
        payload = {"schema": ["EMAIL", "FN"], "data": [[hashed(0xAB).upper(), hashed(2)], ["", hashed(3)]]}
        emulator.call("POST", f"{audience}/users", payload=payload)
        path = f"{emulator.control}/audiences/{audience}/members"
        whole = [json.loads(line) for line in fetch("GET", path).body.splitlines()]
        emails = [json.loads(line) for line in fetch("GET", f"{path}?keys=EMAIL").body.splitlines()]

        assert [{"EMAIL": hashed(0xAB), "FN": hashed(2)}, {"FN": hashed(3)}] == whole
        assert [{"EMAIL": hashed(0xAB)}, {}] == emails
        assert {"count": 2} == emulator.ask("GET", f"/audiences/{audience}/count")

    @pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "payload"])
    def test_contains(self, emulator: EmulatorProcess, wrapped: bool) -> None:  # noqa: FBT001 - a table column
        """Rows that are no members, or no people, are named by index; order and width of a schema do not matter."""
        audience = emulator.audience()
        emulator.add(audience, 1, 2)
        asked: object = {
            "schema": ["FN", "EMAIL"],
            "data": [["", hashed(1)], ["", hashed(3)], ["", "bad"], ["", hashed(2)], [hashed(9), hashed(1)]],
        }
        found = emulator.ask("POST", f"/audiences/{audience}/contains", {"payload": asked} if wrapped else asked)

        assert {"members": 2, "missing": [1, 2, 4]} == found

    def test_contains_takes_single_keys_and_names_a_hundred(self, emulator: EmulatorProcess) -> None:
        """A single-key schema with bare cells works too, and at most a hundred missing rows are named."""
        audience = emulator.audience()
        asked = {"schema": "EMAIL", "data": [hashed(number) for number in range(500)]}
        found = emulator.ask("POST", f"/audiences/{audience}/contains", asked)

        assert {"members": 0, "missing": list(range(100))} == found

    def test_questions_beyond_what_is_kept(self) -> None:
        """Counting cannot tell members; the answer is 409 and names the mode that could."""
        with emulator_process("--keep", "counts") as emulator:
            audience = emulator.audience()
            emulator.add(audience, 1, 2)
            refused = fetch("GET", f"{emulator.control}/audiences/{audience}/members")

            assert 2 == emulator.count(audience)
            assert (409, True) == (refused.status, "--keep rows" in refused.json["error"])

    def test_mistakes_are_explained(self, emulator: EmulatorProcess) -> None:
        """Wrong names, bodies and paths get 4xx with a sentence."""
        answers = [
            fetch("PUT", f"{emulator.control}/limits", b'{"latency": 1}'),
            fetch("POST", f"{emulator.control}/faults", b"{"),
            fetch("GET", f"{emulator.control}/audiences/1/count"),
            fetch("GET", f"{emulator.control}/nowhere"),
        ]

        assert [400, 400, 404, 404] == [heard.status for heard in answers]
        assert all(heard.json["error"] for heard in answers)

    def test_the_manual_is_complete(self, emulator: EmulatorProcess) -> None:
        """Every endpoint the manual names exists, by its method."""
        endpoints = [name.split(" ") for name in emulator.ask("GET", "/")["endpoints"]]
        unknown = [
            name
            for name in endpoints
            if "no such endpoint" in str(fetch(name[0], f"{emulator.control}{re.sub('{.*?}', '0', name[1])}").body)
        ]

        assert len(endpoints) > 20
        assert [] == unknown

    def test_calls(self, emulator: EmulatorProcess) -> None:
        """The log has the promised names, `since` skips what was seen, and no token is in it."""
        audience = emulator.audience()
        emulator.add(audience, 1, 2)
        lines = emulator.ask("GET", "/calls?since=1")
        names = {"time", "method", "path", "account", "audience", "token", "rows", "session", "status", "code"}

        assert [(audience, 2, 200)] == [(line["audience"], line["rows"], line["status"]) for line in lines]
        assert names <= set(lines[0])
        assert emulator.seed["token"] not in fetch("GET", f"{emulator.control}/calls").body.decode()


class TestOperating:
    def test_tokens(self, emulator: EmulatorProcess) -> None:
        """A made token works until it is killed, by its digest, with the subcode that was asked."""
        made = emulator.ask("POST", "/tokens", {"scopes": ["ads_read"], "user_id": "42"})
        path = f"{emulator.graph}/v26.0/me?access_token={made['token']}"

        assert "42" == fetch("GET", path).json["id"]

        emulator.ask("DELETE", f"/tokens/{made['digest']}", {"subcode": 460})

        assert (190, 460) == fetch("GET", path).error

    def test_accounts(self, emulator: EmulatorProcess) -> None:
        """An account without terms refuses audiences."""
        made = emulator.ask("POST", "/accounts", {"id": "act_77", "terms": False})

        assert "act_77" == made["id"]
        assert (200, 1870090) == emulator.call("POST", "act_77/customaudiences", name="x").error

    def test_flagging(self, emulator: EmulatorProcess) -> None:
        """An audience can be put into Meta's flagged state."""
        audience = emulator.audience()
        emulator.ask("PATCH", f"/audiences/{audience}", {"operation_status": 471})

        assert (100, 1713230) == emulator.add(audience, 1).error

    def test_latency(self, emulator: EmulatorProcess) -> None:
        """Every answer takes at least the set time."""
        emulator.ask("PUT", "/limits", {"latency_ms": 80})
        began = time.monotonic()
        emulator.call("GET", "me")

        assert time.monotonic() - began >= 0.08

    def test_budget(self, emulator: EmulatorProcess) -> None:
        """Beyond the hourly budget it is 80003/2446079; hurried time gives the hour back."""
        account = emulator.seed["ad_accounts"][0]
        emulator.ask("PUT", "/limits", {"budget": {account: 1}})

        assert [200, 400] == [emulator.call("GET", account).status for _ in range(2)]
        assert (80003, 2446079) == emulator.call("GET", account).error

        emulator.ask("PUT", "/limits", {"time_scale": 1_000_000})
        time.sleep(0.01)

        assert 200 == emulator.call("GET", account).status


class TestMisbehaviour:
    def script(self, emulator: EmulatorProcess, **answer: object) -> int:
        """Script the next upload; returns the fault's id."""
        return int(emulator.ask("POST", "/faults", {"match": {"path": "/users"}, "answer": answer})["id"])

    @pytest.mark.parametrize(("when", "members"), [("before", 0), ("after", 1)])
    def test_reset(self, emulator: EmulatorProcess, when: str, members: int) -> None:
        """The connection is reset, before the call took effect or after it."""
        audience = emulator.audience()
        fault = self.script(emulator, reset=when)
        with pytest.raises(ConnectionResetError):
            emulator.add(audience, 1)

        assert members == emulator.count(audience)
        assert 1 == emulator.ask("GET", f"/faults/{fault}")["fired"]
        assert emulator.ask("GET", "/calls")[-1]["status"] is None

    def test_half_an_answer(self, emulator: EmulatorProcess) -> None:
        """The promised length is not kept: a few bytes, then the end; the members are stored."""
        audience = emulator.audience()
        self.script(emulator, truncate=7)
        with pytest.raises(http.client.IncompleteRead) as broken:
            emulator.add(audience, 1)

        assert 7 == len(broken.value.partial)
        assert 1 == emulator.count(audience)

    def test_delay(self, emulator: EmulatorProcess) -> None:
        """A delayed answer is the real one, later."""
        audience = emulator.audience()
        self.script(emulator, delay_ms=120)
        began = time.monotonic()
        heard = emulator.add(audience, 1)

        assert (200, True) == (heard.status, time.monotonic() - began >= 0.12)

    def test_hang(self, emulator: EmulatorProcess) -> None:
        """A hanging call is not answered, and others are served meanwhile."""
        self.script(emulator, hang=True)
        host, port = emulator.graph.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), SECONDS) as waiting:
            waiting.sendall(b"POST /v26.0/1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            while not emulator.seen():
                time.sleep(0.01)
            waiting.settimeout(0.2)

            assert 200 == emulator.call("GET", "me").status
            with pytest.raises(TimeoutError):
                waiting.recv(1)

    def test_html(self, emulator: EmulatorProcess) -> None:
        """A scripted page goes out as HTML under the scripted status."""
        audience = emulator.audience()
        self.script(emulator, status=503, body="<h1>Service Unavailable</h1>")
        heard = emulator.add(audience, 1)

        assert (503, b"<h1>Service Unavailable</h1>") == (heard.status, heard.body)
        assert heard.headers["Content-Type"].startswith("text/html")

    def test_faults_are_listed_and_forgotten(self, emulator: EmulatorProcess) -> None:
        """Faults can be listed with their counts, removed one by one, and all at once."""
        ids = [self.script(emulator, code=2) for _ in range(3)]
        emulator.add(emulator.audience(), 1)

        assert [1, 0, 0] == [fault["fired"] for fault in emulator.ask("GET", "/faults")]

        emulator.ask("DELETE", f"/faults/{ids[0]}")

        assert ids[1:] == [fault["id"] for fault in emulator.ask("GET", "/faults")]

        emulator.ask("DELETE", "/faults")

        assert [] == emulator.ask("GET", "/faults")


class TestSizes:
    def test_a_long_request_line(self, emulator: EmulatorProcess) -> None:
        """Python's SDK puts removals into the URL: 800 addresses are 58 kB, and must be served."""
        audience = emulator.audience()
        emulator.add(audience, *range(800))
        payload = json.dumps({"schema": ["EMAIL"], "data": [[hashed(number)] for number in range(800)]})
        query = urlencode({"access_token": emulator.seed["token"], "payload": payload})
        heard = fetch("DELETE", f"{emulator.graph}/v26.0/{audience}/users?{query}")

        assert (200, 0) == (heard.status, emulator.count(audience))
        assert len(query) > 58_000

    def test_a_request_line_beyond_the_limit(self, emulator: EmulatorProcess) -> None:
        """Beyond 128 kB the request is refused, as the live edge breaks there, and the emulator goes on."""
        try:
            status = fetch("GET", f"{emulator.graph}/v26.0/me?x={'x' * 140_000}").status
        except OSError:
            status = 400

        assert 400 == status
        assert 200 == emulator.call("GET", "me").status

    def test_a_large_body(self, emulator: EmulatorProcess) -> None:
        """10,000 rows of 25 MB are taken; a body beyond 32 MB is 413."""
        audience = emulator.audience()
        rows = [[hashed(number), f"{number}-{'x' * 2500}"] for number in range(10_000)]
        heard = emulator.call("POST", f"{audience}/users", payload={"schema": ["EMAIL", "EXTERN_ID"], "data": rows})

        assert (200, 10_000) == (heard.status, heard.json["num_received"])

        too_large = fetch("POST", f"{emulator.graph}/v26.0/me", b" " * (32 * 1024 * 1024 + 1))

        assert 413 == too_large.status

    def test_an_absolute_request_target(self, emulator: EmulatorProcess) -> None:
        """Meta's Data File Uploader sends the whole address in the request line."""
        connection = http.client.HTTPConnection(emulator.graph.removeprefix("http://"), timeout=SECONDS)
        target = f"{emulator.graph}/v26.0/me?access_token={emulator.seed['token']}"
        connection.request("GET", target)
        answer = connection.getresponse()
        user = json.loads(answer.read())
        connection.close()

        assert (200, emulator.seed["user_id"]) == (answer.status, user["id"])


class TestLogin:
    REDIRECT = "http://127.0.0.1:1/callback?from=here"

    def dialog(self, emulator: EmulatorProcess, **changed: str) -> str:
        """The address of the dialog."""
        query = {
            "client_id": emulator.seed["app_id"],
            "redirect_uri": self.REDIRECT,
            "state": "a&b=ü",
            "scope": "ads_management,business_management",
        }
        return f"{emulator.graph}/v26.0/dialog/oauth?{urlencode(query | changed)}"

    def click(self, emulator: EmulatorProcess, answer: str, *scopes: str) -> dict[str, str]:
        """Send the page's form and return the query of the redirect."""
        form = [("user", emulator.seed["user_id"]), ("answer", answer), *(("scope", scope) for scope in scopes)]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        heard = fetch("POST", self.dialog(emulator), urlencode(form).encode(), headers)
        parts = urlsplit(heard.headers["Location"])
        assert (303, "127.0.0.1:1", "_=_") == (heard.status, parts.netloc, parts.fragment)
        return {name: values[0] for name, values in parse_qs(parts.query).items()}

    def test_the_page_can_be_clicked(self, emulator: EmulatorProcess) -> None:
        """The page has a box per permission and two buttons in a plain form."""
        page = fetch("GET", self.dialog(emulator)).body.decode()

        assert ["ads_management", "business_management", "public_profile"] == re.findall(
            r'name="scope" value="(\w+)"', page
        )
        assert ["continue", "cancel"] == re.findall(r'<button name="answer" value="(\w+)"', page)
        assert "<script" not in page

    def test_continue(self, emulator: EmulatorProcess) -> None:
        """The code becomes a token of the ticked permissions, once, and only for the same redirect address."""
        query = self.click(emulator, "continue", "ads_management")
        given = {
            "client_id": emulator.seed["app_id"],
            "client_secret": emulator.seed["app_secret"],
            "code": query["code"],
        }
        exchange = f"{emulator.graph}/v26.0/oauth/access_token?{urlencode(given)}&redirect_uri="
        wrong = fetch("GET", f"{exchange}http%3A%2F%2F127.0.0.1%3A1%2Fother")
        right = fetch("GET", f"{exchange}{urlencode({'': self.REDIRECT})[1:]}")
        again = fetch("GET", f"{exchange}{urlencode({'': self.REDIRECT})[1:]}")
        token = right.json["access_token"]
        granted = fetch("GET", f"{emulator.graph}/v26.0/me/permissions?access_token={token}").json["data"]

        assert ("here", "a&b=ü") == (query["from"], query["state"])
        assert [(100, 36008), (100, 36009)] == [wrong.error, again.error]
        assert {"ads_management": "granted", "public_profile": "granted", "business_management": "declined"} == {
            row["permission"]: row["status"] for row in granted
        }

    def test_cancel(self, emulator: EmulatorProcess) -> None:
        """Denying comes back with Meta's four names and the state."""
        query = self.click(emulator, "cancel")

        assert ("access_denied", "200", "user_denied", "a&b=ü") == (
            query["error"],
            query["error_code"],
            query["error_reason"],
            query["state"],
        )

    @pytest.mark.parametrize(
        "changed",
        [{"client_id": "1"}, {"redirect_uri": "javascript:alert(1)"}, {"scope": "<b>"}, {"response_type": "token"}],
        ids=str,
    )
    def test_a_wrong_dialog_redirects_nowhere(self, emulator: EmulatorProcess, changed: dict[str, str]) -> None:
        """A dialog that cannot be served says so on the page, escaped."""
        heard = fetch("GET", self.dialog(emulator, **changed))

        assert 400 == heard.status
        assert b"<b>" not in heard.body
