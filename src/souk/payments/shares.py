"""Whose money a payment is: what a seller earns of it, and from whom comes what goes back. Decisions only, nothing here reads or writes."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from souk.kit.money import divide_half_up, split
from souk.payments import ledger
from souk.payments.ledger import Account, Transfer


class SaleShare(msgspec.Struct, frozen=True):
    """A part of what a buyer paid that belongs to one seller's sale, or (without a seller) to the platform itself.

    `amount` has the tax in it. The seller gets it without the tax and the commission, and what the platform took off the price.
    """

    seller_id: UUID | None
    amount: int
    tax: int = 0
    commission: int = 0
    platform_discount: int = 0

    def scaled(self, amount: int) -> "SaleShare":
        """The same in proportion for another amount, each part rounded half up."""
        if amount == self.amount:
            return self
        parts = (self.tax, self.commission, self.platform_discount)
        rest = (divide_half_up(part * amount, self.amount) if self.amount else 0 for part in parts)
        return SaleShare(self.seller_id, amount, *rest)


class RefundShare(SaleShare, frozen=True, kw_only=True):
    """How a refund divides for one seller: `amount` goes to the buyer, `funds` comes out of what no seller has earned yet.

    Where more goes back than comes out of these funds the seller gives the difference, of which tax, commission and platform_discount
    are; where less goes back the seller gets it: they had given it before for goods that are cancelled now.
    """

    funds: int = 0

    @property
    def charged(self) -> SaleShare | None:
        """What the seller gives."""
        return self._difference(self.amount - self.funds)

    @property
    def restored(self) -> SaleShare | None:
        """What the seller gets back."""
        return self._difference(self.funds - self.amount)

    def _difference(self, amount: int) -> SaleShare | None:
        return SaleShare(self.seller_id, amount, self.tax, self.commission, self.platform_discount) if amount > 0 else None


def charge(share: SaleShare) -> RefundShare:
    """A refund that a seller gives."""
    return RefundShare(share.seller_id, share.amount, share.tax, share.commission, share.platform_discount)


def share_out(amount: int, sales: Sequence[SaleShare], given: Sequence[RefundShare]) -> tuple[RefundShare, ...]:
    """Who gives an amount of which nobody says what it is for: each seller in proportion to what has not gone back of their sale.

    First those give who got more back than they gave, for what they had given for was refused after all. Where no seller has anything
    left, the platform gives it.
    """
    gains = [find_gain(seller_id, given) for seller_id in givers_of(given)]
    gained = sum(one.amount for one in gains)
    first = share_by_amount(min(amount, gained), gains)
    if amount <= gained:
        return first
    left = [find_left(sale, (*given, *first)) for sale in sales]
    if not any(one.amount for one in left):
        return (*first, charge(SaleShare(None, amount - gained)))
    return (*first, *share_by_amount(amount - gained, left))


def share_by_amount(amount: int, shares: Sequence[SaleShare]) -> tuple[RefundShare, ...]:
    """Each gives in proportion to what they have."""
    parts = split(amount, [one.amount for one in shares])
    return tuple(charge(one.scaled(part)) for one, part in zip(shares, parts, strict=True) if part)


def find_left(sale: SaleShare, given: Iterable[RefundShare]) -> SaleShare:
    """What has not gone back of a sale: what its seller gave is known in its parts, what was cancelled of it in proportion."""
    left = sale
    for one in given:
        if one.seller_id == sale.seller_id:
            left = add(add(left, one.charged, -1), one.restored, 1)
            left = add(left, sale.scaled(min(one.amount, one.funds)), -1)
    return above_zero(left)


def take_back(
    pieces: Sequence[SaleShare], left: int, sales: Sequence[SaleShare], given: Sequence[RefundShare]
) -> tuple[RefundShare, ...]:
    """Who gives back for these pieces, which have been earned: their sellers, but together no more than is `left` of the payment.

    No seller gives more than has not gone back of their sale. What they have given for nothing in particular was given in place of
    these pieces, so that the others give the rest, for whom that stands as well.
    """
    wanted = [piece.amount for piece in pieces]
    amount = min(sum(wanted), left)
    out: tuple[RefundShare, ...] = ()
    for piece, part in zip(pieces, split(amount, wanted), strict=True):
        has = sum(find_left(sale, (*given, *out)).amount for sale in sales if sale.seller_id == piece.seller_id)
        out = (*out, charge(piece.scaled(min(part, has))))
    rest = amount - sum(share.amount for share in out)
    return (*out, *share_out(rest, sales, (*given, *out))) if rest else out


def let_go(sales: Sequence[SaleShare], funds: int, left: int, given: Sequence[RefundShare]) -> tuple[RefundShare, ...]:
    """How what was set aside for cancelled pieces divides: of all that is set aside (`funds`) as much as they cost.

    The buyer gets it, but no more than is `left` of the payment. The rest had gone back before at the cost of sellers or the platform: they
    get it, in proportion to what they gave.
    """
    costs = [sale.amount for sale in sales]
    freed = min(funds, sum(costs))
    paid = min(freed, left)
    shares = [RefundShare(sale.seller_id, part, funds=part) for sale, part in zip(sales, split(paid, costs), strict=True)]
    owed = [find_owed(seller_id, given) for seller_id in givers_of(given)]
    for one, part in zip(owed, split(freed - paid, [one.amount for one in owed]), strict=True):
        back = one.scaled(part)
        shares.append(RefundShare(one.seller_id, 0, back.tax, back.commission, back.platform_discount, funds=part))
    return tuple(share for share in shares if share.funds)


def givers_of(given: Iterable[RefundShare]) -> tuple[UUID | None, ...]:
    return tuple(dict.fromkeys(one.seller_id for one in given))


def find_owed(seller_id: UUID | None, given: Iterable[RefundShare]) -> SaleShare:
    """What somebody has given for refunds and not got back."""
    return above_zero(sum_borne(seller_id, given, 1))


def find_gain(seller_id: UUID | None, given: Iterable[RefundShare]) -> SaleShare:
    """What somebody has got back of refunds that they did not give, because those that they gave were refused."""
    return above_zero(sum_borne(seller_id, given, -1))


def sum_borne(seller_id: UUID | None, given: Iterable[RefundShare], sign: int) -> SaleShare:
    borne = SaleShare(seller_id, 0)
    for one in given:
        if one.seller_id == seller_id:
            borne = add(add(borne, one.charged, sign), one.restored, -sign)
    return borne


def above_zero(share: SaleShare) -> SaleShare:
    """The same with no part below zero, and none of the tax that is not in the amount."""
    amount = max(share.amount, 0)
    return SaleShare(share.seller_id, amount, min(max(share.tax, 0), amount), max(share.commission, 0), max(share.platform_discount, 0))


def add(one: SaleShare, other: SaleShare | None, sign: int) -> SaleShare:
    if other is None:
        return one
    amounts = ((getattr(one, name), getattr(other, name)) for name in ("amount", "tax", "commission", "platform_discount"))
    return SaleShare(one.seller_id, *(a + sign * b for a, b in amounts))


def pay_share(cause_id: UUID, reference: str, share: SaleShare, source: Account, kind: str) -> list[Transfer]:
    """The movements by which a seller gets their share of money that lies at `source`."""
    owner, currency = find_owner(share, source.currency), source.currency
    return make_transfers(
        cause_id, f"{reference}:{share.seller_id or 'platform'}", (
            ("goods", kind, source, owner, share.amount - share.tax),
            ("tax", "tax_collected", source, ledger.tax_payable(currency), share.tax),
            ("promotion", "promotion_paid", ledger.promotion_expense(currency), owner, share.platform_discount),
            ("commission", "commission", owner, ledger.platform_revenue(currency), share.commission),
        ),
    )  # fmt: skip


def take_share(cause_id: UUID, reference: str, share: SaleShare, to: Account, kind: str) -> list[Transfer]:
    """The movements by which a seller gives their share back to `to`: the opposite of `pay_share`."""
    owner, currency = find_owner(share, to.currency), to.currency
    return make_transfers(
        cause_id, f"{reference}:{share.seller_id or 'platform'}", (
            ("goods", kind, owner, to, share.amount - share.tax),
            ("tax", "tax_returned", ledger.tax_payable(currency), to, share.tax),
            ("promotion", "promotion_returned", owner, ledger.promotion_expense(currency), share.platform_discount),
            ("commission", "commission_returned", ledger.platform_revenue(currency), owner, share.commission),
        ),
    )  # fmt: skip


def find_owner(share: SaleShare, currency: str) -> Account:
    return ledger.seller_balance(share.seller_id, currency) if share.seller_id else ledger.platform_revenue(currency)


def make_transfers(cause_id: UUID, reference: str, moves: Iterable[tuple[str, str, Account, Account, int]]) -> list[Transfer]:
    return [
        Transfer(cause_id, f"{reference}:{name}", kind, debit, credit, amount)
        for name, kind, debit, credit, amount in moves
        if amount and debit != credit
    ]


def set_aside(cause_id: UUID, reference: str, shares: Iterable[RefundShare], due: Account) -> list[Transfer]:
    """The movements by which the money of a refund becomes due to its buyer."""
    funds = ledger.order_funds(due.currency)
    moves: list[Transfer] = []
    for number, share in enumerate(shares):
        if out := min(share.amount, share.funds):
            moves.append(Transfer(cause_id, f"{reference}:{number}:funds", "refund_reserved", funds, due, out))
        if share.charged:
            moves += take_share(cause_id, f"{reference}:{number}", share.charged, due, "clawed_back")
        if share.restored:
            moves += pay_share(cause_id, f"{reference}:{number}", share.restored, funds, "restored")
    return moves


def undo(transfers: Iterable[Transfer]) -> list[Transfer]:
    """The opposite of movements that were made."""
    return [Transfer(one.cause_id, f"{one.reference}:undone", f"{one.kind}_undone", one.credit, one.debit, one.amount) for one in transfers]
