"""Which process of a stack is told what."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.credentials import Credentials
from embedded.environment import Addresses, Application, Environments, Process, as_role
from embedded.errors import WrongRequest
from embedded.options import Options

ADDRESSES = Addresses(
    kafka="127.0.0.1:1",
    replication=1,
    admin_dsn="postgresql://postgres:admin-pw@127.0.0.1:2/fbc",
    s3_url="http://127.0.0.1:3",
    graph_url="http://127.0.0.1:4",
    graph_control_url="http://127.0.0.1:5",
    auth_url="http://127.0.0.1:6",
    ingest_url="http://127.0.0.1:7",
    objects=Path("/state/objects"),
)
CREDENTIALS = Credentials(Path("/state/secrets"), {"fbc_ingest": "i/pw", "fbc_auth": "a-pw"})
WITH_APP = Environments(ADDRESSES, CREDENTIALS, Application("123", "app-secret"))
SERVICES: tuple[Process, ...] = ("auth", "ingest", "progress", "uploader")


class TestLeastPrivilege:
    def test_only_auth_knows_the_app_secret_and_the_vault(self) -> None:
        """No other process, not even the command line, can prove or decrypt anything."""
        for name in ("FBC_GRAPH__APP_SECRET", "FBC_VAULT__KEY_FILE"):
            knowing = [process for process in (*SERVICES, "cli", "database") if name in WITH_APP.settings(process)]
            assert ["auth"] == knowing

    def test_no_service_knows_the_superuser(self) -> None:
        """Each service comes with its own role, the uploader with none."""
        assert not [name for name in SERVICES if "admin-pw" in json.dumps(WITH_APP.settings(name))]
        users = {name: WITH_APP.settings(name).get("FBC_DATABASE__DSN", "//none:").split("//")[1] for name in SERVICES}
        roles = {name: dsn.split(":")[0] for name, dsn in users.items()}
        assert {"auth": "fbc_auth", "ingest": "fbc_ingest", "progress": "fbc_ingest", "uploader": "none"} == roles

    def test_each_process_signs_as_itself(self) -> None:
        """The name and the key file belong together."""
        for process in (*SERVICES, "cli"):
            own = WITH_APP.settings(process)
            assert process == own["FBC_IDENTITY__SERVICE"]
            assert f"/state/secrets/identity/{process}.pem" == own["FBC_IDENTITY__KEY_FILE"]


class TestCallersEnvironment:
    def test_what_the_stack_grants_is_not_inherited(self) -> None:
        """A database password in somebody's shell does not reach the uploader."""
        shell = {"FBC_DATABASE__DSN": "postgresql://me:pw@h/db", "FBC_DATABASE__ADMIN_DSN": "x", "PATH": "/bin"}
        told = WITH_APP.of("uploader", shell, 80)
        assert not [name for name in told if name.startswith("FBC_DATABASE__")]
        assert told["PATH"] == "/bin"

    def test_tunables_pass_through(self) -> None:
        """Settings the stack has no opinion on are the caller's."""
        assert WITH_APP.of("ingest", {"FBC_PLANNING__CONCURRENCY": "2"}, 80)["FBC_PLANNING__CONCURRENCY"] == "2"

    def test_the_stacks_addresses_win(self) -> None:
        """A forgotten variable of yesterday's stack does not send today's services elsewhere."""
        assert (
            WITH_APP.of("ingest", {"FBC_KAFKA__BOOTSTRAP": "elsewhere:9092"}, 80)["FBC_KAFKA__BOOTSTRAP"]
            == "127.0.0.1:1"
        )

    def test_without_an_emulator_the_caller_says_where_the_graph_is(self) -> None:
        """`--only` leaves what is not started to the caller's own variables."""
        elsewhere = Environments(replace(ADDRESSES, graph_url=None, graph_control_url=None), CREDENTIALS)
        told = elsewhere.of("auth", {"FBC_GRAPH__URL": "https://graph.test", "FBC_GRAPH__APP_ID": "9"}, 80)
        assert ("https://graph.test", "9") == (told["FBC_GRAPH__URL"], told["FBC_GRAPH__APP_ID"])


class TestStores:
    def test_both_stores_are_configured(self) -> None:
        """The local folder and the bucket moto serves."""
        stores = json.loads(WITH_APP.settings("uploader")["FBC_STORES"])
        assert {"kind": "folder", "root": "/state/objects"} == stores["local"]
        assert ("s3", "fbc-files", "http://127.0.0.1:3") == tuple(
            stores["s3"][key] for key in ("kind", "bucket", "endpoint_url")
        )


class TestDatabaseUrl:
    def test_a_role_replaces_user_and_password_only(self) -> None:
        """Host, port, database and options stay; the password is quoted."""
        expected = "postgresql://fbc_ingest:i%2Fpw@db.test:5432/x?sslmode=require"
        assert expected == as_role("postgresql://root:p%40w@db.test:5432/x?sslmode=require", "fbc_ingest", "i/pw")

    @pytest.mark.parametrize("dsn", ["host=db dbname=x", "mysql://u@h/x", "postgresql:///x"], ids=str)
    def test_what_is_no_url_is_refused(self, dsn: str) -> None:
        """The message shows the form it wants."""
        with pytest.raises(WrongRequest, match="postgresql://user:password@host"):
            as_role(dsn, "r", "p")


class TestOptions:
    def test_an_existing_broker_is_not_started(self) -> None:
        """`--kafka` and `--postgres` take the place of our own parts."""
        options = Options(kafka="h:1", postgres="postgresql://u:p@h/d")
        started = [name for name in ("kafka", "postgres", "moto", "emulator", "auth") if options.starts(name)]
        assert ["moto", "emulator", "auth"] == started

    def test_an_unknown_part_is_named(self) -> None:
        """A typing error does not silently start less."""
        with pytest.raises(WrongRequest, match="kafak"):
            Options(only=("kafak",)).checked()
