"""The link at the end of a mail: one click, without signing in, and nothing more on that topic comes on that channel."""

from typing import Literal

import msgspec

from souk import users
from souk.kit.callers import SYSTEM, Caller, asking, caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.notifications.sealing import Wish, read_unsubscribe_token
from souk.notifications.topics import TOPICS


class Ended(msgspec.Struct, frozen=True):
    """What somebody hears no more of, and in which language to say so."""

    topic: str
    channel: str
    language: str
    status: Literal["asked", "done"] = "done"


@exposed()
async def unsubscribe_from_topic(token: str) -> Ended:
    """Send nothing more on the topic of a mail, for whoever has its link. It is effective when it is answered; again changes nothing.

    What has to be told is told all the same. Raises NotFound for a link that is none of ours, and for somebody who is gone.
    """
    wish = find_wish(token)
    change = users.ChangeNotifications(notifications={wish.topic: {wish.channel: False}})
    # The link proves that it is theirs to say; they need not sign in for that (RFC 8058).
    with asking(Caller(SYSTEM, caller().request_id)):
        preferences = await users.change_notifications(wish.user_id, change)
    return Ended(wish.topic, wish.channel, preferences.language)


@exposed()
async def check_unsubscribing(token: str) -> Ended:
    """What would end with this link; changes nothing, for programs follow links, too. Raises NotFound."""
    wish = find_wish(token)
    with asking(Caller(SYSTEM, caller().request_id)):
        contacts = await users.get_contacts((wish.user_id,))
    if not contacts:
        raise NotFound
    return Ended(wish.topic, wish.channel, contacts[0].language, "asked")


def find_wish(token: str) -> Wish:
    """Who wants to hear no more of what; raises NotFound."""
    wish = read_unsubscribe_token(token)
    if wish is None or wish.topic not in TOPICS:
        raise NotFound
    return wish
