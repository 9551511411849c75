"""What the whole shop should do, told simply: no database, no consumers, one thing after the other.

Each method of Shop is something that somebody asks for. It changes the shop, or raises Refused and changes nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from tests.journeys.shop_worths import DIGITAL, OFFERS, SHIPPING, Gift, Line, Order, Worth, divide, round_half_up, tax_apart, total

BUYERS = ("ada", "ben")
FAULTS = ("damaged", "wrong_item")


class Refused(Exception):
    """Why not, by the name of the refusal."""


def refuse_if(reason: bool, name: str) -> None:
    if reason:
        raise Refused(name)


@dataclass
class Goods:
    price: int
    on_hand: int = 20
    reserved: int = 0


@dataclass
class Cart:
    lines: dict[str, int] = field(default_factory=dict)
    coupon: str | None = None


@dataclass
class Coupon:
    """Either a share off everything at the platform's cost, or an amount off one seller's goods at theirs."""

    limit: int
    limit_per_buyer: int
    rate: Fraction = Fraction(0)
    amount: int = 0
    seller: str | None = None
    uses: list[str] = field(default_factory=list)


@dataclass
class Parcel:
    order: int
    seller: str
    lines: dict[str, int]
    status: str = "packed"


@dataclass
class Return:
    order: int
    sku: str
    quantity: int
    fee: Fraction
    to: str
    status: str = "requested"


class Shop:
    """Stock, coupons, orders, and whose the money is."""

    def __init__(self) -> None:
        self.goods = {sku: Goods(price) for sku, (_, price) in OFFERS.items()}
        self.carts = {buyer: Cart() for buyer in BUYERS}
        self.coupons = {
            "TENTH": Coupon(limit=2, limit_per_buyer=1, rate=Fraction(1, 10)),
            "POTTERY": Coupon(limit=3, limit_per_buyer=3, amount=300, seller="potter"),
        }
        self.orders: dict[int, Order] = {}
        self.parcels: dict[int, Parcel] = {}
        self.returns: dict[int, Return] = {}
        self.commission = {seller: Fraction(1, 10) for seller, _ in OFFERS.values()}
        self.terms = {seller: (Fraction(0), False) for seller, _ in OFFERS.values()}
        self.accounts: Counter[str] = Counter()

    def move(self, source: str, to: str, amount: int) -> None:
        self.accounts[source] -= amount
        self.accounts[to] += amount

    def add_item(self, buyer: str, sku: str, quantity: int) -> None:
        lines = self.carts[buyer].lines
        lines[sku] = lines.get(sku, 0) + quantity

    def set_quantity(self, buyer: str, sku: str, quantity: int) -> None:
        self.carts[buyer].lines[sku] = quantity

    def remove_item(self, buyer: str, sku: str) -> None:
        del self.carts[buyer].lines[sku]

    def merge_cart(self, buyer: str, lines: dict[str, int]) -> None:
        for sku, quantity in lines.items():
            self.add_item(buyer, sku, quantity)

    def put_coupon(self, buyer: str, code: str) -> None:
        refuse_if(not self.carts[buyer].lines, "CartEmpty")
        self.check_coupon(buyer, code)
        self.carts[buyer].coupon = code

    def clear_coupon(self, buyer: str) -> None:
        self.carts[buyer].coupon = None

    def check_coupon(self, buyer: str, code: str | None) -> None:
        if code is not None:
            coupon = self.coupons[code]
            used_up = len(coupon.uses) >= coupon.limit or coupon.uses.count(buyer) >= coupon.limit_per_buyer
            refuse_if(used_up, "CouponUsedUp")
            refuse_if(not any(coupon.seller in (None, OFFERS[sku][0]) for sku in self.carts[buyer].lines), "CouponNotApplicable")

    def price(self, buyer: str, country: str) -> Order:
        """The order that the cart would be now."""
        cart, discounts = self.carts[buyer], Counter[str]()
        coupon = self.coupons.get(cart.coupon or "")
        if coupon:
            bases = {sku: n * self.goods[sku].price for sku, n in sorted(cart.lines.items()) if coupon.seller in (None, OFFERS[sku][0])}
            whole = sum(bases.values())
            off = round_half_up(whole * coupon.rate) if coupon.rate else min(coupon.amount, whole)
            discounts.update(dict(zip(bases, divide(off, list(bases.values())), strict=True)))
        lines = {}
        for sku, quantity in cart.lines.items():
            paid = Worth(*tax_apart(quantity * self.goods[sku].price - discounts[sku], country))
            promotion = discounts[sku] if coupon and coupon.seller is None else 0
            commission = round_half_up((paid.net + promotion) * self.commission[OFFERS[sku][0]])
            lines[sku] = Line(sku, quantity, paid._replace(commission=commission, promotion=promotion))
        sellers = sorted({line.seller for line in lines.values()})
        freight = {seller: Worth() if seller == DIGITAL else Worth(*tax_apart(SHIPPING, country)) for seller in sellers}
        return Order(buyer, lines, freight, cart.coupon if discounts.total() else None)

    def order(self, order: int, buyer: str, country: str, pay: str | None, expected: int | None = None) -> None:
        cart = self.carts[buyer]
        refuse_if(not cart.lines, "CartEmpty")
        self.check_coupon(buyer, cart.coupon)
        new = self.price(buyer, country)
        refuse_if(expected not in (None, new.total), "TotalChanged")
        refuse_if(any(self.goods[sku].on_hand - self.goods[sku].reserved < n for sku, n in cart.lines.items()), "OutOfStock")
        for line in new.lines.values():
            self.goods[line.sku].reserved += line.quantity
        if new.coupon:
            self.coupons[new.coupon].uses.append(buyer)
        self.orders[order], self.carts[buyer] = new, Cart()
        if pay:
            self.pay(order, pay)

    def pay(self, order: int, how: str) -> None:
        its = self.orders[order]
        refuse_if(its.status in ("canceled", "rejected"), "PaymentClosed")
        refuse_if(its.status == "placed", "AlreadyPaid")
        source = f"wallet:{its.buyer}" if how == "wallet" else "clearing"
        if how == "tok_declined" or (how == "wallet" and self.accounts[source] < its.total):
            return
        self.move(source, "funds", its.total)
        its.status, its.paid_from, its.terms = "placed", source, dict(self.terms)
        if own := its.own(DIGITAL):
            self.leave(its, DIGITAL, {line.sku: line.quantity for line in own})
            for line in own:
                line.packed = line.delivered = line.quantity

    def leave(self, its: Order, seller: str, pieces: dict[str, int]) -> None:
        """Pieces leave their store, and their seller earns them."""
        before = its.sent_of(seller)
        for sku, quantity in pieces.items():
            its.lines[sku].shipped += quantity
            self.goods[sku].on_hand -= quantity
            self.goods[sku].reserved -= quantity
        earned = its.sent_of(seller).plus(before, -1)
        its.earned += earned.amount
        self.settle(seller, earned, "funds")

    def settle(self, seller: str | None, worth: Worth, other: str, sign: int = 1) -> None:
        """Money of `other` becomes the seller's, the state's and the platform's; or, with the sign turned, goes back there."""
        owner = f"seller:{seller}" if seller else "revenue"
        self.move(other, owner, sign * worth.net)
        self.move(other, "tax", sign * worth.tax)
        self.move("promotion", owner, sign * worth.promotion)
        self.move(owner, "revenue", sign * worth.commission)

    def expire(self, order: int) -> None:
        if self.orders[order].status == "draft":
            self.give_up(order, "rejected")

    def cancel_whole(self, order: int) -> None:
        its = self.orders[order]
        if its.status == "draft":
            self.give_up(order, "canceled")
        elif its.status == "placed":
            refuse_if(any(line.shipped for line in its.lines.values()), "NotCancellable")
            self.end(order)

    def end(self, order: int) -> None:
        """A placed order of which nothing has left is over: all that is left of its money goes back."""
        its = self.orders[order]
        for parcel in self.parcels.values():
            if parcel.order == order and parcel.status == "packed":
                self.open_again(parcel)
        self.give_up(order, "canceled")
        for line in its.lines.values():
            line.canceled = line.quantity
        self.let_go(its, [(None, its.funds)], its.paid_from)

    def give_up(self, order: int, status: str) -> None:
        """What was set aside for an order, and its use of a coupon, are free again."""
        its = self.orders[order]
        its.status = status
        for line in its.lines.values():
            self.goods[line.sku].reserved -= line.quantity - line.canceled
        if its.coupon:
            self.coupons[its.coupon].uses.remove(its.buyer)

    def cancel_pieces(self, order: int, pieces: dict[str, int], seller: str | None) -> None:
        its = self.orders[order]
        refuse_if(seller is not None and any(OFFERS[sku][0] != seller for sku in pieces), "InvalidField")
        refuse_if(its.status != "placed", "NotCancellable")
        lines = its.lines
        refuse_if(any(n > lines[sku].quantity - lines[sku].canceled - lines[sku].shipped for sku, n in pieces.items()), "TooMuchCanceled")
        for parcel in reversed(self.parcels.values()):
            if parcel.order == order and parcel.status == "packed":
                left = {sku: lines[sku].quantity - lines[sku].canceled - lines[sku].packed for sku in parcel.lines}
                if any(pieces.get(sku, 0) > n for sku, n in left.items()):
                    self.open_again(parcel)
        if all(line.canceled + pieces.get(sku, 0) == line.quantity for sku, line in lines.items()):
            self.end(order)
            return
        before = {one: its.canceled_of(one) for one in its.freight}
        for sku, n in pieces.items():
            lines[sku].canceled += n
            self.goods[sku].reserved -= n
        costs = [(one, its.canceled_of(one).plus(before[one], -1)) for one in its.freight]
        self.let_go(its, [(one, worth.amount) for one, worth in costs if worth != Worth()], its.paid_from)

    def cancel_part(self, order: int, seller: str) -> None:
        """A seller cancels all that they have not sent."""
        its = self.orders[order]
        left = {line.sku: n for line in its.own(seller) if (n := line.quantity - line.canceled - line.shipped)}
        refuse_if(its.status != "placed" or not left, "NotCancellable")
        self.cancel_pieces(order, left, seller)

    def let_go(self, its: Order, costs: list[tuple[str | None, int]], to: str) -> None:
        """What was set aside goes to the buyer, as far as they have not got it already; the rest to those who gave it then."""
        freed = sum(amount for _, amount in costs)
        paid = min(freed, its.total - its.refunded)
        gifts = [Gift(one, part, part) for (one, _), part in zip(costs, divide(paid, [amount for _, amount in costs]), strict=True)]
        givers = list(dict.fromkeys(gift.seller for gift in its.gifts))
        owed = [total(gift.borne for gift in its.gifts if gift.seller == one) for one in givers]
        for one, worth, part in zip(givers, owed, divide(freed - paid, [worth.amount for worth in owed]), strict=True):
            back = worth.cut_to(part)
            self.settle(one, back, "funds")
            gifts.append(Gift(one, 0, part, Worth().plus(back, -1)))
        self.give_back(its, gifts, to)

    def give_back(self, its: Order, gifts: list[Gift], to: str) -> None:
        for gift in gifts:
            out = min(gift.amount, gift.funds)
            self.move("funds", to, out)
            if gift.amount > gift.funds:
                self.settle(gift.seller, gift.borne, to, -1)
            its.refunded += gift.amount
        its.gifts += gifts

    def goodwill(self, order: int, amount: int | None) -> None:
        """Money for nothing in particular, or all that is left, comes from all sellers by what they still have of the sale."""
        its = self.orders[order]
        left = its.total - its.refunded if its.paid_from else 0
        wanted = left if amount is None else amount
        refuse_if(wanted > left or left == 0, "RefundTooLarge")
        self.share_out(its, wanted, its.paid_from)

    def share_out(self, its: Order, wanted: int, to: str) -> None:
        worths = {seller: its.left_of(seller) for seller in sorted(its.freight)}
        weights = [worth.amount for worth in worths.values()]
        gifts = [Gift(None, wanted, 0, Worth(wanted))]
        if any(weights):
            parts = zip(worths.items(), divide(wanted, weights), strict=True)
            gifts = [Gift(seller, part, 0, worth.cut_to(part)) for (seller, worth), part in parts if part]
        self.give_back(its, gifts, to)

    def pack(self, parcel: int, order: int, seller: str, pieces: dict[str, int] | None) -> None:
        its = self.orders[order]
        left = {line.sku: n for line in its.own(seller) if (n := line.quantity - line.canceled - line.packed)}
        refuse_if(its.status != "placed" or not left, "NotPackable")
        wanted = left if pieces is None else pieces
        refuse_if(any(n > left.get(sku, 0) for sku, n in wanted.items()), "TooMuchPacked")
        for sku, n in wanted.items():
            its.lines[sku].packed += n
        self.parcels[parcel] = Parcel(order, seller, dict(wanted))

    def unpack(self, parcel: int) -> None:
        its = self.parcels[parcel]
        refuse_if(its.status in ("dispatched", "delivered"), "WrongShipmentStatus")
        if its.status == "packed":
            self.open_again(its)

    def open_again(self, parcel: Parcel) -> None:
        parcel.status = "canceled"
        for sku, n in parcel.lines.items():
            self.orders[parcel.order].lines[sku].packed -= n

    def dispatch(self, parcel: int) -> None:
        its = self.parcels[parcel]
        refuse_if(its.status == "canceled", "WrongShipmentStatus")
        if its.status == "packed":
            its.status = "dispatched"
            self.leave(self.orders[its.order], its.seller, its.lines)

    def deliver(self, parcel: int) -> None:
        its = self.parcels[parcel]
        refuse_if(its.status in ("packed", "canceled"), "WrongShipmentStatus")
        if its.status == "dispatched":
            its.status = "delivered"
            for sku, n in its.lines.items():
                self.orders[its.order].lines[sku].delivered += n

    def ask_return(self, back: int, order: int, sku: str, quantity: int, how: tuple[str, str]) -> None:
        its, (reason, to) = self.orders[order], how
        line = its.lines[sku]
        refuse_if(quantity > line.shipped - line.return_open - line.returned, "TooMuchReturned")
        fee, final_sale = (Fraction(0), False) if reason in FAULTS else its.terms[line.seller]
        refuse_if(final_sale, "NotReturnable")
        line.return_open += quantity
        self.returns[back] = Return(order, sku, quantity, fee, to)

    def rule_on(self, back: int, status: str) -> None:
        its = self.returns[back]
        if its.status == status:
            return
        refuse_if(its.status not in (("requested",) if status == "approved" else ("requested", "approved")), "WrongReturnStatus")
        its.status = status
        if status != "approved":
            self.orders[its.order].lines[its.sku].return_open -= its.quantity

    def receive(self, back: int, arrived: tuple[int, int], deduction: int) -> None:
        """So many pieces have arrived, of which so many can be sold again; what they were worth goes back, less fee and deduction."""
        its, (received, resellable) = self.returns[back], arrived
        if its.status == "refunded":
            return
        refuse_if(its.status not in ("requested", "approved"), "WrongReturnStatus")
        refuse_if(not received, "InvalidField")
        order, seller = self.orders[its.order], OFFERS[its.sku][0]
        line, was_back = order.lines[its.sku], order.is_back(seller)
        before = line.first(line.returned)
        line.returned += received
        worth = line.first(line.returned).plus(before, -1)
        worth = worth.cut_to(round_half_up(worth.amount * (1 - its.fee)))
        worth = worth.plus(order.freight[seller] if order.is_back(seller) and not was_back else Worth())
        line.returned -= received
        refuse_if(deduction > worth.amount, "InvalidField")
        line.returned, line.return_open, its.status = line.returned + received, line.return_open - its.quantity, "refunded"
        self.goods[its.sku].on_hand += resellable
        worth = worth.cut_to(worth.amount - deduction)
        back = min(worth.amount, order.total - order.refunded)
        worth = worth.cut_to(min(back, order.left_of(seller).amount))
        to = f"wallet:{order.buyer}" if its.to == "wallet" else order.paid_from
        self.give_back(order, [Gift(seller, worth.amount, 0, worth)] if worth.amount else [], to)
        if back > worth.amount:
            self.share_out(order, back - worth.amount, to)

    def count_stock(self, sku: str, on_hand: int) -> None:
        refuse_if(on_hand < self.goods[sku].reserved, "StockReserved")
        self.goods[sku].on_hand = on_hand

    def restock(self, sku: str, pieces: int) -> None:
        self.goods[sku].on_hand += pieces

    def set_price(self, sku: str, price: int) -> None:
        self.goods[sku].price = price

    def set_commission(self, seller: str, percent: int) -> None:
        self.commission[seller] = Fraction(percent, 100)

    def set_terms(self, seller: str, fee_percent: int, final_sale: bool) -> None:
        self.terms[seller] = (Fraction(fee_percent, 100), final_sale)

    def deposit(self, buyer: str, amount: int, token: str) -> None:
        if token != "tok_declined":
            self.move("clearing", f"wallet:{buyer}", amount)

    def send(self, buyer: str, amount: int) -> None:
        other = next(one for one in BUYERS if one != buyer)
        refuse_if(f"wallet:{other}" not in self.accounts, "WalletNotFound")
        refuse_if(self.accounts[f"wallet:{buyer}"] < amount, "InsufficientFunds")
        self.move(f"wallet:{buyer}", f"wallet:{other}", amount)
