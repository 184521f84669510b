"""The vault: a sealed secret opens for its owner and for nobody else."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.runtime.settings import Stage
from services.auth.framing import framed
from services.auth.keys import DataKey, KeyFileError, KeyRefused, LocalKeyProvider
from services.auth.vault import CannotOpen, Owner, Sealed, Vault

KEY, OLD_KEY = bytes(range(32)), bytes(range(1, 33))
PROFILE, OTHER = UUID(int=1), UUID(int=2)
OWNER = Owner(42, PROFILE)
STRANGERS = [replace(OWNER, company_id=43), replace(OWNER, profile_id=OTHER), replace(OWNER, field="refresh_token")]


def vault(**keys: bytes) -> Vault:
    return Vault(LocalKeyProvider(keys or {"k1": KEY}), clock=lambda: 0.0)


class CountingKeys:
    """A key provider that answers slowly, counts, and can be told to refuse: what a key service is like."""

    def __init__(self) -> None:
        self._keys = LocalKeyProvider({"k1": KEY})
        self.unwraps = 0
        self.refusing = False

    async def generate(self, context: Mapping[str, str]) -> DataKey:
        """A new key."""
        return await self._keys.generate(context)

    async def unwrap(self, kek_ref: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The key, after a moment."""
        self.unwraps += 1
        await asyncio.sleep(0)
        if self.refusing:
            raise KeyRefused("told to")
        return await self._keys.unwrap(kek_ref, wrapped, context)


def with_part(sealed: Sealed, part: str, data: bytes) -> Sealed:
    changed: dict[str, Any] = {part: data}
    return replace(sealed, **changed)


class TestSealing:
    @given(secret=st.binary(max_size=5_000), company=st.integers(0, 2**63 - 1), profile=st.uuids())
    def test_opens_for_its_owner(self, secret: bytes, company: int, profile: UUID) -> None:
        """What was sealed comes back, byte for byte."""
        owner = Owner(company, profile)

        async def there_and_back() -> bytes:
            one = vault()
            return await one.open(await one.seal(secret, owner), owner)

        assert secret == asyncio.run(there_and_back())

    async def test_no_two_seals_share_a_key_or_nonce(self) -> None:
        """A new data key for each write: a nonce cannot repeat under one key."""
        one = vault()
        sealed = [await one.seal(b"same", OWNER) for _ in range(50)]

        assert 50 == len({row.wrapped_dek for row in sealed})
        assert 50 == len({row.nonce for row in sealed})
        assert 50 == len({row.ciphertext for row in sealed})

    @pytest.mark.parametrize("stranger", STRANGERS, ids=["company", "profile", "field"])
    async def test_does_not_open_for_another(self, stranger: Owner) -> None:
        """A row moved to another company, profile or field is refused."""
        sealed = await vault().seal(b"secret", OWNER)

        with pytest.raises(CannotOpen):
            await vault().open(sealed, stranger)

    @pytest.mark.parametrize("stranger", STRANGERS, ids=["company", "profile", "field"])
    async def test_a_cached_key_does_not_help_a_stranger(self, stranger: Owner) -> None:
        """Having opened it for the owner a moment ago changes nothing for others."""
        one = vault()
        sealed = await one.seal(b"secret", OWNER)
        await one.open(sealed, OWNER)

        with pytest.raises(CannotOpen):
            await one.open(sealed, stranger)

    async def test_the_field_is_bound_by_the_ciphertext_itself(self) -> None:
        """Even where the key service's context is the same, the authenticated data differ."""
        sealed = await vault().seal(b"secret", OWNER)
        refresh = replace(OWNER, field="refresh_token")

        assert OWNER.context() == refresh.context()
        with pytest.raises(CannotOpen, match="altered or belongs"):
            await vault().open(sealed, refresh)

    @given(
        part=st.sampled_from(["wrapped_dek", "nonce", "ciphertext"]), at=st.integers(0, 10_000), bit=st.integers(0, 7)
    )
    def test_one_altered_bit_is_noticed(self, part: str, at: int, bit: int) -> None:
        """Whichever bit of whichever part is altered, nothing opens."""

        async def altered() -> None:
            sealed = await vault().seal(b"a secret of some length", OWNER)
            data = bytearray(getattr(sealed, part))
            data[at % len(data)] ^= 1 << bit
            await vault().open(with_part(sealed, part, bytes(data)), OWNER)

        with pytest.raises(CannotOpen):
            asyncio.run(altered())

    @pytest.mark.parametrize("part", ["wrapped_dek", "nonce", "ciphertext"])
    async def test_a_part_of_another_row_is_noticed(self, part: str) -> None:
        """Parts of two rows of the very same owner do not mix."""
        one = vault()
        first, second = await one.seal(b"first", OWNER), await one.seal(b"second", OWNER)

        with pytest.raises(CannotOpen):
            await one.open(with_part(first, part, getattr(second, part)), OWNER)

    @pytest.mark.parametrize("cut", [b"", b"short"])
    async def test_cut_rows_are_refused_as_such(self, cut: bytes) -> None:
        """A truncated row is a refusal, not a crash of the cipher."""
        sealed = await vault().seal(b"secret", OWNER)

        for part in ("wrapped_dek", "nonce", "ciphertext"):
            with pytest.raises(CannotOpen):
                await vault().open(with_part(sealed, part, cut), OWNER)

    async def test_unknown_format(self) -> None:
        """A format of a newer version is named, not guessed at."""
        sealed = await vault().seal(b"secret", OWNER)

        with pytest.raises(CannotOpen, match="format 2"):
            await vault().open(replace(sealed, fmt=2), OWNER)

    async def test_nothing_secret_is_shown(self) -> None:
        """Neither the row nor an error shows a byte of what it holds."""
        sealed = await vault().seal(b"secret", OWNER)

        assert "Sealed(fmt=1, kek_ref='local:k1')" == repr(sealed)
        assert "DataKey(kek_ref='x')" == repr(DataKey(b"plain", "x", b"wrapped"))


class TestRotating:
    async def test_old_rows_open_while_their_key_is_listed(self) -> None:
        """Prepending a key rotates: new rows use it, old rows still open."""
        old = await vault(old=OLD_KEY).seal(b"old", OWNER)
        both = vault(new=KEY, old=OLD_KEY)

        new = await both.seal(b"new", OWNER)

        assert ("local:old", "local:new") == (old.kek_ref, new.kek_ref)
        assert (b"old", b"new") == (await both.open(old, OWNER), await both.open(new, OWNER))

    async def test_a_key_that_is_gone_is_named(self) -> None:
        """The operator is told which key to put back."""
        sealed = await vault(old=OLD_KEY).seal(b"old", OWNER)

        with pytest.raises(CannotOpen, match="local:old"):
            await vault(new=KEY).open(sealed, OWNER)

    async def test_another_key_of_the_same_name_does_not_open(self) -> None:
        """A name is no key."""
        sealed = await vault(k1=OLD_KEY).seal(b"old", OWNER)

        with pytest.raises(CannotOpen):
            await vault(k1=KEY).open(sealed, OWNER)


class TestKeepingDataKeys:
    async def test_unwraps_once_within_the_ttl(self) -> None:
        """A second lease costs no call to the key service; after the TTL it does."""
        keys, now = CountingKeys(), [0.0]
        one = Vault(keys, clock=lambda: now[0], ttl=300)
        sealed = await one.seal(b"secret", OWNER)

        for moment in (0.0, 299.0, 300.0):
            now[0] = moment
            assert b"secret" == await one.open(sealed, OWNER)

        assert 2 == keys.unwraps

    async def test_a_crowd_unwraps_once(self) -> None:
        """Concurrent callers share one call."""
        keys = CountingKeys()
        one = Vault(keys, clock=lambda: 0.0)
        sealed = await one.seal(b"secret", OWNER)

        assert {b"secret"} == set(await asyncio.gather(*(one.open(sealed, OWNER) for _ in range(20))))
        assert 1 == keys.unwraps

    async def test_one_who_leaves_does_not_fail_the_others(self) -> None:
        """A cancelled caller leaves the shared call alive."""
        one = Vault(CountingKeys(), clock=lambda: 0.0)
        sealed = await one.seal(b"secret", OWNER)
        first = asyncio.create_task(one.open(sealed, OWNER))
        second = asyncio.create_task(one.open(sealed, OWNER))
        await asyncio.sleep(0)
        first.cancel()

        assert b"secret" == await second

    async def test_failures_are_not_kept(self) -> None:
        """A key service that recovers is noticed at the next call."""
        keys = CountingKeys()
        one = Vault(keys, clock=lambda: 0.0)
        sealed = await one.seal(b"secret", OWNER)
        keys.refusing = True
        with pytest.raises(CannotOpen):
            await one.open(sealed, OWNER)
        keys.refusing = False

        assert b"secret" == await one.open(sealed, OWNER)

    async def test_no_more_than_the_limit_are_kept(self) -> None:
        """The least recently used key goes first."""
        keys = CountingKeys()
        one = Vault(keys, clock=lambda: 0.0, entries=2)
        rows: list[Sealed] = [await one.seal(b"x", OWNER) for _ in range(3)]

        for number in (0, 1, 0, 2, 0, 1):
            await one.open(rows[number], OWNER)

        assert 4 == keys.unwraps


class TestFraming:
    @given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
    def test_different_fields_are_different_bytes(self, one: list[str], other: list[str]) -> None:
        """No shifting of letters between fields makes one owner's bytes another's."""
        assert (one == other) == (framed(*one) == framed(*other))

    def test_layout(self) -> None:
        """The layout is part of stored data and never changes."""
        assert b"\x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x00\x00\x02\xc3\xa9" == framed("ab", "", "é")


def key_file(folder: Path, content: object) -> Path:
    path = folder / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


class TestKeyFile:
    async def test_the_first_key_is_the_primary_one(self, tmp_path: Path) -> None:
        """New rows are sealed with the first key of the file."""
        entries = [{"id": name, "key": base64.b64encode(key).decode()} for name, key in (("a", KEY), ("b", OLD_KEY))]

        provider = LocalKeyProvider.from_file(key_file(tmp_path, {"keys": entries}), Stage.DEV)

        assert "local:a" == (await provider.generate({})).kek_ref

    def test_refused_in_production(self, tmp_path: Path) -> None:
        """A key in a file protects nothing where it matters."""
        entries = [{"id": "a", "key": base64.b64encode(KEY).decode()}]

        with pytest.raises(KeyFileError, match="key service"):
            LocalKeyProvider.from_file(key_file(tmp_path, {"keys": entries}), Stage.PROD)

    @pytest.mark.parametrize(
        "content",
        [
            "no json",
            {"keys": []},
            {"keys": [{"id": "a", "key": base64.b64encode(b"canary-too-short").decode()}]},
            {"keys": [{"id": "a", "key": "%canary%"}]},
            {"keys": [{"id": "a/b", "key": base64.b64encode(KEY).decode()}]},
            {"keys": [{"id": "a", "key": base64.b64encode(KEY).decode()}] * 2},
        ],
        ids=["no json", "no key", "short key", "no base64", "bad name", "name twice"],
    )
    def test_malformed(self, tmp_path: Path, content: object) -> None:
        """A malformed file is refused, naming it and showing no key."""
        with pytest.raises(KeyFileError, match=r"keys\.json") as caught:
            LocalKeyProvider.from_file(key_file(tmp_path, content), Stage.DEV)

        assert "canary" not in str(caught.value)
        assert base64.b64encode(b"canary-too-short").decode() not in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        """A missing file is named."""
        with pytest.raises(KeyFileError, match=r"nowhere\.json"):
            LocalKeyProvider.from_file(tmp_path / "nowhere.json", Stage.DEV)
