"""What waits for a person: no call while it does, one call to find out, and nobody forgotten."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.uploader.breakers import MAX_BREAKERS, Breakers, Free, Probed, Shut

BEGAN = datetime(2026, 11, 25, tzinfo=UTC)
TOKEN, AUDIENCE = "token:p", "audience:1"


def at(seconds: float) -> datetime:
    """A moment."""
    return BEGAN + timedelta(seconds=seconds)


def opened() -> Breakers:
    """Breakers of which the token's opened at 10."""
    breakers = Breakers()
    assert breakers.refused(TOKEN, "token_dead", "connect again", at(10))
    return breakers


class TestBreakers:
    def test_the_first_refusal_opens_it_once(self) -> None:
        """Those whose calls were under way tell nothing new: one notice."""
        breakers = opened()

        assert not breakers.refused(TOKEN, "token_dead", "connect again", at(11))
        assert Shut(TOKEN, "token_dead", "connect again", at(10)) == breakers.ask([TOKEN, AUDIENCE], None)
        assert Free() == breakers.ask([AUDIENCE], None)

    def test_a_release_from_before_it_opened_says_nothing(self) -> None:
        """The chunk was let go before Meta refused: it waits with the others."""
        breakers = opened()

        assert not breakers.let_go(TOKEN, at(10))
        assert isinstance(breakers.ask([TOKEN], at(9)), Shut)

    def test_one_probe_at_a_time(self) -> None:
        """Who comes while it is under way holds on; after its success all go."""
        breakers = opened()

        assert Free(frozenset({TOKEN})) == breakers.ask([TOKEN], at(11))
        assert Probed() == breakers.ask([TOKEN], at(12))
        assert [TOKEN] == breakers.ended([TOKEN], success=True)
        assert Free() == breakers.ask([TOKEN], None)

    def test_a_refused_probe_opens_it_again(self) -> None:
        """And it is told again: somebody believed it was mended."""
        breakers = opened()
        breakers.ask([TOKEN], at(11))

        assert breakers.refused(TOKEN, "token_dead", "connect again", at(12))
        assert [] == breakers.ended([TOKEN], success=False)
        assert isinstance(breakers.ask([TOKEN], at(11)), Shut)
        assert isinstance(breakers.ask([TOKEN], at(13)), Free)

    def test_a_late_refusal_does_not_undo_a_release(self) -> None:
        """A call that began with the old token says nothing about the new one."""
        breakers = opened()
        breakers.let_go(TOKEN, at(20))

        assert not breakers.refused(TOKEN, "token_dead", "connect again", at(19))
        assert isinstance(breakers.ask([TOKEN], None), Free)

    def test_leave_holds_until_somebody_is_refused(self) -> None:
        """Given before the first refusal, it ends with it; and it does not come back with the release."""
        breakers = Breakers()
        assert breakers.stands([TOKEN, AUDIENCE], frozenset())

        breakers.refused(TOKEN, "token_dead", "connect again", at(10))
        assert not breakers.stands([TOKEN, AUDIENCE], frozenset())
        assert breakers.stands([AUDIENCE], frozenset())

        breakers.let_go(TOKEN, at(20))
        assert not breakers.stands([TOKEN], frozenset())

    def test_a_probes_leave_holds_until_it_is_refused_again(self) -> None:
        """The probe may call, unless a later refusal shut the door once more."""
        breakers = opened()
        answer = breakers.ask([TOKEN], at(11))
        assert isinstance(answer, Free)
        assert breakers.stands([TOKEN, AUDIENCE], answer.probing)

        breakers.refused(TOKEN, "token_dead", "connect again", at(12))
        assert not breakers.stands([TOKEN], answer.probing)

    def test_it_is_bounded(self) -> None:
        """A bad day with ten thousand audiences does not fill the memory."""
        breakers = Breakers()
        for number in range(MAX_BREAKERS + 1):
            breakers.refused(f"audience:{number}", "flagged", "", at(0))

        assert Free() == breakers.ask(["audience:0"], None)
        assert isinstance(breakers.ask(["audience:1"], None), Shut)


SCOPES = (TOKEN, AUDIENCE, "account:1")


class AnyOrder(RuleBasedStateMachine):
    """Chunks, releases and refusals in any order: never two probes of one scope, and never one nobody can end."""

    def __init__(self) -> None:
        super().__init__()
        self.breakers = Breakers()
        self.clock = 0.0
        self.probes: list[frozenset[str]] = []

    def now(self) -> datetime:
        """Later than everything before."""
        self.clock += 1
        return at(self.clock)

    @rule(scopes=st.sets(st.sampled_from(SCOPES), min_size=1), ago=st.none() | st.integers(0, 5))
    def ask(self, scopes: set[str], ago: int | None) -> None:
        """A chunk comes, perhaps one that was released."""
        answer = self.breakers.ask(scopes, None if ago is None else at(self.clock - ago))
        if isinstance(answer, Free) and answer.probing:
            assert not any(answer.probing & other for other in self.probes)
            self.probes.append(answer.probing)

    @rule(scope=st.sampled_from(SCOPES), ago=st.integers(0, 5))
    def refuse(self, scope: str, ago: int) -> None:
        """A call that was under way is refused."""
        self.breakers.refused(scope, "cause", "advice", at(self.clock - ago))
        self.now()

    @rule(scope=st.sampled_from(SCOPES))
    def let_go(self, scope: str) -> None:
        """Somebody mended it."""
        self.breakers.let_go(scope, self.now())

    @rule(success=st.booleans())
    def end(self, success: bool) -> None:  # noqa: FBT001 -- drawn
        """The oldest probe ends."""
        if self.probes:
            self.breakers.ended(self.probes.pop(0), success=success)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Who is told to hold on holds on for a probe that is under way."""
        if not self.probes:
            for scope in SCOPES:
                answer = self.breakers.ask([scope], None)
                assert not isinstance(answer, Probed)
                if isinstance(answer, Free):
                    self.breakers.ended(answer.probing, success=False)


TestAnyOrder = AnyOrder.TestCase
