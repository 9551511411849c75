"""Notifications knows what people are told, on which channel, what they want to hear of, and what became of each message."""

from souk.notifications.preferences import (
    NotificationPreferences,
    TopicChoice,
    get_notification_preferences,
    set_notification_preferences,
)

__all__ = [
    "NotificationPreferences",
    "TopicChoice",
    "get_notification_preferences",
    "set_notification_preferences",
]
