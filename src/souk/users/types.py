"""The vocabulary of users: people, their sessions and things, sellers and their teams, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict, Forbidden, Invalid, Unauthenticated

Role = Literal["buyer", "seller", "admin"]
MailPurpose = Literal["verify_email", "reset_password"]
ActivityType = Literal["view", "purchase"]
SellerStatus = Literal["pending", "approved", "rejected", "suspended"]
MemberRole = Literal["owner", "member"]

# The pattern of <input type="email"> (HTML living standard), with a dot in the domain.
EMAIL = (
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+(?!\n)$"
)
ONE_LINE = r"^[^\x00-\x1f\x7f]+(?!\n)$"

Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=EMAIL, examples=["ada@example.com"])]
PASSWORD_LENGTH = 8
Password = Annotated[
    str,
    Meta(
        min_length=PASSWORD_LENGTH, max_length=200, description=f"{PASSWORD_LENGTH} characters or more", examples=["correct horse battery"]
    ),
]
GivenPassword = Annotated[str, Meta(min_length=1, max_length=200, examples=["correct horse battery"])]
Token = Annotated[str, Meta(min_length=1, max_length=200)]
Username = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{2,49}(?!\n)$", examples=["ada"])]
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE)]
PersonName = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE, examples=["Ada Lovelace"])]
PhoneNumber = Annotated[str, Meta(pattern=r"^\+?[0-9][0-9 ()./-]{2,31}(?!\n)$", examples=["+44 20 7946 0000"])]
PostalCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 -]{0,19}(?!\n)$", examples=["10115"])]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166-1 alpha-2", examples=["DE"])]
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}(?!\n)$", description="BCP 47", examples=["en-GB"])]
CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$", description="ISO 4217", examples=["EUR"])]
TimeZone = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_+/-]{1,64}(?!\n)$", description="Of the IANA database", examples=["Europe/Berlin"])]
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}(?!\n)$", examples=["order_updates"])]
Description = Annotated[str, Meta(min_length=1, max_length=5000)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=ONE_LINE)]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with an account. Who belongs to an approved seller has the role seller."""

    id: UUID
    username: str | None
    email: str
    phone_number: str | None
    name: str | None
    roles: tuple[Role, ...]
    email_verified: bool
    created_at: datetime
    updated_at: datetime


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """An access token to send with every request, and a refresh token that gives the next pair, once."""

    access_token: str
    refresh_token: str
    expires_in: Annotated[int, Meta(description="seconds", examples=[600])]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105


class Registered(User, frozen=True, kw_only=True):
    """The new account, signed in."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make an account."""

    email: Email
    password: Password
    username: Username | None = None
    name: PersonName | None = None
    phone_number: PhoneNumber | None = None


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in."""

    email: Email
    password: GivenPassword


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the last answer."""

    refresh_token: Token


class Logout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which session ends: that of the access token, that of this refresh token, or every session of the user."""

    refresh_token: Token | None = None
    everywhere: bool = False


class ChangeUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays; null empties it."""

    username: Username | UnsetType | None = UNSET
    name: PersonName | UnsetType | None = UNSET
    phone_number: PhoneNumber | UnsetType | None = UNSET


class ChangeMe(ChangeUser, frozen=True, forbid_unknown_fields=True):
    """A new e-mail address or password wants the current password, and ends your other sessions."""

    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    current_password: GivenPassword | None = None


class ForgotPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send the way back in."""

    email: Email


class MailTokenRequest(msgspec.Struct, frozen=True):
    """Whose mailbox a token is to prove, for what, and where it is sent if that is known."""

    user_id: UUID
    purpose: MailPurpose
    email: str | None = None


class ResetPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the mail, and the new password."""

    token: Token
    password: Password


class VerifyEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the mail."""

    token: Token


class ChangeRoles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The roles that a user has from now on."""

    roles: Annotated[tuple[Role, ...], Meta(min_length=1, max_length=3)]


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user who comes from elsewhere: nothing is hashed. The digest is argon2's or bcrypt's."""

    id: UUID
    email: Email
    name: PersonName | None = None
    password_digest: str | None = None
    roles: tuple[Role, ...] = ("buyer",)
    email_verified: bool = False
    created_at: datetime | None = None


class AddressFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A postal address."""

    name: PersonName
    line1: Text
    line2: Text | None = None
    city: Text
    region: Text | None = None
    postal_code: PostalCode
    country: Country
    phone_number: PhoneNumber | None = None


class ChangeAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays; null empties it."""

    name: PersonName | UnsetType = UNSET
    line1: Text | UnsetType = UNSET
    line2: Text | UnsetType | None = UNSET
    city: Text | UnsetType = UNSET
    region: Text | UnsetType | None = UNSET
    postal_code: PostalCode | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    phone_number: PhoneNumber | UnsetType | None = UNSET


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address in a user's book."""

    id: UUID
    user_id: UUID
    name: str
    line1: str
    line2: str | None
    city: str
    region: str | None
    postal_code: str
    country: str
    phone_number: str | None
    created_at: datetime
    updated_at: datetime


MOST_TOPICS = 50
Topics = dict[Word, Annotated[dict[Word, bool], Meta(max_length=10)]]
Likings = Annotated[tuple[Text, ...], Meta(max_length=100)]


Clock = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](?!\n)$", examples=["22:00"])]
DigestEvery = Literal["hourly", "daily", "weekly"]
Digests = Annotated[
    dict[Word, DigestEvery], Meta(max_length=MOST_TOPICS, description="How seldom, by topic", examples=[{"seller_orders": "hourly"}])
]


class QuietHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"begins": "from", "ends": "to"}):
    """From when until when, on the clock of one's own time zone, one does not want to be disturbed."""

    begins: Clock
    ends: Clock


class SetNotifications(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of what somebody wants to be told, on which channel and when; what is left out goes back to its default."""

    notifications: Annotated[
        Topics, Meta(max_length=MOST_TOPICS, description="By topic and channel", examples=[{"order_updates": {"email": True}}])
    ] = {}
    quiet_hours: QuietHours | None = None
    digests: Digests = {}


class SetPreferences(SetNotifications, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of somebody's preferences; what is left out goes back to its default."""

    categories: Likings = ()
    brands: Likings = ()
    language: Language = "en"
    currency: CurrencyCode | None = None
    timezone: TimeZone = "UTC"


class ChangeNotifications(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of what somebody wants to be told, and when. What is left out stays, topic by topic and channel by channel.

    The digest of a topic is null if each of it is to come by itself again.
    """

    notifications: Annotated[Topics, Meta(max_length=MOST_TOPICS)] = {}
    quiet_hours: QuietHours | UnsetType | None = UNSET
    digests: Annotated[dict[Word, DigestEvery | None], Meta(max_length=MOST_TOPICS)] = {}


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody likes, and how and of what they want to be told. The times are the user's until they set any."""

    user_id: UUID
    categories: tuple[str, ...]
    brands: tuple[str, ...]
    language: str
    currency: str | None
    timezone: str
    notifications: dict[str, dict[str, bool]]
    created_at: datetime
    updated_at: datetime
    quiet_hours: QuietHours | None = None
    digests: dict[str, DigestEvery] = {}


class Activity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that somebody looked at or bought."""

    id: UUID
    activity_type: ActivityType
    activity_timestamp: datetime
    product_id: UUID | None = None
    order_id: UUID | None = None
    created_at: datetime


class Seller(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who sells here. Only members and admins see the contact and the reason."""

    id: UUID
    name: str
    description: str | None
    status: SellerStatus
    created_at: datetime
    updated_at: datetime
    contact_email: str | None = None
    reason: str | None = None


class SellerFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a seller presents themselves."""

    name: Text
    description: Description | None = None
    contact_email: Email | None = None


class ChangeSeller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays; null empties it."""

    name: Text | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    contact_email: Email | UnsetType | None = UNSET


class Ruling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a seller is rejected or suspended."""

    reason: Reason | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a seller's team. Owners also change the seller and the team."""

    seller_id: UUID
    user_id: UUID
    role: MemberRole
    created_at: datetime
    updated_at: datetime


class AddMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who joins a seller's team."""

    user_id: UUID
    role: MemberRole = "member"


class ChangeMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a member may do from now on."""

    role: MemberRole


class EmailTaken(Conflict, code="users.email_taken"):
    """There is an account with this e-mail address."""


class UsernameTaken(Conflict, code="users.username_taken"):
    """Somebody else has this username."""


class WrongCredentials(Unauthenticated, code="users.wrong_credentials"):
    """The e-mail address or the password is wrong."""


class WrongPassword(Forbidden, code="users.wrong_password"):
    """The current password is wrong, or was not given."""


class SessionOver(Unauthenticated, code="users.session_over"):
    """This refresh token is not valid any more; sign in again."""


class BadMailToken(Invalid, code="users.bad_mail_token"):
    """This token is not valid any more; ask for a new mail."""


class TooManyAddresses(Conflict, code="users.too_many_addresses"):
    """An address book holds {limit} addresses; delete one first."""

    limit: int


class LastOwner(Conflict, code="users.last_owner"):
    """A seller has at least one owner; name another one first."""


class AlreadyMember(Conflict, code="users.already_member"):
    """This user is in the team already."""


class SellerNotLike(Conflict, code="users.seller_status"):
    """A seller who is {present} cannot become {wanted}."""

    present: str
    wanted: str
