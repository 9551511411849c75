"""Write orders down before anything is done for them: one statement per table, however many orders come at once."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller
from souk.kit.db import columns
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.orders import placements
from souk.orders.database import db
from souk.orders.drafts import Draft, DraftLine, DraftPart
from souk.orders.placements import LEASE_S, Placement
from souk.orders.quoting import PricedCart, PricedPart
from souk.orders.reading import StoredLine, StoredOrder, StoredPart
from souk.orders.settings import settings
from souk.orders.types import PlaceOrder

# One statement, and so one transaction, for all that an order begins with. A cart or a key that is taken leaves the order out: who
# comes second finds the first one's saga.
WRITE_DRAFTS = f"""
    WITH claimed AS (
        INSERT INTO orders.placement (order_id, cart_id, subject, key, fingerprint, step, expires_at, lease_owner, lease_until)
        SELECT u.order_id, u.cart_id, u.subject, u.key, u.fingerprint, 'completing', u.expires_at, $1, now() + make_interval(secs => $2)
        FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[])
            AS u (order_id, cart_id, subject, key, fingerprint, expires_at)
        ORDER BY u.cart_id, u.order_id
        ON CONFLICT DO NOTHING
        RETURNING {placements.COLUMNS}
    ), written AS (
        INSERT INTO orders.orders (id, cart_id, expires_at, user_id, guest_token_hash, email, status, currency, subtotal, discount,
                                   shipping, tax, total, tax_included, coupon, coupon_discount, country, shipping_address, note, placed_at)
        SELECT c.order_id, c.cart_id, c.expires_at, u.user_id, u.guest_token_hash, u.email, 'draft', u.currency, u.subtotal, u.discount,
               u.shipping, u.tax, u.total, u.tax_included, u.coupon, u.coupon_discount, u.country, u.shipping_address, u.note, u.placed_at
        FROM claimed AS c
        JOIN unnest($3::uuid[], $9::uuid[], $10::bytea[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
                    $16::bigint[], $17::bigint[], $18::bool[], $19::text[], $20::bigint[], $21::text[], $22::jsonb[], $23::text[],
                    $24::timestamptz[])
            AS u (order_id, user_id, guest_token_hash, email, currency, subtotal, discount, shipping, tax, total, tax_included,
                  coupon, coupon_discount, country, shipping_address, note, placed_at) ON u.order_id = c.order_id
        RETURNING id, number, version, created_at, updated_at
    ), lines AS (
        INSERT INTO orders.order_line (order_id, id, seller_id, product_id, variant_id, sku, name, image_url, quantity, unit_price,
                                       discount, tax, tax_rate_ppm, total, commission,
                                       platform_discount, discounts, category_ids)
        SELECT u.order_id, u.id, u.seller_id, u.product_id, u.variant_id, u.sku, u.name, u.image_url, u.quantity, u.unit_price,
               u.discount, u.tax, u.tax_rate_ppm, u.total, u.commission, u.platform_discount, u.discounts::jsonb, u.category_ids::uuid[]
        FROM unnest($25::uuid[], $26::uuid[], $27::uuid[], $28::uuid[], $29::uuid[], $30::text[], $31::text[], $32::text[], $33::bigint[],
                    $34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[], $39::bigint[], $40::bigint[], $41::text[],
                    $42::text[])
            AS u (order_id, id, seller_id, product_id, variant_id, sku, name, image_url, quantity, unit_price,
                  discount, tax, tax_rate_ppm, total, commission, platform_discount, discounts, category_ids)
        WHERE u.order_id IN (SELECT order_id FROM claimed)
    ), parts AS (
        INSERT INTO orders.order_part (order_id, seller_id, shipping_option, shipping, tax, total, commission, platform_discount)
        SELECT u.order_id, u.seller_id, u.shipping_option, u.shipping, u.tax, u.total, u.commission, u.platform_discount
        FROM unnest($43::uuid[], $44::uuid[], $45::text[], $46::bigint[], $47::bigint[], $48::bigint[], $49::bigint[], $50::bigint[])
            AS u (order_id, seller_id, shipping_option, shipping, tax, total, commission, platform_discount)
        WHERE u.order_id IN (SELECT order_id FROM claimed)
    )
    SELECT c.*, w.number, w.version, w.created_at, w.updated_at FROM claimed AS c JOIN written AS w ON w.id = c.order_id
"""


def make_draft(request: PlaceOrder, priced: PricedCart) -> Draft:
    """An order out of what was asked for and what it costs; it waits for its payment as long as the shop's settings say."""
    cart, quote = priced.cart, priced.quote
    return Draft(
        order_id=request.id or new_id(),
        lines=tuple(
            DraftLine(item, line.discounts, line.commission.amount, category_ids)
            for item, line, category_ids in zip(priced.items, quote.lines, priced.categories, strict=True)
        ),
        parts=tuple(make_part(part) for part in priced.parts),
        currency=quote.currency,
        subtotal=quote.subtotal.amount,
        discount=quote.discount.amount,
        shipping=quote.shipping_total.amount if quote.shipping_total else 0,
        tax=quote.tax.amount if quote.tax else 0,
        total=quote.total.amount,
        tax_included=quote.tax_included,
        subject=placements.subject(),
        key=caller().idempotency_key,
        fingerprint=fingerprint_of(request),
        expires_at=datetime.now(UTC) + timedelta(seconds=settings.now.payment_window_s),
        cart_id=request.cart_id,
        user_id=cart.user_id,
        guest_token_hash=bytes.fromhex(cart.guest_token_hash) if cart.guest_token_hash else None,
        email=request.email,
        coupon=quote.coupon,
        coupon_discount=quote.coupon_discount.amount if quote.coupon_discount else 0,
        country=request.shipping_address.country,
        shipping_address=request.shipping_address,
        note=request.note,
    )


def make_part(part: PricedPart) -> DraftPart:
    return DraftPart(
        seller_id=part.seller_id,
        shipping_option=part.chosen.option if part.chosen else None,
        shipping=part.shipping.amount,
        tax=part.tax.amount,
        total=part.total.amount,
        commission=part.commission.amount,
        platform_discount=part.platform_discount.amount,
    )


def fingerprint_of(request: msgspec.Struct) -> bytes:
    """What tells two requests with one idempotency key apart."""
    return hashlib.sha256(msgspec.msgpack.encode(request)).digest()


def check_fingerprint(placement: Placement, request: PlaceOrder) -> None:
    """Raise IdempotencyKeyReused if the caller's key was used for another request."""
    key = caller().idempotency_key
    if key is not None and placement.key == key and placement.fingerprint != fingerprint_of(request):
        raise IdempotencyKeyReused


class Written(msgspec.Struct, frozen=True):
    """A new order and its saga, whose first attempt is ours."""

    placement: Placement
    order: StoredOrder


class _Row(Placement, frozen=True, kw_only=True):
    """What the database adds to a new order and its saga."""

    number: int
    version: int
    created_at: datetime
    updated_at: datetime


async def _write_drafts(asked: tuple[Asked[Draft], ...]) -> Answers[Written | None]:
    drafts = {one.request.order_id: one.request for one in asked}
    new = tuple(drafts.values())
    claims, orders = columns(new, *CLAIM_COLUMNS), columns(new, *ORDER_COLUMNS)
    rows = await db.write(_Row, WRITE_DRAFTS, db.owner, float(LEASE_S), *claims, *orders, *line_columns(new), *part_columns(new))
    written = {row.order_id: Written(as_placement(row), as_stored(drafts[row.order_id], row)) for row in rows}
    return tuple(written.get(one.request.order_id) for one in asked)


_drafting: Batcher[Draft, Written | None] = Batcher(_write_drafts)

CLAIM_COLUMNS = ("order_id", "cart_id", "subject", "key", "fingerprint", "expires_at")
ORDER_COLUMNS = (
    "user_id", "guest_token_hash", "email", "currency", "subtotal", "discount", "shipping", "tax", "total", "tax_included", "coupon",
    "coupon_discount", "country", "shipping_address", "note", "placed_at",
)  # fmt: skip
PART_COLUMNS = ("seller_id", "shipping_option", "shipping", "tax", "total", "commission", "platform_discount")


async def write_draft(draft: Draft) -> Written | None:
    """The new order; None if its cart or its key has one already."""
    return await _drafting.ask(draft, caller())


def as_placement(row: _Row) -> Placement:
    return Placement(*(getattr(row, name) for name in Placement.__struct_fields__))


def as_stored(draft: Draft, row: _Row) -> StoredOrder:
    """The order as reading it back would show it."""
    parts = (StoredPart(**msgspec.structs.asdict(part), status="unfulfilled") for part in draft.parts)
    return StoredOrder(
        id=draft.order_id,
        number=row.number,
        user_id=draft.user_id,
        guest_token_hash=draft.guest_token_hash,
        email=draft.email,
        cart_id=draft.cart_id,
        status="draft",
        payment_status="none",
        fulfillment_status="unfulfilled",
        currency=draft.currency,
        subtotal=draft.subtotal,
        discount=draft.discount,
        shipping=draft.shipping,
        tax=draft.tax,
        total=draft.total,
        tax_included=draft.tax_included,
        coupon=draft.coupon,
        coupon_discount=draft.coupon_discount,
        shipping_address=draft.shipping_address,
        note=draft.note,
        expires_at=draft.expires_at,
        placed_at=draft.placed_at,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        lines=tuple(sorted(map(as_stored_line, draft.lines), key=lambda line: line.id)),
        parts=tuple(sorted(parts, key=lambda part: part.seller_id)),
    )


def as_stored_line(line: DraftLine) -> StoredLine:
    item = line.item
    return StoredLine(
        id=item.id,
        seller_id=item.seller_id,
        product_id=item.product_id,
        variant_id=item.variant_id,
        sku=item.sku,
        name=item.name,
        image_url=item.image_url,
        quantity=item.quantity,
        unit_price=item.unit_price.amount,
        discount=item.discount.amount,
        tax=item.tax.amount,
        tax_rate_ppm=item.tax_rate_ppm,
        total=item.total.amount,
        commission=line.commission,
        platform_discount=line.platform_discount,
    )


def line_columns(drafts: tuple[Draft, ...]) -> tuple[list[object], ...]:
    """The lines of these orders, a list per column of WRITE_LINES."""
    rows = []
    for draft in drafts:
        for line in draft.lines:
            item = line.item
            rows.append((
                draft.order_id, item.id, item.seller_id, item.product_id, item.variant_id, item.sku, item.name, item.image_url,
                item.quantity, item.unit_price.amount, item.discount.amount, item.tax.amount, item.tax_rate_ppm, item.total.amount,
                line.commission, line.platform_discount, msgspec.json.encode(line.discounts).decode(),
                f"{{{','.join(map(str, line.category_ids))}}}",
            ))  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))


def part_columns(drafts: tuple[Draft, ...]) -> tuple[list[object], ...]:
    """The parts of these orders, a list per column of WRITE_PARTS."""
    parts = tuple(part for draft in drafts for part in draft.parts)
    return ([draft.order_id for draft in drafts for _ in draft.parts], *columns(parts, *PART_COLUMNS))
