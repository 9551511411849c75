"""Zones with their methods and rates: who may write them, what they may say, and how they are kept."""

import re
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.kit.money import known_currencies
from souk.shipping.database import db
from souk.shipping.types import NO_SHIPPING, Method, NewZone, Zone, ZoneChanges, ZoneRate, ZoneTerms

COLUMNS = """
    z.id, z.seller_id, z.name, z.countries, z.postal_include, z.postal_exclude, z.priority, z.active, z.created_at, z.updated_at,
    (SELECT coalesce(json_agg(json_build_object(
        'option', m.option, 'name', m.name, 'days_min', m.days_min, 'days_max', m.days_max,
        'rates', (SELECT json_agg(json_build_object(
                      'price', json_build_object('amount', r.price, 'currency', r.currency),
                      'weight_from_g', r.weight_from_g, 'weight_below_g', r.weight_below_g,
                      'total_from', r.total_from, 'total_below', r.total_below) ORDER BY r.place)
                  FROM shipping.rate AS r WHERE r.zone_id = m.zone_id AND r.option = m.option)) ORDER BY m.option), '[]')
     FROM shipping.method AS m WHERE m.zone_id = z.id) AS methods
"""
FIND = f"SELECT {COLUMNS} FROM shipping.zone AS z WHERE z.id = $1"
LOCK = f"{FIND} FOR UPDATE OF z"
LIST_ALL = f"SELECT {COLUMNS} FROM shipping.zone AS z WHERE $1::uuid IS NULL OR z.id > $1 ORDER BY z.id LIMIT $2"
LIST_OWN = f"""
    SELECT {COLUMNS} FROM shipping.zone AS z
    WHERE ($1::uuid IS NULL OR z.id > $1) AND z.seller_id = ANY($3)
    ORDER BY z.id LIMIT $2
"""
ADD = """
    INSERT INTO shipping.zone (id, name, countries, postal_include, postal_exclude, priority, active, seller_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
CHANGE = """
    UPDATE shipping.zone
    SET name = $2, countries = $3, postal_include = $4, postal_exclude = $5, priority = $6, active = $7, updated_at = now()
    WHERE id = $1
"""
ADD_METHODS = """
    INSERT INTO shipping.method (zone_id, option, name, days_min, days_max)
    SELECT $1, u.option, u.name, u.days_min, u.days_max
    FROM unnest($2::text[], $3::text[], $4::int[], $5::int[]) AS u (option, name, days_min, days_max)
"""
ADD_RATES = """
    INSERT INTO shipping.rate (zone_id, option, place, currency, price, weight_from_g, weight_below_g, total_from, total_below)
    SELECT $1, u.option, u.place, u.currency, u.price, u.weight_from_g, u.weight_below_g, u.total_from, u.total_below
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) WITH ORDINALITY
        AS u (option, currency, price, weight_from_g, weight_below_g, total_from, total_below, place)
"""
REMOVE_METHODS = "DELETE FROM shipping.method WHERE zone_id = $1"
REMOVE = "DELETE FROM shipping.zone WHERE id = $1"


@exposed()
async def create_zone(new: NewZone) -> Zone:
    """Make a zone with its methods: the platform's, or a seller's own.

    Repeating with the same Idempotency-Key gives the first one. Raises InvalidField, Forbidden, and NotFound for another's seller.
    """
    terms = check_terms(msgspec.structs.replace(new, seller_id=caller().principal.choose_seller(new.seller_id)))

    async def work(tx: Transaction) -> Zone:
        zone_id = new_id()
        await tx.run(ADD, zone_id, *zone_columns(terms), terms.seller_id)
        await add_methods(tx, zone_id, terms.methods)
        return await tx.one(Zone, FIND, zone_id)

    return await once(db, new, work)


@exposed()
async def list_zones(after: UUID | None, limit: int) -> tuple[Zone, ...]:
    """Zones, the oldest first: all for an admin, a seller's own else. Changes nothing; raises Forbidden for other people."""
    who = caller().principal
    if who.is_admin:
        return await db.all(Zone, LIST_ALL, after, limit)
    if not who.seller_ids:
        raise Forbidden
    return await db.all(Zone, LIST_OWN, after, limit, list(who.seller_ids))


@exposed()
async def get_zone(zone_id: UUID) -> Zone:
    """The zone. Changes nothing; raises NotFound, also for another's."""
    return must_be_own(await db.maybe(Zone, FIND, zone_id))


@exposed()
async def change_zone(zone_id: UUID, changes: ZoneChanges) -> Zone:
    """Change what is given; repeating changes nothing more. Raises InvalidField, and NotFound, also for another's."""
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not msgspec.UNSET}
    async with db.transaction() as tx:
        terms = check_terms(msgspec.structs.replace(must_be_own(await tx.maybe(Zone, LOCK, zone_id)), **given))
        await tx.run(CHANGE, zone_id, *zone_columns(terms))
        if "methods" in given:
            await tx.run(REMOVE_METHODS, zone_id)
            await add_methods(tx, zone_id, terms.methods)
        return await tx.one(Zone, FIND, zone_id)


@exposed()
async def remove_zone(zone_id: UUID) -> None:
    """Remove a zone; orders keep what they paid. Raises NotFound, also for another's and the second time."""
    async with db.transaction() as tx:
        must_be_own(await tx.maybe(Zone, LOCK, zone_id))
        await tx.run(REMOVE, zone_id)


async def add_methods(tx: Transaction, zone_id: UUID, methods: tuple[Method, ...]) -> None:
    """Write the methods of a zone that has none."""
    rates = [(method.option, rate) for method in methods for rate in method.rates]
    await tx.run(ADD_METHODS, zone_id, *columns(methods, "option", "name", "days_min", "days_max"))
    await tx.run(
        ADD_RATES,
        zone_id,
        [option for option, _ in rates],
        *columns([rate.price for _, rate in rates], "currency", "amount"),
        *columns([rate for _, rate in rates], "weight_from_g", "weight_below_g", "total_from", "total_below"),
    )


def zone_columns(terms: ZoneTerms) -> tuple[object, ...]:
    return terms.name, terms.countries, terms.postal_include, terms.postal_exclude, terms.priority, terms.active


def must_be_own(found: Zone | None) -> Zone:
    """What was found, if the caller may manage it; raises NotFound."""
    if found is None or not caller().principal.manages(found.seller_id):
        raise NotFound
    return found


def check_terms(terms: ZoneTerms) -> ZoneTerms:
    """The terms as they are kept; raises InvalidField for those that contradict themselves."""
    if not terms.countries and (terms.postal_include or terms.postal_exclude):
        raise InvalidField("countries", "are missing: a postal code means nothing without its country")
    options = [method.option for method in terms.methods]
    if len(options) != len(set(options)):
        raise InvalidField("methods", "are to have an option each of their own")
    for method in terms.methods:
        check_method(method)
    return msgspec.structs.replace(
        terms,
        countries=tuple(sorted(set(terms.countries))),
        postal_include=tuple(sorted({normalise_postal_code(prefix) for prefix in terms.postal_include})),
        postal_exclude=tuple(sorted({normalise_postal_code(prefix) for prefix in terms.postal_exclude})),
    )


def check_method(method: Method) -> None:
    if method.option == NO_SHIPPING:
        raise InvalidField("option", f"is not to be {NO_SHIPPING}: that is for what needs no shipping")
    if method.days_max < method.days_min:
        raise InvalidField("days_max", "is below days_min")
    for rate in method.rates:
        check_rate(rate)


def check_rate(rate: ZoneRate) -> None:
    if rate.price.amount < 0:
        raise InvalidField("price", "is below zero")
    if rate.price.currency not in known_currencies():
        raise InvalidField("price", "is in a currency that nobody knows")
    if rate.weight_below_g is not None and rate.weight_below_g <= rate.weight_from_g:
        raise InvalidField("weight_below_g", "is not above weight_from_g")
    if rate.total_below is not None and rate.total_below <= rate.total_from:
        raise InvalidField("total_below", "is not above total_from")


def normalise_postal_code(text: str) -> str:
    """A postal code as it is compared: upper case, nothing between its characters."""
    return re.sub(r"[\s-]", "", text).upper()
