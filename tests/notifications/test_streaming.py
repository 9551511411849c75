"""Streams of feeds: told at once and in order, resumed without a gap, kept apart, ended in time; by real connections."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from tests.databases import END_OTHERS
from tests.notifications.feeds import Web, announce, as_reader, as_system, deliver, fill, make_people, make_person, read_feed, serve, tell
from tests.waiting import until

from souk import notifications
from souk.kit.auth import Revocation, TokenPolicy
from souk.kit.ids import new_id
from souk.notifications import streaming
from souk.notifications.database import db
from souk.notifications.feed_types import BadTicket
from souk.notifications.in_app import ADD

pytestmark = pytest.mark.usefixtures("shop")

TELL = """
    INSERT INTO notifications.outbox (event_id, type, aggregate_id, payload, request_id)
    VALUES ($1, 'notifications.NotificationsSent', $1, $2, '')
"""


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serve() as served:
        yield served


def strings(ids: list[UUID]) -> list[str]:
    return [str(one) for one in ids]


async def test_what_is_sent_is_told_at_once_and_to_its_reader_alone(web: Web) -> None:
    ada, bob = await make_people(2)
    before = await tell(ada)
    to_ada, to_bob = await web.listen(web.token(ada)), await web.listen(web.token(bob))
    ids = await tell(ada, 3)
    bobs = await tell(bob)
    assert await to_ada.hear(3) == strings(ids)
    assert await to_bob.hear(1) == strings(bobs)
    assert strings(before)[0] not in [one.data["id"] for one in to_ada.heard]
    assert to_ada.heard[0].event == "notification"
    assert {"message", "sent_at", "read_at", "link", "kind", "topic"} <= to_ada.heard[0].data.keys()


async def test_a_stream_goes_on_where_it_was_cut_off(web: Web) -> None:
    ada = await make_person()
    first = await web.listen(web.token(ada))
    heard = await tell(ada, 2)
    assert await first.hear(2) == strings(heard)
    first.close()
    missed = await tell(ada, 60)
    second = await web.listen(web.token(ada), last=first.heard[-1].id)
    later = await tell(ada, 2)
    assert await second.hear(62) == strings([*missed, *later])
    third = await web.listen(web.token(ada), f"?after={first.heard[0].id}")
    assert (await third.hear(1)) == strings(heard[1:])


async def test_from_a_list_to_the_stream_nothing_is_left_out(web: Web) -> None:
    ada = await make_person()
    await tell(ada)
    shown = await read_feed(ada)
    between = await tell(ada)
    listener = await web.listen(web.token(ada), f"?after={shown.position}")
    assert await listener.hear(1) == strings(between)


async def test_what_commits_late_is_told_though_a_later_one_was_first(web: Web) -> None:
    ada = await make_person()
    listener = await web.listen(web.token(ada))
    slow, quick = new_id(), new_id()

    def values(one: UUID) -> tuple[object, ...]:
        return [one], [ada], ["welcome"], ["welcome"], ["Hello"], [None], [{}]

    async with db.pool.acquire() as held:
        late = held.transaction()
        await late.start()
        await held.execute(ADD, *values(slow))
        await held.execute(TELL, new_id(), {"batch_id": str(new_id()), "user_ids": [str(ada)]})
        async with db.transaction() as tx:
            await tx.run(ADD, *values(quick))
        await tell(ada)
        # Who comes just now reads at once, without having been woken.
        newcomer = await web.listen(web.token(ada), f"?after={(await read_feed(ada)).position}")
        await asyncio.sleep(0.3)
        await late.commit()
    for one in (listener, newcomer):
        assert (await one.hear(3))[:2] == strings([slow, quick])
        place = [tuple(int(part) for part in event.id.split(".")) for event in one.heard]
        assert place == sorted(place)


async def test_many_streams_of_many_people_each_hear_their_own(web: Web) -> None:
    people = await make_people(60)
    listeners = [await web.listen(web.token(one)) for one in people for _ in range(2)]
    ids = await announce(list(people))
    await deliver()
    heard = await asyncio.gather(*(one.hear(1) for one in listeners))
    assert heard == [[str(one)] for one in ids for _ in range(2)]


async def test_a_ticket_opens_one_stream(web: Web) -> None:
    ada = await make_person()
    status, ticket = await web.ask("POST", "/notifications/stream-tickets", ada)
    assert (status, ticket["expires_in"]) == (201, 30)
    listener = await web.listen({}, f"?ticket={ticket['ticket']}")
    ids = await tell(ada)
    assert await listener.hear(1) == strings(ids)
    again = (await web.listen({}, f"?ticket={ticket['ticket']}")).answer
    assert again.status == 401
    assert (await again.json(content_type=None))["code"] == "notifications.bad_ticket"
    assert (await web.ask("GET", "/notifications/stream"))[0] == 401
    assert (await web.ask("POST", "/notifications/stream-tickets"))[0] == 401


async def test_a_ticket_is_not_good_for_long() -> None:
    ada = await make_person()
    with as_reader(ada):
        ticket = await notifications.issue_stream_ticket()
    await db.pool.execute("UPDATE notifications.stream_ticket SET created_at = now() - interval '31 seconds'")
    with pytest.raises(BadTicket):
        await notifications.redeem_stream_ticket(ticket.ticket)
    with as_system():
        assert await streaming.forget_old_tickets() == 1


@pytest.mark.parametrize("by_ticket", [False, True])
async def test_a_stream_ends_when_its_session_is_revoked(web: Web, *, by_ticket: bool) -> None:
    ada, session = await make_person(), new_id()
    headers, query = web.token(ada, session), ""
    if by_ticket:
        async with web.session.post(f"{web.url}/notifications/stream-tickets", headers=headers) as answer:
            headers, query = {}, f"?ticket={(await answer.json())['ticket']}"
    listener = await web.listen(headers, query)
    async with db.transaction() as tx:
        now = (await tx.value("SELECT extract(epoch FROM now())::float8")) + 1
    web.verifier.learn(TokenPolicy(web.policy.keys, (Revocation(session, now),)))
    await tell(ada)
    assert await listener.next() is None


async def test_what_is_no_place_is_refused(web: Web) -> None:
    ada = await make_person()
    assert (await web.ask("GET", "/notifications/stream?after=yesterday", ada))[0] == 422
    assert (await web.ask("GET", "/notifications/stream", ada, Last_Event_ID="0"))[0] == 422


async def test_nobody_follows_when_nobody_listens(web: Web) -> None:
    ada = await make_person()
    listener = await web.listen(web.token(ada))
    assert streaming.watch._following is not None
    listener.close()

    async def is_over() -> bool:
        return streaming.watch._following is None

    await until(is_over)
    again = await web.listen(web.token(ada), last="0.0")
    ids = await tell(ada)
    assert await again.hear(1) == strings(ids)


async def test_trouble_at_the_source_delays_and_loses_nothing(web: Web, dsn: str) -> None:
    ada = await make_person()
    listener = await web.listen(web.token(ada))
    admin = await asyncpg.connect(dsn)
    for _ in range(5):
        await admin.execute(END_OTHERS)
        await asyncio.sleep(0.1)
    await admin.close()
    ids = await tell(ada, 3)
    assert await listener.hear(3) == strings(ids)


async def test_a_fact_that_cannot_be_read_stops_no_stream(web: Web) -> None:
    ada = await make_person()
    listener = await web.listen(web.token(ada))
    async with db.transaction() as tx:
        await tx.run(TELL, new_id(), {"nobody": "knows"})
    first = await tell(ada)
    assert await listener.hear(1) == strings(first)
    second = await tell(ada)
    assert await listener.hear(1) == strings(second)


async def test_a_long_absence_comes_in_parts_and_whole(web: Web) -> None:
    ada = await make_person()
    ids = await fill(ada, 300)
    listener = await web.listen(web.token(ada), last="0.0")
    assert await listener.hear(300) == strings(ids)
