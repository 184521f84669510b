"""A delivery through the whole stack: what a script and an upstream platform rely on."""

import itertools
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.records import emails, line, people, write
from tests.stack import Stack, http

pytestmark = pytest.mark.timeout(180)

revisions = itertools.count(time.time_ns() // 1_000_000)


class TestDelivered:
    def test_people_arrive_and_every_record_is_accounted_for(self, stack: Stack, folder: Path) -> None:
        """A file of people becomes members, and the sums agree in ledger and emulator."""
        stack.seed("arrive")
        file = people(folder / "a.ndjson", "arrive", range(25_000))

        ended = stack.publish(str(file), "--profile", "arrive", "--audience-name", "Arrive")

        assert ended.code == 0, ended.err + stack.logs()
        assert {
            "records": 25_000,
            "accepted": 25_000,
            "invalid": 0,
            "rejected": 0,
            "waiting": 0,
            "dead": 0,
        } == ended.json["totals"]
        audience = stack.show(ended.json["revision"])["audience_id"]
        assert 25_000 == stack.members(audience)
        assert {"members": 25_000, "missing": []} == stack.control(
            "POST", f"/audiences/{audience}/contains", emails("arrive", range(25_000))
        )

    def test_no_stranger_in_either_of_two_audiences(self, stack: Stack, folder: Path) -> None:
        """Two customers' deliveries interleave; each address tells its audience, and none is found elsewhere."""
        accounts = stack.control("GET", "/seed")["ad_accounts"]
        stack.seed("left", company=11, account=accounts[0])
        stack.seed("right", company=12, account=accounts[1])
        published: dict[str, list[int]] = {"left": [], "right": []}
        for part in range(3):
            for side, known in published.items():
                numbers = range(part * 4_000, (part + 1) * 4_000)
                file = people(folder / f"{side}-{part}.ndjson", side, numbers)
                answer = stack.fbc(
                    "deliveries", "publish", str(file), "--profile", side, "--audience-name", f"Side {side}",
                    "--revision", str(next(revisions)), "-o", "json",
                )  # fmt: skip
                assert answer.code == 0, answer.err
                known.append(answer.json["revision"])

        audiences = {}
        for side, all_revisions in published.items():
            ids = {stack.ended(revision)["audience_id"] for revision in all_revisions}
            assert 1 == len(ids), "one connection has one audience"
            audiences[side] = ids.pop()

        for side, other in (("left", "right"), ("right", "left")):
            contains = f"/audiences/{audiences[side]}/contains"
            assert 12_000 == stack.members(audiences[side])
            assert [] == stack.control("POST", contains, emails(side, range(12_000)))["missing"]
            assert 100 == len(stack.control("POST", contains, emails(other, range(12_000)))["missing"])

    def test_a_removal_takes_people_out(self, stack: Stack, folder: Path) -> None:
        """`--operation remove` leaves exactly the others."""
        stack.seed("remove")
        options = ["--profile", "remove", "--audience-name", "Remove"]
        everybody = people(folder / "all.ndjson", "remove", range(1_000))
        some = people(folder / "some.ndjson", "remove", range(300))

        added = stack.publish(str(everybody), *options)
        removed = stack.publish(str(some), *options, "--operation", "remove")

        assert (0, 0) == (added.code, removed.code), removed.err
        audience = stack.show(removed.json["revision"])["audience_id"]
        assert 700 == stack.members(audience)
        assert 300 == removed.json["totals"]["accepted"]

    def test_a_replacement_leaves_exactly_its_people(self, stack: Stack, folder: Path) -> None:
        """`--operation replace` over three chunks of two files: nobody from before, nobody missing."""
        stack.seed("replace")
        options = ["--profile", "replace", "--audience-name", "Replace"]
        before = people(folder / "before.ndjson", "before", range(1_000))
        first = people(folder / "first.ndjson", "replace", range(15_000))
        second = people(folder / "second.ndjson", "replace", range(15_000, 20_000))
        assert 0 == stack.publish(str(before), *options).code

        replaced = stack.publish(str(first), str(second), *options, "--operation", "replace")

        assert replaced.code == 0, replaced.err + stack.logs()
        audience = stack.show(replaced.json["revision"])["audience_id"]
        assert (20_000, 20_000) == (stack.members(audience), replaced.json["totals"]["accepted"])

    def test_a_revoked_token_holds_up_and_a_restored_one_lets_go(self, stack: Stack, folder: Path) -> None:
        """The customer changed the password: the delivery waits and says why; connected again, it arrives by itself."""
        stack.seed("revoked")
        options = ["--profile", "revoked", "--audience-name", "Revoked"]
        assert 0 == stack.publish(str(people(folder / "before.ndjson", "revoked", range(10))), *options).code
        assert 0 == stack.fbc("dev", "seed", "--revoke").code
        file, revision = people(folder / "revoked.ndjson", "revoked", range(12_000)), next(revisions)

        stack.publish(str(file), *options, "--revision", str(revision), wait=0.1)
        waiting = stack.until(revision, lambda delivery: delivery["state"] == "waiting")
        assert "password_changed" == waiting["reason"]["code"]
        stack.seed("revoked")

        ended = stack.ended(revision)
        assert ("delivered", 12_000) == (ended["state"], ended["totals"]["accepted"])

    def test_the_legacy_layout_is_read_below_data(self, stack: Stack, folder: Path) -> None:
        """The predecessor's legacy files go on working."""
        stack.seed("legacy")
        file = write(folder / "l.ndjson", (json.dumps({"data": json.loads(line("legacy", n))}) for n in range(10)))

        ended = stack.publish(str(file), "--profile", "legacy", "--layout", "narrative-legacy")

        assert 10 == ended.json["totals"]["accepted"]

    def test_several_files_are_one_delivery(self, stack: Stack, folder: Path) -> None:
        """Files are planned and accounted for one by one, and the delivery is their sum."""
        stack.seed("files")
        first = people(folder / "1.ndjson", "files", range(10))
        second = people(folder / "2.ndjson", "files", range(10, 30))

        ended = stack.publish(str(first), str(second), "--profile", "files")

        assert 30 == ended.json["totals"]["accepted"]
        shown = stack.show(ended.json["revision"])
        assert [10, 20] == [file["records"] for file in shown["files"]]
        assert {"delivered"} == {file["state"] for file in shown["files"]}


class TestAgain:
    def test_the_same_delivery_twice_is_a_no_op(self, stack: Stack, folder: Path) -> None:
        """Same revision, same content: the same answer and not one call more."""
        stack.seed("again")
        file = people(folder / "a.ndjson", "again", range(100))
        options = [str(file), "--profile", "again", "--revision", str(next(revisions))]

        first = stack.publish(*options)
        calls = len(stack.control("GET", "/calls"))
        second = stack.publish(*options)

        assert (0, 0) == (first.code, second.code), second.err
        assert first.json == second.json
        assert calls == len(stack.control("GET", "/calls"))

    def test_the_same_revision_with_other_content_is_refused(self, stack: Stack, folder: Path) -> None:
        """A revision is one content: 409, and the first stays as it was."""
        stack.seed("conflict")
        revision = str(next(revisions))
        first = people(folder / "a.ndjson", "conflict", range(10))
        second = people(folder / "b.ndjson", "conflict", range(20))
        stack.publish(str(first), "--profile", "conflict", "--revision", revision)

        refused = stack.publish(str(second), "--profile", "conflict", "--revision", revision)

        assert 4 == refused.code
        assert revision in refused.err
        assert 10 == stack.show(int(revision))["totals"]["records"]


class TestBadRecords:
    def test_a_malformed_line_is_rejected_by_number_and_the_rest_arrives(self, stack: Stack, folder: Path) -> None:
        """The owner of the file is told the line; everybody else is delivered."""
        stack.seed("malformed")
        lines = [line("malformed", n) for n in range(50)]
        lines[30:30] = ["", '{"unique_id": {"type": "sha256_em']
        file = write(folder / "m.ndjson", lines)

        ended = stack.publish(str(file), "--profile", "malformed")

        assert ("delivered", 50, 1) == (
            ended.json["state"],
            ended.json["totals"]["accepted"],
            ended.json["totals"]["rejected"],
        )
        (shown,) = stack.show(ended.json["revision"])["files"]
        assert {"malformed_json": 1} == shown["reject_reasons"]
        assert [(31, 32)] == [(reject["record"], reject["line"]) for reject in shown["rejects"]]

    def test_a_file_without_one_valid_record_fails_with_that_reason(self, stack: Stack, folder: Path) -> None:
        """Nobody is told that nothing was delivered successfully."""
        stack.seed("nobody")
        file = write(folder / "n.ndjson", ['{"hl7_gender":{"gender":"male"}}'] * 3)

        ended = stack.publish(str(file), "--profile", "nobody")

        assert (1, "failed", "no_valid_record") == (ended.code, ended.json["state"], ended.json["reason"]["code"])
        assert 3 == ended.json["totals"]["rejected"]

    def test_a_huge_single_line_is_refused_in_bounded_memory(self, stack: Stack, folder: Path) -> None:
        """200 MB without a line end: a clear error on the delivery, and ingest is none the fatter."""
        stack.seed("huge")
        file = folder / "huge.ndjson"
        with file.open("wb") as out:
            for _ in range(200):
                out.write(b"x" * 1_000_000)
        before = _resident_mb(stack.parts()["ingest"]["pid"])

        ended = stack.publish(str(file), "--profile", "huge")

        assert "failed" == ended.json["state"]
        (shown,) = stack.show(ended.json["revision"])["files"]
        assert {"line_too_long": 1} == shown["reject_reasons"]
        assert _resident_mb(stack.parts()["ingest"]["pid"]) < before + 64


class TestBadDeliveries:
    def delivery(self, profile: Any, **changes: Any) -> dict[str, Any]:
        """A well-formed delivery of one file that is not there, with *changes*."""
        return {
            "revision": next(revisions),
            "kind": "snapshot-appended",
            "company_id": profile["company_id"],
            "profile_id": profile["id"],
            "connection_id": str(uuid4()),
            "files": [{"name": "a.ndjson", "store": "local", "key": "nowhere/a.ndjson"}],
            **changes,
        }

    def failed(self, stack: Stack, event: dict[str, Any]) -> Any:
        """The delivery after it was accepted and failed."""
        status, answer = http("POST", f"{stack.url('ingest')}/v1/deliveries", event)
        assert 202 == status, answer
        ended = stack.ended(event["revision"])
        assert "failed" == ended["state"]
        assert ended["reason"]["advice"], "what failed says what to do"
        return ended

    def test_an_unknown_profile_fails_with_that_reason(self, stack: Stack) -> None:
        """Nothing is sent for a profile auth does not know."""
        profile = stack.seed("bad")
        ended = self.failed(stack, self.delivery(profile, profile_id=str(uuid4())))

        assert "unknown_profile" == ended["reason"]["code"]

    def test_another_companys_profile_is_refused(self, stack: Stack) -> None:
        """A delivery cannot borrow somebody else's connection."""
        profile = stack.seed("bad")
        ended = self.failed(stack, self.delivery(profile, company_id=profile["company_id"] + 1_000))

        assert "wrong_company" == ended["reason"]["code"]

    def test_an_unknown_store_fails_with_that_reason(self, stack: Stack) -> None:
        """A store that is not configured is named."""
        profile = stack.seed("bad")
        ended = self.failed(stack, self.delivery(profile, files=[{"name": "a", "store": "nowhere", "key": "a"}]))

        assert "unknown_store" == ended["reason"]["code"]
        assert "nowhere" in ended["reason"]["message"]

    def test_a_missing_key_fails_with_that_reason(self, stack: Stack) -> None:
        """A file that is not there is named."""
        ended = self.failed(stack, self.delivery(stack.seed("bad")))

        assert "object_missing" == ended["reason"]["code"]

    def test_an_empty_file_fails_with_that_reason(self, stack: Stack, folder: Path) -> None:
        """A file without a record is an error its owner should hear of."""
        stack.seed("bad")
        file = folder / "empty.ndjson"
        file.touch()

        ended = stack.publish(str(file), "--profile", "bad")

        assert (1, "empty_file") == (ended.code, ended.json["reason"]["code"])

    @pytest.mark.parametrize(
        "changes",
        [{"revision": -1}, {"files": []}, {"operation": "explode"}, {"profile_id": "me"}],
        ids=["revision", "files", "operation", "profile"],
    )
    def test_what_is_not_a_delivery_is_refused_at_the_door(self, stack: Stack, changes: dict[str, Any]) -> None:
        """422, naming the field."""
        event = {**self.delivery({"company_id": 1, "id": str(uuid4())}), **changes}

        status, answer = http("POST", f"{stack.url('ingest')}/v1/deliveries", event)

        assert 422 == status
        assert next(iter(changes)) in answer["error"]["message"]

    def test_a_url_instead_of_a_store_is_refused(self, stack: Stack) -> None:
        """No request can be forged through a delivery event."""
        profile = {"company_id": 1, "id": str(uuid4())}
        event = self.delivery(profile, files=[{"name": "a", "store": "http://127.0.0.1/x", "key": "k"}])

        assert 422 == http("POST", f"{stack.url('ingest')}/v1/deliveries", event)[0]

    def test_an_unknown_delivery_is_not_found(self, stack: Stack) -> None:
        """404 over HTTP, exit code 3 on the command line."""
        assert 404 == http("GET", f"{stack.url('ingest')}/v1/deliveries/1")[0]
        assert 3 == stack.fbc("deliveries", "show", "1").code


class TestChangedFile:
    def test_a_file_changed_between_plan_and_read_fails_by_etag(self, stack: Stack, folder: Path) -> None:
        """The uploader reads only what ingest planned: another content is refused and named."""
        stack.seed("changed")
        file = people(folder / "c.ndjson", "changed", range(50))
        assert 0 == stack.fbc("dev", "scale", "uploader", "0").code
        try:
            answer = stack.fbc("deliveries", "publish", str(file), "--profile", "changed", "-o", "json")
            revision = answer.json["revision"]
            stack.until(revision, lambda delivery: delivery["state"] == "uploading")
            key = stack.show(revision)["files"][0]["key"]
            people(stack.home / "objects" / key, "changed", range(50, 100))
        finally:
            assert 0 == stack.fbc("dev", "scale", "uploader", "1").code

        ended = stack.ended(revision)

        assert "failed" == ended["state"]
        (shown,) = stack.show(revision)["files"]
        assert ("failed", "object_changed") == (shown["state"], shown["reason"]["code"])
        assert 0 == stack.members(ended["audience_id"])


def _resident_mb(pid: int) -> float:
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no VmRSS")
