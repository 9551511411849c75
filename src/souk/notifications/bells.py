"""Who is woken when there is something to do: the planner by new notices, the senders by messages that are due."""

from souk.kit.db import Bell, Transaction

new_notices = Bell()
due_messages = Bell()
campaign_moves = Bell()


def wake_planner(tx: Transaction) -> None:
    """There are new notices when this transaction has committed."""
    tx.after_commit.append(new_notices.ring)


def wake_senders(tx: Transaction) -> None:
    """There are messages to send when this transaction has committed."""
    tx.after_commit.append(due_messages.ring)


def wake_campaigns(tx: Transaction) -> None:
    """A campaign is to begin, to go on or to stop when this transaction has committed."""
    tx.after_commit.append(campaign_moves.ring)
