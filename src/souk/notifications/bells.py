"""Who is woken when there is something to do: the planner by new notices, the senders of a channel by messages that are due on it."""

from collections.abc import Iterable

from souk.kit.db import Bell, Transaction
from souk.notifications.types import CHANNELS, Channel

new_notices = Bell()
due_messages: dict[Channel, Bell] = {channel: Bell() for channel in CHANNELS}
campaign_moves = Bell()
# Who dies rings nothing: what it leaves is looked for now and then.
left_letters = Bell()


def wake_planner(tx: Transaction) -> None:
    """There are new notices when this transaction has committed."""
    tx.after_commit.append(new_notices.ring)


def wake_senders(tx: Transaction, channels: Iterable[Channel] = CHANNELS) -> None:
    """There are messages to send on these channels when this transaction has committed."""
    tx.after_commit += [due_messages[channel].ring for channel in channels]


def wake_campaigns(tx: Transaction) -> None:
    """A campaign is to begin, to go on or to stop when this transaction has committed."""
    tx.after_commit.append(campaign_moves.ring)
