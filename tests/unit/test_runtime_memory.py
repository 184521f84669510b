"""The allocators' settings reach the libraries that read them, wherever the process was started from."""

import os
import sys
from subprocess import run

from connector.runtime.memory import JEMALLOC

SHOW = """
from connector.runtime.memory import give_back
give_back()
import os, polars
print(os.environ["_RJEM_MALLOC_CONF"], polars.thread_pool_size())
"""


def told(**inherited: str) -> str:
    """What polars was loaded with."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("POLARS_")}
    done = run([sys.executable, "-c", SHOW], env=own | inherited, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class TestGiveBack:
    def test_what_a_parent_inherited_from_polars_does_not_count(self) -> None:
        """Of jemalloc's settings the last ones count, and polars puts its own in front: ours stand behind them."""
        by_polars = "dirty_decay_ms:500,muzzy_decay_ms:1000"
        conf, _ = told(_RJEM_MALLOC_CONF=by_polars).split()
        assert conf.endswith("," + JEMALLOC)
        assert 1 == conf.count("dirty_decay_ms:500")

    def test_an_operator_may_choose_the_threads_of_polars(self) -> None:
        """One by default, as many as the environment says otherwise."""
        assert "1" == told().split()[1]
        assert "2" == told(POLARS_MAX_THREADS="2").split()[1]
