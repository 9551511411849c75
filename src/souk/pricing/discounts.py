"""Which promotions a cart gets and what each of them takes off which line: pure decisions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from souk.kit.money import divide_half_up, split
from souk.pricing.types import (
    Coupon,
    CouponCurrency,
    CouponMinimum,
    CouponNotApplicable,
    PricedLine,
    Promotion,
)

MILLION = 1_000_000

Offer = Promotion | Coupon

# What an offer takes off each line, by the line's place in the list.
Taken = dict[int, int]


def covers(offer: Offer, line: PricedLine) -> bool:
    """Whether the offer is for this line."""
    if offer.seller_id is not None and line.seller_id != offer.seller_id:
        return False
    if offer.seller_ids and line.seller_id not in offer.seller_ids:
        return False
    if not offer.product_ids and not offer.category_ids:
        return True
    return line.product_id in offer.product_ids or any(category in offer.category_ids for category in line.category_ids)


def applies(offer: Offer, lines: Sequence[PricedLine], currency: str) -> bool:
    """Whether the offer can be had with these lines: its currency, something that it is for, and enough of that."""
    covered = covered_total(offer, lines)
    return offer.currency in (None, currency) and covered is not None and (offer.minimum is None or covered >= offer.minimum.amount)


def check_coupon(coupon: Coupon, lines: Sequence[PricedLine], currency: str) -> None:
    """Raise what keeps these lines from having the coupon: CouponCurrency, CouponNotApplicable or CouponMinimum."""
    if coupon.currency is not None and coupon.currency != currency:
        raise CouponCurrency(coupon.code, coupon.currency)
    covered = covered_total(coupon, lines)
    if covered is None:
        raise CouponNotApplicable(coupon.code)
    if coupon.minimum is not None and covered < coupon.minimum.amount:
        raise CouponMinimum(coupon.code, coupon.minimum)


def covered_total(offer: Offer, lines: Iterable[PricedLine]) -> int | None:
    """What the lines cost that the offer is for; None if there are none."""
    covered = [line.subtotal for line in lines if covers(offer, line)]
    return sum(covered) if covered else None


def rank(offer: Offer) -> tuple[bool, int, str]:
    """Of equals the first one is taken: the one that is not a coupon (a use would be lost), then by priority, then the older."""
    return isinstance(offer, Coupon), offer.priority, str(offer.id)


def choose_discounts(lines: Sequence[PricedLine], offers: Iterable[Offer]) -> list[tuple[Offer, Taken]]:
    """What each offer takes off which line. Nothing is taken twice and no line goes below zero.

    All combinable offers together are one rival, each other offer is one alone. Every line takes the rival that takes most
    off it; then each rival's amounts are shared out over the lines that took it, so that a fixed amount is not lost.
    """
    rivals = find_rivals(offers)
    if not rivals:
        return []
    tried = [add_taken(take_off(rival, lines, range(len(lines)))) for rival in rivals]
    takers: list[list[int]] = [[] for _ in rivals]
    for place in range(len(lines)):
        # A share that is rounded to nothing counts as well: only the sum over the lines is rounded half up.
        worth = [taken.get(place, -1) for taken in tried]
        if max(worth) >= 0:
            takers[worth.index(max(worth))].append(place)
    chosen = (part for rival, places in zip(rivals, takers, strict=True) for part in take_off(rival, lines, places))
    return [(offer, taken) for offer, taken in chosen if any(taken.values())]


def find_rivals(offers: Iterable[Offer]) -> list[tuple[Offer, ...]]:
    """The sets of offers of which a line takes one, the preferred one of equals first."""
    ranked = sorted(offers, key=rank)
    together = tuple(sorted((offer for offer in ranked if offer.combinable), key=lambda offer: (offer.priority, rank(offer))))
    rivals = [(offer,) for offer in ranked if not offer.combinable]
    return sorted([*rivals, together] if together else rivals, key=lambda rival: max(rank(offer) for offer in rival))


def take_off(rival: tuple[Offer, ...], lines: Sequence[PricedLine], places: Iterable[int]) -> list[tuple[Offer, Taken]]:
    """What the offers take off the lines at these places, one after the other, each off what the one before has left."""
    left = {place: lines[place].subtotal for place in places}
    result: list[tuple[Offer, Taken]] = []
    for offer in rival:
        covered = [place for place in left if covers(offer, lines[place])]
        bases = [left[place] for place in covered]
        taken = dict(zip(covered, split(amount_off(offer, sum(bases)), bases), strict=True))
        for place, amount in taken.items():
            left[place] -= amount
        result.append((offer, taken))
    return result


def add_taken(parts: Iterable[tuple[Offer, Taken]]) -> Taken:
    """What all the offers of a rival together take off each line that one of them is for."""
    together: Counter[int] = Counter()
    for _, taken in parts:
        together.update(taken)
    return together


def amount_off(offer: Offer, base: int) -> int:
    """What the offer takes off a sum."""
    if offer.amount is not None:
        return min(offer.amount.amount, base)
    return divide_half_up(base * (offer.rate_ppm or 0), MILLION)


def choose_free_shipping(lines: Sequence[PricedLine], offers: Iterable[Offer], seller_id: UUID) -> Offer | None:
    """The offer under which this seller's part is sent for nothing."""
    own = [line for line in lines if line.seller_id == seller_id]
    return next((offer for offer in sorted(offers, key=rank) if any(covers(offer, line) for line in own)), None)
