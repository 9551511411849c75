"""Accounts, sessions, address books, preferences, activity and sellers over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar import Request
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, Parameter

from souk import users
from souk.kit import personal
from souk.kit.callers import caller
from souk.kit.http import ADMIN, PUBLIC, SIGNED_IN, Cursor, Limit, Page, route
from souk.users.keys import Jwks
from souk.users.preferences import show_preferences
from souk.users.settings import settings
from souk.users.types import Email, SellerStatus

Mine = Annotated[bool, Parameter(description="Only sellers in whose team you are, whatever their status")]
ByStatus = Annotated[SellerStatus | None, Parameter(description="Only these; anything but approved for admins and with `mine`")]
ByEmail = Annotated[Email | None, Parameter(description="The user with this e-mail address")]

Asked = Request[object, object, State]


def address_of(request: Asked) -> str:
    """Where a request comes from: what the last proxy that is not ours saw; a header that anybody can write is not believed."""
    proxies = settings.now.trusted_proxies
    hops = [hop.strip() for line in request.headers.getall("x-forwarded-for", []) for hop in line.split(",")]
    if proxies and len(hops) >= proxies:
        return hops[-proxies]
    return request.client.host if request.client else ""


@route("GET", "/.well-known/jwks.json", PUBLIC)
async def get_jwks() -> Jwks:
    """The public keys of access tokens (RFC 7517)."""
    return await users.get_public_keys()


@route("POST", "/auth/register", PUBLIC)
async def register(data: JSONBody[users.Register], request: Asked) -> users.Registered:
    """Make an account and sign in to it; a mail to verify the address follows."""
    return await users.register_user(data, address_of(request))


@route("POST", "/auth/login", PUBLIC, status_code=200)
async def login(data: JSONBody[users.Login], request: Asked) -> users.Tokens:
    """Sign in. After ten failures in fifteen minutes the answer is 429 with Retry-After."""
    return await users.open_session(data, address_of(request))


@route("POST", "/auth/refresh", PUBLIC, status_code=200)
async def refresh(data: JSONBody[users.Refresh]) -> users.Tokens:
    """The next pair of tokens for a refresh token, which works once: a spent one that comes again ends the session."""
    return await users.refresh_session(data)


@route("POST", "/auth/logout", PUBLIC, status_code=204)
async def logout(data: JSONBody[users.Logout | None] = None) -> None:
    """End the session of the access token, that of a refresh token, or every session of the user."""
    await users.close_session(data or users.Logout())


@route("GET", "/auth/me", SIGNED_IN)
async def get_me() -> users.User:
    """Your account."""
    return await users.get_user(caller().principal.require_user())


@route("PATCH", "/auth/me", SIGNED_IN)
async def change_me(data: JSONBody[users.ChangeMe]) -> users.User:
    """Change your account. A new e-mail address or password wants the current password and ends your other sessions."""
    return await users.change_me(data)


@route("DELETE", "/auth/me", SIGNED_IN)
async def erase_me() -> None:
    """Erase your account and everything that the shop keeps of you; what its books need stays under a number."""
    await users.erase_user(caller().principal.require_user())


@route("GET", "/auth/me/export", SIGNED_IN)
async def export_me() -> dict[str, dict[str, object]]:
    """Everything that the shop keeps of you, by context."""
    return await personal.export_user_data(caller().principal.require_user())


@route("POST", "/auth/password/forgot", PUBLIC, status_code=202)
async def forgot_password(data: JSONBody[users.ForgotPassword], request: Asked) -> None:
    """Have a mail sent with which a new password can be set. The answer is the same for an address that is not known."""
    await users.request_password_reset(data, address_of(request))


@route("POST", "/auth/password/reset", PUBLIC, status_code=204)
async def reset_password(data: JSONBody[users.ResetPassword]) -> None:
    """Set a new password with the token of the mail; every session ends."""
    await users.reset_password(data)


@route("POST", "/auth/email/verification", SIGNED_IN, status_code=202)
async def request_verification() -> None:
    """Have the mail to verify your address sent again."""
    await users.request_email_verification()


@route("POST", "/auth/email/verify", PUBLIC, status_code=204)
async def verify_email(data: JSONBody[users.VerifyEmail]) -> None:
    """Verify an address with the token of the mail."""
    await users.verify_email(data)


@route("GET", "/users", ADMIN)
async def list_users(email: ByEmail = None, limit: Limit = 20, cursor: Cursor = None) -> Page[users.User]:
    """All users, newest first."""
    return await users.list_users(email, limit, cursor)


@route("GET", "/users/{user_id:uuid}", SIGNED_IN)
async def get_user(user_id: FromPath[UUID]) -> users.User:
    """A user: yourself, or anybody for an admin."""
    return await users.get_user(user_id)


@route("PATCH", "/users/{user_id:uuid}", SIGNED_IN)
async def change_user(user_id: FromPath[UUID], data: JSONBody[users.ChangeUser]) -> users.User:
    """Change your name, username or phone number; an admin may change anybody's."""
    return await users.change_user(user_id, data)


@route("DELETE", "/users/{user_id:uuid}", SIGNED_IN)
async def erase_user(user_id: FromPath[UUID]) -> None:
    """Erase an account: your own, or anybody's for an admin."""
    await users.erase_user(user_id)


@route("PATCH", "/users/{user_id:uuid}/roles", ADMIN)
async def change_roles(user_id: FromPath[UUID], data: JSONBody[users.ChangeRoles]) -> users.User:
    """Give a user these roles and no others; their access tokens are void at once and the next ones say so."""
    return await users.change_roles(user_id, data)


@route("GET", "/users/{user_id:uuid}/preferences", SIGNED_IN)
async def get_preferences(user_id: FromPath[UUID]) -> users.Preferences:
    """What a user likes and of what they want to be told."""
    return await show_preferences(user_id)


@route("PUT", "/users/{user_id:uuid}/preferences", SIGNED_IN)
async def set_preferences(user_id: FromPath[UUID], data: JSONBody[users.SetPreferences]) -> users.Preferences:
    """Replace all preferences of a user; what is left out goes back to its default."""
    return await users.set_preferences(user_id, data)


@route("GET", "/users/{user_id:uuid}/activity", SIGNED_IN)
async def list_activity(user_id: FromPath[UUID], limit: Limit = 20, cursor: Cursor = None) -> Page[users.Activity]:
    """What a user looked at and bought, newest first."""
    return await users.list_activity(user_id, limit, cursor)


@route("POST", "/users/{user_id:uuid}/addresses", SIGNED_IN)
async def add_address(user_id: FromPath[UUID], data: JSONBody[users.AddressFields]) -> users.Address:
    """Write an address into a user's book."""
    return await users.add_address(user_id, data)


@route("GET", "/users/{user_id:uuid}/addresses", SIGNED_IN)
async def list_addresses(user_id: FromPath[UUID], limit: Limit = 20, cursor: Cursor = None) -> Page[users.Address]:
    """A user's addresses, oldest first."""
    return await users.list_addresses(user_id, limit, cursor)


@route("GET", "/users/{user_id:uuid}/addresses/{address_id:uuid}", SIGNED_IN)
async def get_address(user_id: FromPath[UUID], address_id: FromPath[UUID]) -> users.Address:
    """An address out of a user's book."""
    return await users.get_address(user_id, address_id)


@route("PATCH", "/users/{user_id:uuid}/addresses/{address_id:uuid}", SIGNED_IN)
async def change_address(user_id: FromPath[UUID], address_id: FromPath[UUID], data: JSONBody[users.ChangeAddress]) -> users.Address:
    """Change an address in a user's book; orders keep the one that they were placed with."""
    return await users.change_address(user_id, address_id, data)


@route("DELETE", "/users/{user_id:uuid}/addresses/{address_id:uuid}", SIGNED_IN)
async def remove_address(user_id: FromPath[UUID], address_id: FromPath[UUID]) -> None:
    """Strike an address out of a user's book."""
    await users.remove_address(user_id, address_id)


@route("POST", "/sellers", SIGNED_IN)
async def apply_as_seller(data: JSONBody[users.SellerFields]) -> users.Seller:
    """Ask to sell here; you own the seller, and sell once an admin has approved it."""
    return await users.apply_as_seller(data)


@route("GET", "/sellers", PUBLIC)
async def list_sellers(status: ByStatus = None, mine: Mine = False, limit: Limit = 20, cursor: Cursor = None) -> Page[users.Seller]:
    """Sellers, oldest first: who is approved, your own, or all of them for an admin."""
    return await users.list_sellers(status, mine, limit, cursor)


@route("GET", "/sellers/{seller_id:uuid}", PUBLIC)
async def get_seller(seller_id: FromPath[UUID]) -> users.Seller:
    """A seller who is approved, or whose team you are in."""
    return await users.get_seller(seller_id)


@route("PATCH", "/sellers/{seller_id:uuid}", SIGNED_IN)
async def change_seller(seller_id: FromPath[UUID], data: JSONBody[users.ChangeSeller]) -> users.Seller:
    """Change how a seller presents themselves; for its owners."""
    return await users.change_seller(seller_id, data)


@route("POST", "/sellers/{seller_id:uuid}/approve", ADMIN, status_code=200)
async def approve_seller(seller_id: FromPath[UUID]) -> users.Seller:
    """Let a seller sell, or sell again."""
    return await users.approve_seller(seller_id)


@route("POST", "/sellers/{seller_id:uuid}/reject", ADMIN, status_code=200)
async def reject_seller(seller_id: FromPath[UUID], data: JSONBody[users.Ruling | None] = None) -> users.Seller:
    """Refuse an application."""
    return await users.reject_seller(seller_id, data or users.Ruling())


@route("POST", "/sellers/{seller_id:uuid}/suspend", ADMIN, status_code=200)
async def suspend_seller(seller_id: FromPath[UUID], data: JSONBody[users.Ruling | None] = None) -> users.Seller:
    """Stop a seller from selling."""
    return await users.suspend_seller(seller_id, data or users.Ruling())


@route("GET", "/sellers/{seller_id:uuid}/members", SIGNED_IN)
async def list_members(seller_id: FromPath[UUID], limit: Limit = 20, cursor: Cursor = None) -> Page[users.Member]:
    """A seller's team; for the team."""
    return await users.list_members(seller_id, limit, cursor)


@route("POST", "/sellers/{seller_id:uuid}/members", SIGNED_IN)
async def add_member(seller_id: FromPath[UUID], data: JSONBody[users.AddMember]) -> users.Member:
    """Take somebody into a seller's team; for its owners."""
    return await users.add_member(seller_id, data)


@route("PATCH", "/sellers/{seller_id:uuid}/members/{user_id:uuid}", SIGNED_IN)
async def change_member(seller_id: FromPath[UUID], user_id: FromPath[UUID], data: JSONBody[users.ChangeMember]) -> users.Member:
    """Make a member an owner or an owner a member; for its owners."""
    return await users.change_member(seller_id, user_id, data)


@route("DELETE", "/sellers/{seller_id:uuid}/members/{user_id:uuid}", SIGNED_IN)
async def remove_member(seller_id: FromPath[UUID], user_id: FromPath[UUID]) -> None:
    """Take somebody out of a seller's team; for its owners, and for members who leave."""
    await users.remove_member(seller_id, user_id)


routes: tuple[BaseRouteHandler, ...] = (
    get_jwks,
    register,
    login,
    refresh,
    logout,
    get_me,
    change_me,
    erase_me,
    export_me,
    forgot_password,
    reset_password,
    request_verification,
    verify_email,
    list_users,
    get_user,
    change_user,
    erase_user,
    change_roles,
    get_preferences,
    set_preferences,
    list_activity,
    add_address,
    list_addresses,
    get_address,
    change_address,
    remove_address,
    apply_as_seller,
    list_sellers,
    get_seller,
    change_seller,
    approve_seller,
    reject_seller,
    suspend_seller,
    list_members,
    add_member,
    change_member,
    remove_member,
)
