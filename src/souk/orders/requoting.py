"""Give an order that is not paid yet another address or another way to be shipped: quote it again, and let its payment follow."""

import logging
from collections.abc import Mapping
from uuid import UUID

import msgspec

from souk import carts, catalog, payments, shipping
from souk.kit.callers import caller
from souk.kit.db import Transaction, columns
from souk.kit.errors import DomainError
from souk.kit.money import Money
from souk.orders import drafting, placements, reading
from souk.orders.database import db
from souk.orders.drafts import Change, ChangedLine, by_platform, parts_to_pay
from souk.orders.placements import Placement
from souk.orders.quoting import Priced, Selection, find_offered, price_selection
from souk.orders.reading import StoredOrder
from souk.orders.settling import Moment, add_to_timeline
from souk.orders.types import Address, ItemsUnavailable

log = logging.getLogger(__name__)

CHANGE_ORDER = """
    UPDATE orders.orders SET shipping_address = $2, country = $3, discount = $4, shipping = $5, tax = $6, total = $7,
                             tax_included = $8, coupon_discount = $9, version = version + 1, updated_at = now()
    WHERE id = $1 AND status = 'draft'
"""
LOCK_LINES = "SELECT FROM orders.order_line WHERE order_id = $1 ORDER BY id FOR UPDATE"
CHANGE_LINES = """
    UPDATE orders.order_line AS l SET discount = u.discount, tax = u.tax, tax_rate_ppm = u.tax_rate_ppm, total = u.total,
                                      commission = u.commission, platform_discount = u.platform_discount, discounts = u.discounts
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::jsonb[])
        AS u (id, discount, tax, tax_rate_ppm, total, commission, platform_discount, discounts)
    WHERE l.order_id = $1 AND l.id = u.id
"""
LOCK_PARTS = "SELECT FROM orders.order_part WHERE order_id = $1 ORDER BY seller_id FOR UPDATE"
CHANGE_PARTS = """
    UPDATE orders.order_part AS p SET shipping_option = u.shipping_option, shipping = u.shipping, tax = u.tax, total = u.total,
                                      commission = u.commission, platform_discount = u.platform_discount, updated_at = now()
    FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
        AS u (seller_id, shipping_option, shipping, tax, total, commission, platform_discount)
    WHERE p.order_id = $1 AND p.seller_id = u.seller_id
"""


async def quote_again(order: StoredOrder, address: Address, options: Mapping[UUID, str], option: str | None) -> Change:
    """What the order costs at this address and shipped so, at the prices of its lines; discounts and tax are those of now.

    A part for which nothing is asked keeps its option if that is offered there, and takes the cheapest one if not.
    Raises ItemsUnavailable, and what shipping and pricing refuse.
    """
    variants = {variant.sku: variant for variant in await catalog.get_variants(tuple(line.sku for line in order.lines))}
    if missing := tuple(line.sku for line in order.lines if line.sku not in variants):
        raise ItemsUnavailable(missing)
    former = {part.seller_id: part.shipping_option for part in order.parts}

    def choose(seller_id: UUID, offered: tuple[shipping.Rate, ...]) -> shipping.Rate:
        if (asked := options.get(seller_id) or option) is not None:
            return find_offered(seller_id, offered, asked)
        return next((rate for rate in offered if rate.option == former.get(seller_id)), offered[0])

    selection = Selection(
        currency=order.currency,
        lines=tuple(carts.CartLine(line.sku, line.quantity) for line in order.lines),
        variants=variants,
        prices={line.sku: Money(line.unit_price, order.currency) for line in order.lines},
        user_id=order.user_id,
        coupon=order.coupon,
        address=address,
        choose=choose,
        order_id=order.id,
    )
    return make_change(order, address, await price_selection(selection))


def make_change(order: StoredOrder, address: Address, priced: Priced) -> Change:
    quote = priced.quote
    return Change(
        shipping_address=msgspec.to_builtins(address),
        country=address.country,
        discount=quote.discount.amount,
        shipping=quote.shipping_total.amount if quote.shipping_total else 0,
        tax=quote.tax.amount if quote.tax else 0,
        total=quote.total.amount,
        tax_included=quote.tax_included,
        coupon_discount=quote.coupon_discount.amount if quote.coupon_discount else 0,
        lines=tuple(
            ChangedLine(
                id=stored.id,
                discount=line.discount.amount,
                tax=line.tax.amount,
                tax_rate_ppm=line.tax_rate,
                total=line.total.amount,
                commission=line.commission.amount,
                platform_discount=by_platform(line.discounts),
                discounts=line.discounts,
            )
            for stored, line in zip(order.lines, quote.lines, strict=True)
        ),
        parts=tuple(drafting.make_part(part) for part in priced.parts),
        by=caller().principal.user_id,
    )


async def finish_change(placement: Placement, order: StoredOrder) -> StoredOrder:
    """Do the change that was decided for an order, if its payment has not begun: the payment first, then the order.

    Doing it again changes nothing more. Answers the order as it is then; raises LostLease.
    """
    if placement.change is None:
        return order
    change = placement.change
    parts = parts_to_pay(change.parts, order.currency)
    try:
        await payments.change_payment(payments.ChangePayment(order.id, Money(change.total, order.currency), parts))
    except DomainError as refusal:
        log.info("order_change_refused", extra={"order_id": str(order.id), "code": refusal.code})
        async with db.transaction() as tx:
            await placements.write_change(tx, placement, None)
        return order
    async with db.transaction() as tx:
        await placements.write_change(tx, placement, None)
        await write_amounts(tx, order.id, change)
        await add_to_timeline(tx, (Moment(order.id, "changed", {"fields": ["shipping"], "total": change.total}, change.by),))
    return await reading.find_order(order.id)


async def write_amounts(tx: Transaction, order_id: UUID, change: Change) -> None:
    amounts = (change.discount, change.shipping, change.tax, change.total, change.tax_included, change.coupon_discount)
    await tx.run(CHANGE_ORDER, order_id, change.shipping_address, change.country, *amounts)
    await tx.run(LOCK_LINES, order_id)
    await tx.run(CHANGE_LINES, order_id, *columns(change.lines, *ChangedLine.__struct_fields__))
    await tx.run(LOCK_PARTS, order_id)
    await tx.run(CHANGE_PARTS, order_id, *columns(change.parts, *drafting.PART_COLUMNS))
