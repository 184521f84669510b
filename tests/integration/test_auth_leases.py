"""Leases: who gets a token, for what, and that it is seen nowhere else."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connector.runtime.identity import ServiceSigner
from tests.integration.auth_parts import Answer, Auth, Databases, Emulator, RunAuth

pytest_plugins = ("tests.integration.auth_fixtures",)

ROUTES = (
    ("POST", "/internal/v1/profiles"),
    ("GET", "/internal/v1/profiles"),
    ("GET", f"/internal/v1/profiles/{uuid4()}"),
    ("POST", "/internal/v1/destinations"),
    ("POST", "/internal/v1/leases"),
)


@pytest.fixture
async def profile(auth: Auth, auth_emulator: Emulator) -> dict[str, Any]:
    """A profile with an audience (in `audience`) and a token of its own (in `secret`)."""
    token = auth_emulator.token()
    made = (await auth.connect(auth_emulator.account(), token)).json
    resolved = await auth.resolve(made, f"connection:{uuid4()}")
    return {**made, "secret": token, "audience": resolved.json["audience_id"]}


class TestLeasing:
    async def test_the_token_comes_with_its_proof(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """An uploader gets what one call needs: token, proof, and at most five minutes."""
        answer = await auth.lease(profile, profile["audience"])

        key = auth_emulator.seed["app_secret"].encode()
        assert 200 == answer.status
        assert profile["secret"] == answer.json["token"]
        assert hmac.new(key, profile["secret"].encode(), hashlib.sha256).hexdigest() == answer.json["appsecret_proof"]
        left = datetime.fromisoformat(answer.json["expires_at"]) - datetime.now(UTC)
        assert timedelta(seconds=240) < left <= timedelta(seconds=300)
        assert "no-store" == answer.headers["Cache-Control"]

    async def test_meta_takes_what_was_leased(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """Token and proof together are what Meta wants to see."""
        lease = (await auth.lease(profile, profile["audience"])).json
        url = f"{auth_emulator.graph}/v26.0/{profile['audience']}"
        headers = {"Authorization": f"Bearer {lease['token']}"}
        params = {"fields": "id", "appsecret_proof": lease["appsecret_proof"]}
        async with auth.session.get(url, params=params, headers=headers) as answer:
            assert (200, {"id": profile["audience"]}) == (answer.status, await answer.json())

    async def test_a_lease_ends_with_its_token(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A token that dies in a minute is not leased for five."""
        made = (await auth.connect(auth_emulator.account(), auth_emulator.token(expires_in=60))).json
        audience = (await auth.resolve(made, f"connection:{uuid4()}")).json["audience_id"]

        lease = await auth.lease(made, audience)

        assert made["token"]["expires_at"] == lease.json["expires_at"]

    async def test_each_lease_is_a_fact(self, auth: Auth, profile: dict[str, Any]) -> None:
        """Who got a token, for which chunk, stands in the log."""
        lease = (await auth.lease(profile, profile["audience"], chunk_id="77/1/2")).json

        lines = [json.loads(line) for line in auth.log.read_text().splitlines()]
        (fact,) = [line for line in lines if line.get("lease_id") == lease["lease_id"]]
        assert ("lease.issued", "uploader", "77/1/2", profile["audience"]) == (
            fact["event"],
            fact["caller"],
            fact["chunk_id"],
            fact["audience_id"],
        )


class TestBinding:
    async def test_foreign_audience(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """Another customer's audience is refused, however right everything else is."""
        other = (await auth.connect(auth_emulator.account(), auth_emulator.token())).json
        stranger = (await auth.resolve(other, f"connection:{uuid4()}")).json["audience_id"]

        assert (403, "binding_refused") == _said(await auth.lease(profile, stranger))

    async def test_audience_of_a_sister_profile(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """Not even another profile of the same company on the same ad account lends its audiences."""
        sister = await auth.connect(
            profile["ad_account"]["id"], auth_emulator.token(), company_id=profile["company_id"], name="sister"
        )

        assert 201 == sister.status
        assert (403, "binding_refused") == _said(await auth.lease(sister.json, profile["audience"]))

    async def test_foreign_account(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """Another ad account is refused."""
        answer = await auth.lease(profile, profile["audience"], ad_account_id=auth_emulator.account())

        assert (403, "binding_refused") == _said(answer)

    async def test_foreign_company(self, auth: Auth, profile: dict[str, Any]) -> None:
        """Another company is refused."""
        answer = await auth.lease(profile, profile["audience"], company_id=profile["company_id"] + 1)

        assert (403, "wrong_company") == _said(answer)

    async def test_unknown_profile(self, auth: Auth, profile: dict[str, Any]) -> None:
        """A profile that is not there has no token."""
        assert (404, "unknown_profile") == _said(await auth.lease({**profile, "id": str(uuid4())}, profile["audience"]))

    async def test_is_an_alarm(self, auth: Auth, profile: dict[str, Any]) -> None:
        """A refused binding means a defect somewhere: it is logged as an error, with the chunk."""
        await auth.lease(profile, "1", chunk_id="999/8/7")

        lines = [json.loads(line) for line in auth.log.read_text().splitlines()]
        (fact,) = [line for line in lines if line.get("chunk_id") == "999/8/7"]
        assert ("lease.binding_refused", "error", "binding_refused") == (
            fact["event"],
            fact["level"],
            fact["outcome"],
        )

    async def test_a_moved_ciphertext_opens_nothing(
        self, auth: Auth, auth_emulator: Emulator, auth_database: Databases, profile: dict[str, Any]
    ) -> None:
        """Somebody who may write the table cannot give one customer's token to another customer's profile."""
        victim = (await auth.connect(auth_emulator.account(), auth_emulator.token())).json
        query = (
            "UPDATE auth.tokens AS t SET kek_ref = v.kek_ref, wrapped_dek = v.wrapped_dek, nonce = v.nonce, "
            "ciphertext = v.ciphertext FROM auth.tokens AS v WHERE t.profile_id = %s AND v.profile_id = %s"
        )
        async with await psycopg.AsyncConnection.connect(auth_database.auth.get_secret_value()) as connection:
            assert 1 == (await connection.execute(query, [profile["id"], victim["id"]])).rowcount

        answer = await auth.lease(profile, profile["audience"])

        assert (500, "internal") == _said(answer)
        assert "CannotOpen" in auth.log.read_text()


class TestIdentity:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_nobody(self, auth: Auth, method: str, path: str) -> None:
        """A request without an identity is refused on every route."""
        answer = await auth.ask("nobody", method, path, headers={})

        assert (401, "unidentified") == _said(answer)

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_no_business_here(self, auth: Auth, method: str, path: str) -> None:
        """A service that is trusted, but has no business with a route, is refused on it."""
        assert (403, "caller_refused") == _said(await auth.ask("progress", method, path))

    @pytest.mark.parametrize("caller", ["cli", "ingest", "auth"])
    async def test_only_uploaders_lease(self, auth: Auth, profile: dict[str, Any], caller: str) -> None:
        """Even the service that resolves destinations gets no token."""
        signer = ServiceSigner(caller, auth.keys[caller])
        body = {"profile_id": profile["id"]}

        answer = await auth.ask(caller, "POST", "/internal/v1/leases", body, headers=signer.headers("auth"))

        assert (403, "caller_refused") == _said(answer)

    async def test_wrong_audience(self, auth: Auth) -> None:
        """An identity shown to ingest does not open auth."""
        headers = ServiceSigner("uploader", auth.keys["uploader"]).headers("ingest")

        assert (401, "unidentified") == _said(await auth.ask("uploader", *ROUTES[4], headers=headers))

    async def test_unknown_issuer(self, auth: Auth) -> None:
        """A service nobody listed is nobody."""
        headers = ServiceSigner("intruder", Ed25519PrivateKey.generate()).headers("auth")

        assert (401, "unidentified") == _said(await auth.ask("intruder", *ROUTES[4], headers=headers))

    async def test_borrowed_name(self, auth: Auth) -> None:
        """The uploader's name with another key is nobody."""
        headers = ServiceSigner("uploader", auth.keys["ingest"]).headers("auth")

        assert (401, "unidentified") == _said(await auth.ask("uploader", *ROUTES[4], headers=headers))

    async def test_expired(self, auth: Auth) -> None:
        """Yesterday's identity is none."""
        signer = ServiceSigner("uploader", auth.keys["uploader"], clock=lambda: time.time() - 86_400)

        assert (401, "unidentified") == _said(await auth.ask("uploader", *ROUTES[4], headers=signer.headers("auth")))

    async def test_unsigned(self, auth: Auth) -> None:
        """`alg: none` is not a signature."""
        claims = {"iss": "uploader", "aud": "auth", "iat": int(time.time()), "exp": int(time.time()) + 60}
        headers = {"Authorization": f"Bearer {jwt.encode(claims, '', algorithm='none')}"}

        assert (401, "unidentified") == _said(await auth.ask("uploader", *ROUTES[4], headers=headers))


class TestSecrecy:
    async def test_no_secret_is_seen_anywhere(
        self, auth: Auth, auth_emulator: Emulator, auth_database: Databases, run_auth: RunAuth
    ) -> None:
        """Through good and bad, no token, proof or app secret is in a log line, an error, a URL or the database."""
        tokens = [auth_emulator.token() for _ in range(3)]
        answers: list[Answer] = []
        with run_auth(FBC_GRAPH__TOTAL_TIMEOUT="1") as (url, log):
            mine = Auth(url, auth.keys, log, auth.session)
            made = (await mine.connect(auth_emulator.account(), tokens[0])).json
            audience = (await mine.resolve(made, f"connection:{uuid4()}")).json["audience_id"]
            proof = (await mine.lease(made, audience)).json["appsecret_proof"]
            answers.append(await mine.lease(made, "1"))
            auth_emulator.kill(tokens[1], 463)
            answers.append(await mine.connect(auth_emulator.account(), tokens[1]))
            answers.append(await mine.connect(auth_emulator.account(terms=False), tokens[2]))
            answers.append(await mine.connect("act_x", tokens[2]))
            auth_emulator.fail({"hang": True}, path="/debug_token")
            answers.append(await mine.connect(auth_emulator.account(), tokens[2]))
            echo = f"Error validating access token {tokens[0]}"
            fault = {"status": 400, "body": {"error": {"message": echo, "type": "OAuthException", "code": 31_337}}}
            auth_emulator.fail(fault, method="POST", account=made["ad_account"]["id"])
            answers.append(await mine.resolve(made, f"connection:{uuid4()}"))
            auth_emulator.kill(tokens[0], 463)
            answers.append(await mine.resolve(made, f"connection:{uuid4()}"))
            written = log.read_text()
        async with await psycopg.AsyncConnection.connect(auth_database.auth.get_secret_value()) as connection:
            rows = [
                str(await (await connection.execute(query)).fetchall())
                for query in (
                    "SELECT * FROM auth.profiles",
                    "SELECT * FROM auth.tokens",
                    "SELECT * FROM auth.audiences",
                    "SELECT * FROM auth.destinations",
                )
            ]

        errors = json.dumps([answer.json for answer in answers])
        assert [403, 409, 409, 422, 503, 503, 409] == [answer.status for answer in answers]
        assert "lease.issued" in written
        paths = json.dumps([call["path"] for call in auth_emulator.tell("GET", "/calls")])
        for secret in (*tokens, proof, auth_emulator.seed["app_secret"]):
            for place, found in {"log": written, "errors": errors, "paths": paths, "database": "".join(rows)}.items():
                assert secret not in found, f"a secret is in the {place}"


def _said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code
