"""What notifications announces."""

from uuid import UUID

from souk.kit.events import Event


class NotificationsSent(Event, frozen=True):
    """In the feeds of these users is something new. One event tells of all that was sent at once."""

    batch_id: UUID
    user_ids: tuple[UUID, ...]
