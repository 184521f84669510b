"""The files a Kafka node starts from."""

from pathlib import Path

import pytest

from embedded.kafka_config import NodeAddress, kafka_id, meta_properties, server_properties

ONE = (NodeAddress(1, 9001, 9002),)
THREE = (NodeAddress(1, 9001, 9002), NodeAddress(2, 9003, 9004), NodeAddress(3, 9005, 9006))


def parsed(text: str) -> dict[str, str]:
    """Properties as a dictionary."""
    return dict(line.split("=", 1) for line in text.splitlines())


class TestServerProperties:
    def test_a_single_node_is_its_own_quorum(self) -> None:
        """One node votes alone, listens on loopback only, and needs no second replica."""
        properties = parsed(server_properties(ONE[0], ONE, Path("/data")))
        assert properties["controller.quorum.voters"] == "1@127.0.0.1:9002"
        assert properties["listeners"] == "PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:9002"
        assert properties["offsets.topic.replication.factor"] == "1"
        assert "default.replication.factor" not in properties

    def test_three_nodes_know_each_other_and_keep_three_copies(self) -> None:
        """Every node of three names all voters and survives the loss of one."""
        every = [parsed(server_properties(node, THREE, Path("/data"))) for node in THREE]
        assert {"1@127.0.0.1:9002,2@127.0.0.1:9004,3@127.0.0.1:9006"} == {
            one["controller.quorum.voters"] for one in every
        }
        assert [str(number) for number in (1, 2, 3)] == [one["node.id"] for one in every]
        assert {"3"} == {one["default.replication.factor"] for one in every}
        assert {"2"} == {one["min.insync.replicas"] for one in every}

    @pytest.mark.parametrize("cluster", [ONE, THREE], ids=["one node", "three nodes"])
    def test_topics_are_never_created_by_accident(self, cluster: tuple[NodeAddress, ...]) -> None:
        """Automatic creation is off, whatever the size."""
        assert parsed(server_properties(cluster[0], cluster, Path("/data")))["auto.create.topics.enable"] == "false"

    def test_a_backslash_in_a_path_survives_the_properties_format(self) -> None:
        """java.util.Properties reads a doubled backslash as one."""
        assert parsed(server_properties(ONE[0], ONE, Path("/da\\ta")))["log.dirs"] == "/da\\\\ta"


class TestIdentity:
    def test_an_id_is_base64url_without_padding(self) -> None:
        """Sixteen bytes become 22 characters that are safe in a file and a path."""
        assert kafka_id(bytes(16)) == "A" * 22
        assert kafka_id(b"\xff" * 16) == "_" * 21 + "w"

    @pytest.mark.parametrize("size", [0, 15, 17], ids=str)
    def test_another_length_is_refused(self, size: int) -> None:
        """Kafka would refuse the folder much later, and less clearly."""
        with pytest.raises(ValueError, match="16 bytes"):
            kafka_id(bytes(size))

    def test_the_meta_file_names_cluster_directory_and_node(self) -> None:
        """A folder formatted by us reads as one formatted by Kafka's own tool."""
        expected = {"version": "1", "cluster.id": "c", "directory.id": "d", "node.id": "2"}
        assert expected == parsed(meta_properties(2, "c", "d"))
