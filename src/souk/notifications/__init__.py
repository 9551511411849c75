"""Notifications knows what people are told, on which channel, what they want to hear of, and what became of each message."""

from souk.notifications.feed import (
    count_unread,
    list_notifications,
    mark_all_notifications,
    mark_notification,
    read_news,
    remove_notification,
)
from souk.notifications.feed_types import (
    BadTicket,
    Feed,
    FeedChange,
    FeedFilter,
    FeedRow,
    MarkedAll,
    News,
    Notification,
    ReadAll,
    StreamTicket,
    TicketHolder,
    Unread,
)
from souk.notifications.preferences import (
    NotificationPreferences,
    TopicChoice,
    get_notification_preferences,
    set_notification_preferences,
)
from souk.notifications.records import MessageFilter, MessageRecord, list_messages, list_own_messages
from souk.notifications.streaming import issue_stream_ticket, redeem_stream_ticket

__all__ = [
    "BadTicket",
    "Feed",
    "FeedChange",
    "FeedFilter",
    "FeedRow",
    "MarkedAll",
    "MessageFilter",
    "MessageRecord",
    "News",
    "Notification",
    "NotificationPreferences",
    "ReadAll",
    "StreamTicket",
    "TicketHolder",
    "TopicChoice",
    "Unread",
    "count_unread",
    "get_notification_preferences",
    "issue_stream_ticket",
    "list_messages",
    "list_notifications",
    "list_own_messages",
    "mark_all_notifications",
    "mark_notification",
    "read_news",
    "redeem_stream_ticket",
    "remove_notification",
    "set_notification_preferences",
]
