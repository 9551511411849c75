"""What users announces."""

from uuid import UUID

from souk.kit.events import Event


class UserRegistered(Event, frozen=True):
    """Somebody has an account. Imported: they have had one elsewhere, and did not ask for this one."""

    user_id: UUID
    imported: bool = False


class EmailVerificationRequested(Event, frozen=True):
    """Somebody is to show that the e-mail address is theirs: the mailer asks users.issue_token when it sends."""

    user_id: UUID


class PasswordResetRequested(Event, frozen=True):
    """Somebody has forgotten their password: the mailer asks users.issue_token when it sends."""

    user_id: UUID


class PreferencesChanged(Event, frozen=True):
    """Somebody likes other things now, or wants to be told of them otherwise."""

    user_id: UUID


class SessionsRevoked(Event, frozen=True):
    """Sessions of a user were ended for their safety: a new password, a new address, or a token that was used twice."""

    user_id: UUID


class UserErased(Event, frozen=True):
    """Somebody is gone: every context drops what it keeps of them; books keep the id, which names nobody any more."""

    user_id: UUID


class SellerApplied(Event, frozen=True):
    """Somebody wants to sell here."""

    seller_id: UUID
    user_id: UUID


class SellerApproved(Event, frozen=True):
    """A seller may sell, for the first time or again."""

    seller_id: UUID
    user_id: UUID


class SellerRejected(Event, frozen=True):
    """An application was refused."""

    seller_id: UUID
    user_id: UUID


class SellerSuspended(Event, frozen=True):
    """A seller may not sell for now."""

    seller_id: UUID
