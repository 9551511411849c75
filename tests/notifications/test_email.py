"""Letters over SMTP to a real server with bad habits: what became of each is known, or known to be unknown."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.notifications.conftest import Post
from tests.notifications.relays import open_relay
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY
from tests.waiting import until

from souk.kit.ids import new_id
from souk.notifications.channels.channel import NOT_YET, Accepted, Later, Letter, Refused, Unknown
from souk.notifications.channels.email import Email
from souk.notifications.channels.sandbox import PostBook, Texts
from souk.notifications.channels.smtp import Phase, judge, read_reply
from souk.notifications.sealing import find_envelope, is_sealed

OpenPost = Callable[..., Post]


def letter(to: str = "ada@x.test", **more: object) -> Letter:
    return Letter(**{"id": new_id(), "to": to, "subject": "Grüße", "text": "Hallo\n.\n..x\n", "page": ("<p>Hallo</p>",), **more})  # type: ignore[arg-type]


async def deliver_all(email: Email, letters: list[Letter]) -> None:
    """Until each has had its turn."""
    while letters:
        outcomes = await email.deliver(letters, set())
        assert {type(one) for one in outcomes} <= {Accepted, Later}
        letters = [one for one, outcome in zip(letters, outcomes, strict=True) if outcome != Accepted()]


async def test_a_thousand_letters_arrive_once_each_over_few_connections(post: Post) -> None:
    email = Email(post.settings(smtp_connections=4, smtp_letters=100))
    letters = [letter(f"user{number}@x.test") for number in range(1000)]
    await asyncio.gather(deliver_all(email, letters[:500]), deliver_all(email, letters[500:]))
    book = await post.letters()
    assert sorted(one["letter_id"] for one in book) == sorted(str(one.id) for one in letters)
    assert {one["recipient"] for one in book} == {one.to for one in letters}
    await email.close()


async def test_a_letter_is_read_as_it_was_written(post: Post) -> None:
    email = Email(post.settings())
    sent = letter(unsubscribe_url="https://shop.example/u/1")
    await email.deliver([sent], set())
    (row,) = await post.letters()
    envelope = find_envelope(str(row["sender"]))
    assert envelope is not None
    assert envelope.letter_id == sent.id
    assert is_sealed(envelope, sent.to)
    message = await post.read(row["seq"])
    assert message["Subject"] == "Grüße"
    assert message.get_body(("plain",)).get_content().splitlines() == ["Hallo", ".", "..x"]  # type: ignore[union-attr]
    await email.close()


@pytest.mark.parametrize(
    ("habit", "outcome"),
    [
        ("ok", Accepted()),
        ("slow", Accepted()),
        ("421", Later("421 4.3.2")),
        ("451", Later("451 4.7.1")),
        ("550", Refused("550 5.1.1", bad_address=True)),
        ("552", Refused("552 5.3.4")),
        ("554", Refused("554 5.7.1")),
        ("timeout_accepted", Unknown("no answer to the letter: they do not answer")),
        ("timeout_lost", Unknown("no answer to the letter: they do not answer")),
        ("drop_accepted", Unknown("no answer to the letter: the connection was lost")),
        ("drop_lost", Unknown("no answer to the letter: the connection was lost")),
    ],
)
async def test_what_a_reply_means(post: Post, habit: str, outcome: object) -> None:
    email = Email(post.settings(smtp_connections=1, smtp_timeout_s=2.0))
    others = [letter("before@x.test"), letter("after@x.test")]
    odd = letter(f"ada+{habit}@x.test" if habit != "ok" else "ada@x.test")
    outcomes = await email.deliver([others[0], odd, others[1]], set())
    late = Later("not their turn yet", 0.0, tried=False)
    assert outcomes[:2] == [Accepted(), outcome]
    assert outcomes[2] in (Accepted(), late), "one letter's trouble is not its neighbours'"
    taken = habit in ("ok", "slow", "timeout_accepted", "drop_accepted")
    assert await PostBook(post.settings()).find_accepted([odd.id]) == ({odd.id} if taken else set())
    await email.close()


async def test_a_relay_that_looks_at_a_letter_for_long_is_not_asked_twice(post: Post) -> None:
    email = Email(post.settings(smtp_timeout_s=0.4, smtp_answer_timeout_s=30.0))
    assert await email.deliver([letter("ada+slow@x.test")], set()) == [Accepted()]
    assert len(await post.letters()) == 1
    await email.close()


async def test_a_relay_that_is_down_is_another_ones_work_after_a_while(open_post: OpenPost) -> None:
    first, second = open_post(), open_post()
    email = Email(first.settings(smtp_fallback=(f"127.0.0.1:{second.port}",), smtp_fallback_after_s=0.3, smtp_connections=1))
    await first.impose(down=True)
    assert isinstance((await email.deliver([letter()], set()))[0], Later)
    await asyncio.sleep(0.35)
    assert await email.deliver([letter()], set()) == [Accepted()]
    assert len(await second.letters()) == 1
    await email.close()


async def test_a_letter_that_has_waited_for_its_turn_goes_back(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.notifications.channels.email.FRESH_S", 0.5)
    email = Email(post.settings(smtp_connections=1))
    slow, late = letter("ada+slow@x.test"), letter()
    assert await asyncio.gather(email.deliver([slow], set()), email.deliver([late], set())) == [[Accepted()], [NOT_YET]]
    assert [one["letter_id"] for one in await post.letters()] == [str(slow.id)]
    await email.close()


async def test_what_somebody_waits_for_goes_before_what_was_there_before_it_and_only_advertises(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("souk.notifications.channels.email.FRESH_S", 30.0)
    email = Email(post.settings(smtp_connections=1))
    advertisements, news = [letter(advertises=True) for _ in range(200)], letter()
    carrying = asyncio.create_task(email.deliver(advertisements, set()))
    await until(post.letters)
    assert await email.deliver([news], set()) == [Accepted()]
    assert len(await post.letters()) < 150
    assert await carrying == [Accepted()] * 200
    await email.close()


async def test_batches_are_carried_in_the_order_in_which_they_came(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("souk.notifications.channels.email.FRESH_S", 30.0)
    email = Email(post.settings(smtp_connections=2))
    batches = [[letter() for _ in range(40)] for _ in range(3)]
    await asyncio.gather(*(email.deliver(batch, set()) for batch in batches))
    order = [one["letter_id"] for one in await post.letters()]
    ends = [max(order.index(str(one.id)) for one in batch) for batch in batches]
    # The first is done when the others have hardly begun, so that its outcome is written while they are carried.
    assert ends[0] < 60
    assert ends[0] < ends[1] < ends[2]
    await email.close()


async def test_a_text_that_has_waited_for_its_turn_goes_back(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.notifications.channels.sandbox.FRESH_S", 0.05)
    texts = Texts("sms", post.settings())
    outcomes = await texts.deliver([letter("+4930123") for _ in range(1_000)], set())
    assert NOT_YET in outcomes
    assert len(await post.letters()) == outcomes.count(Accepted())


async def test_nobody_waits_for_a_relay_that_is_not_there(post: Post) -> None:
    email = Email(post.settings(smtp_port=find_free_port()))
    outcomes = await email.deliver([letter() for _ in range(200)], set())
    assert {type(one) for one in outcomes} == {Later}
    await email.close()


async def test_a_relay_that_wants_few_connections_at_once_has_all_letters_over_those(post: Post) -> None:
    async with open_relay(most=3) as relay:
        email = Email(post.settings(smtp_port=relay.port, smtp_connections=8))
        assert await email.deliver([letter() for _ in range(200)], set()) == [Accepted()] * 200
        # It is not asked again and again, and nobody takes it for one that is down.
        assert (relay.taken, relay.refused) == (200, 5)
        assert await email.deliver([letter() for _ in range(200)], set()) == [Accepted()] * 200
        assert relay.refused == 5
        await email.close()


async def test_a_relay_that_wants_nobody_now_is_down_until_it_does(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.notifications.channels.relays.LEFT_ALONE_S", 0.1)
    async with open_relay(most=0) as relay:
        email = Email(post.settings(smtp_port=relay.port, smtp_connections=8))
        assert {type(one) for one in await email.deliver([letter() for _ in range(20)], set())} == {Later}
        relay.most = 3

        async def is_back() -> bool:
            return await email.deliver([letter()], set()) == [Accepted()]

        await until(is_back)
        assert await email.deliver([letter() for _ in range(40)], set()) == [Accepted()] * 40
        assert relay.talking == 3
        await email.close()


async def test_a_relay_that_was_busy_for_a_moment_has_all_connections_later(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.notifications.channels.relays.FEWER_FOR_S", 0.5)
    async with open_relay(most=1) as relay:
        email = Email(post.settings(smtp_port=relay.port, smtp_connections=4))
        assert await email.deliver([letter() for _ in range(40)], set()) == [Accepted()] * 40
        relay.most = 4

        async def all_talk() -> bool:
            assert await email.deliver([letter() for _ in range(40)], set()) == [Accepted()] * 40
            return relay.talking == 4

        await until(all_talk)
        await email.close()


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_letters_are_encrypted_and_we_sign_in(open_post: OpenPost, security: str) -> None:
    post = open_post(mail_security=security)
    told = {"smtp_security": security, "smtp_username": "shop", "smtp_password": API_KEY}
    # Nobody we trust has signed its certificate.
    strict = Email(post.settings(**told))
    assert isinstance((await strict.deliver([letter()], set()))[0], Later)
    email = Email(post.settings(**told, smtp_verify=False))
    assert await email.deliver([letter(), letter()], set()) == [Accepted()] * 2
    wrong = Email(post.settings(**{**told, "smtp_password": "wrong", "smtp_verify": False}))
    assert isinstance((await wrong.deliver([letter()], set()))[0], Later)
    await post.impose(next="no_tls")
    if security == "starttls":
        broken = Email(post.settings(**told, smtp_verify=False))
        assert isinstance((await broken.deliver([letter()], set()))[0], Later), "never in the clear instead"
    assert len(await post.letters()) == 2
    await email.close()


LATER, REFUSED, GONE = "later", "refused", "gone"


@pytest.mark.parametrize(
    ("phase", "line", "meaning"),
    [
        ("recipient", b"550 5.1.1 no", GONE), ("recipient", b"550 5.1.2 no", GONE), ("recipient", b"553 5.1.3 no", GONE),
        ("recipient", b"551 5.1.6 no", GONE), ("recipient", b"556 5.1.10 no", GONE), ("recipient", b"550 5.2.1 no", GONE),
        ("letter", b"550 5.1.1 no", GONE),
        ("recipient", b"550 5.0.0 no", REFUSED), ("recipient", b"550 5.1.7 sender", REFUSED), ("recipient", b"550 5.1.8 sender", REFUSED),
        ("recipient", b"552 5.2.2 full", REFUSED), ("recipient", b"550 5.1.11 no", REFUSED),
        ("recipient", b"550 No such user here", GONE), ("recipient", b"550 <x>: Recipient address unknown", GONE),
        ("recipient", b"553 mailbox does not exist", GONE), ("recipient", b"550 blocked by our list", REFUSED),
        ("recipient", b"550 relaying denied", REFUSED), ("letter", b"550 unknown user", REFUSED), ("recipient", b"450 unknown user", LATER),
        ("recipient", b"554 5.7.1 relay access denied", LATER), ("recipient", b"550 5.7.1 unknown user", LATER),
        ("recipient", b"550 5.7.26 not authenticated", LATER), ("letter", b"554 5.7.1 spam", REFUSED),
        ("sender", b"550 5.7.1 no", LATER), ("sender", b"550 5.1.8 no", LATER), ("sender", b"550 unknown user", LATER),
    ],
)  # fmt: skip
def test_only_an_address_that_is_not_there_is_left_alone(phase: Phase, line: bytes, meaning: str) -> None:
    outcome = judge(phase, read_reply(line))
    known = {LATER: (Later, False), REFUSED: (Refused, False), GONE: (Refused, True)}
    assert (type(outcome), getattr(outcome, "bad_address", False)) == known[meaning]


@pytest.mark.parametrize("to", ["", "ada@x.test>\r\nRCPT TO:<bob@x.test", "ada@x.test> SIZE=1", "äda@x.test"])
async def test_an_address_that_is_none_reaches_nobody(post: Post, to: str) -> None:
    email = Email(post.settings())
    (outcome,) = await email.deliver([letter(to) if to else letter("<>")], set())
    assert outcome == Refused("no address", bad_address=True)
    assert await post.letters() == []


@pytest.mark.parametrize(
    ("to", "outcome"),
    [("+4930123", Accepted), ("+49421", Unknown), ("+49429", Later), ("+49550", Refused), ("+49552", Refused)],
)
async def test_what_an_answer_to_a_text_means(post: Post, to: str, outcome: type) -> None:
    texts = Texts("sms", post.settings())
    sent = letter(to)
    (first,) = await texts.deliver([sent], set())
    assert isinstance(first, outcome)
    assert getattr(first, "after_s", 1.0) == 1.0
    assert getattr(first, "bad_address", to == "+49550") == (to == "+49550")
    await texts.deliver([sent], set())
    assert len(await post.letters()) == (outcome is Accepted)


def test_the_shop_has_nothing_of_the_sandbox_in_it(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "src/souk/notifications"
    assert [file for file in source.rglob("*.py") if "aiosmtpd" in file.read_text()] == []
