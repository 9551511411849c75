"""Make carts: any number of them in a handful of statements, because every purchase begins here."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from souk import pricing
from souk.carts.changing import check_currency
from souk.carts.database import db
from souk.carts.items import ITEM_COLUMNS, Item, make_items
from souk.carts.keys import Claim, claim_keys, make_claim
from souk.carts.offers import Offers, find_offers
from souk.carts.reading import FIND_CARTS, StoredCart, StoredItem, hash_token
from souk.carts.totals import price_carts
from souk.carts.types import Cart, NewCart
from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.db import Row, columns
from souk.kit.errors import DomainError, NotFound
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id

# One statement for a cart, what lies in it, and that it is its user's current one: with no key to claim it is the whole transaction.
WRITE_CARTS = """
    WITH made AS (
        INSERT INTO carts.cart (id, user_id, guest_token_hash, email, currency)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[])
        RETURNING id, created_at
    ), filled AS (
        INSERT INTO carts.cart_item (cart_id, sku, id, product_id, variant_id, seller_id, name, quantity)
        SELECT * FROM unnest($6::uuid[], $7::text[], $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::text[], $13::bigint[])
    ), chosen AS (
        INSERT INTO carts.current_cart (user_id, cart_id)
        SELECT u.user_id, u.cart_id FROM unnest($14::uuid[], $15::uuid[]) AS u (user_id, cart_id) ORDER BY u.user_id
        ON CONFLICT (user_id) DO UPDATE SET cart_id = excluded.cart_id, updated_at = now()
    )
    SELECT id, created_at FROM made
"""


class Draft(msgspec.Struct, frozen=True):
    """A cart that is to be written."""

    id: UUID
    user_id: UUID | None
    token: str | None
    email: str | None
    currency: str
    items: tuple[Item, ...]
    claim: Claim | None

    @property
    def guest_token_hash(self) -> bytes | None:
        return hash_token(self.token) if self.token else None


class Write(Protocol):
    """Runs a statement, in a transaction or as one of its own."""

    async def __call__(self, kind: type[Row], sql: str, *values: object) -> tuple[Row, ...]: ...


class _Created(msgspec.Struct, frozen=True):
    id: UUID
    created_at: datetime


@exposed.batched(timeout=5.0, lanes=2)
async def create_cart(asked: tuple[Asked[NewCart], ...]) -> tuple[Cart | DomainError, ...]:
    """Make a cart with exactly these items. A user's becomes their current one; a guest's has a `token`, told this once.

    The same Idempotency-Key gives a user the same cart; a guest, of whom nothing is known yet, gets another. Raises UnknownSku and
    PriceMissing for what cannot be bought, UnknownCurrency, TooManyPieces.
    """
    offers = await find_offers(item.sku for one in asked for item in one.request.items)
    currencies = await pricing.get_currencies()
    drafts = tuple(make_draft(one, offers, currencies) for one in asked)
    written = await write_drafts(tuple(draft for draft in drafts if isinstance(draft, Draft)))
    carts = {cart.id: cart for cart in written.values() if isinstance(cart, StoredCart)}
    missing = {item.sku for cart in carts.values() for item in cart.items} - offers.variants.keys()
    if missing:
        # A cart that was made before has other items by now.
        offers = await find_offers(item.sku for cart in carts.values() for item in cart.items)
    priced = {cart.id: cart for cart in await price_carts(tuple(carts.values()), offers)}
    return tuple(answer(draft, written, priced) for draft in drafts)


def answer(draft: Draft | DomainError, written: Mapping[UUID, StoredCart | DomainError], priced: Mapping[UUID, Cart]) -> Cart | DomainError:
    """What becomes of a request: its cart, the cart that its key had made before, or why not."""
    if isinstance(draft, DomainError):
        return draft
    cart = written[draft.id]
    if isinstance(cart, DomainError):
        return cart
    return msgspec.structs.replace(priced[cart.id], token=draft.token) if draft.token else priced[cart.id]


def make_draft(one: Asked[NewCart], offers: Offers, currencies: tuple[str, ...]) -> Draft | DomainError:
    """A cart out of what is asked for, or why not."""
    who, request, cart_id = one.caller, one.request, new_id()
    user_id = who.principal.user_id
    currency = request.currency or currencies[0]
    try:
        check_currency(currency, currencies)
        items = make_items(cart_id, currency, {f"items[{place}].sku": new for place, new in enumerate(request.items)}, offers)
    except DomainError as refusal:
        return refusal
    return Draft(
        id=cart_id,
        user_id=user_id,
        token=None if user_id else secrets.token_urlsafe(32),
        email=request.email,
        currency=currency,
        items=items,
        claim=make_claim(who, str(user_id), cart_id, request) if user_id else None,
    )


async def write_drafts(drafts: tuple[Draft, ...]) -> dict[UUID, StoredCart | DomainError]:
    """Write carts; for each draft its cart, or the one that was made under its key before."""
    claims = tuple(draft.claim for draft in drafts if draft.claim)
    if not claims:
        return {**await write_fresh(db.write, drafts)}
    async with db.transaction() as tx:
        earlier = await claim_keys(tx, claims)
        repeated = {draft.id: holder for draft in drafts if (holder := find_holder(draft, earlier)) is not None}
        made = await write_fresh(tx.all, tuple(draft for draft in drafts if draft.id not in repeated))
        found = await tx.all(StoredCart, FIND_CARTS, [holder.cart_id for holder in repeated.values()]) if repeated else ()
    known = {cart.id: cart for cart in found}
    written: dict[UUID, StoredCart | DomainError] = {**made}
    for draft in drafts:
        if draft.claim and (holder := repeated.get(draft.id)):
            same = draft.claim.repeats(holder)
            written[draft.id] = known.get(holder.cart_id, NotFound()) if same else IdempotencyKeyReused()
    return written


def find_holder(draft: Draft, earlier: Mapping[tuple[str, str], Claim]) -> Claim | None:
    """Who has used the draft's key before it."""
    if draft.claim is None:
        return None
    holder = earlier.get((draft.claim.subject, draft.claim.key))
    return None if holder == draft.claim else holder


async def write_fresh(write: Write, drafts: tuple[Draft, ...]) -> dict[UUID, StoredCart]:
    """Write new carts and their items; a user's is the current one from now on."""
    if not drafts:
        return {}
    items = tuple(item for draft in drafts for item in draft.items)
    current = {draft.user_id: draft.id for draft in drafts if draft.user_id}
    created = await write(
        _Created,
        WRITE_CARTS,
        *columns(drafts, "id", "user_id", "guest_token_hash", "email", "currency"),
        *columns(items, *ITEM_COLUMNS),
        list(current),
        list(current.values()),
    )
    created_at = {row.id: row.created_at for row in created}
    return {draft.id: make_stored(draft, created_at[draft.id]) for draft in drafts}


def make_stored(draft: Draft, created_at: datetime) -> StoredCart:
    """The rows that a draft became."""
    items = tuple(
        StoredItem(one.id, one.sku, one.product_id, one.variant_id, one.seller_id, one.name, one.quantity, created_at, created_at)
        for one in draft.items
    )
    return StoredCart(
        id=draft.id,
        user_id=draft.user_id,
        guest_token_hash=draft.guest_token_hash,
        email=draft.email,
        currency=draft.currency,
        coupon=None,
        status="active",
        merged_into=None,
        version=1,
        created_at=created_at,
        updated_at=created_at,
        items=items,
    )
