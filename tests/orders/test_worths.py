"""What pieces are worth adds up to their line, whatever becomes of them in whatever order."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from souk.kit.ids import new_id
from souk.orders.reading import StoredLine, StoredPart
from souk.orders.worths import Worth, canceled_of, earned_of, freight_of, whole_of, worth_of

SELLER = new_id()
money = st.integers(0, 5_000)


@st.composite
def lines(draw: st.DrawFn) -> StoredLine:
    total = draw(money)
    return StoredLine(
        id=new_id(), seller_id=SELLER, product_id=new_id(), variant_id=new_id(), sku="MUG", name="A mug", image_url=None,
        quantity=draw(st.integers(1, 12)), unit_price=0, discount=0, tax=draw(st.integers(0, total)), tax_rate_ppm=0, total=total,
        commission=draw(money), platform_discount=draw(money),
    )  # fmt: skip


def part_of(own: Sequence[StoredLine], freight: Worth) -> StoredPart:
    whole = sum(map(whole_of, own), freight)
    return StoredPart(
        seller_id=SELLER, shipping_option=None, shipping=freight.amount, tax=whole.tax, total=whole.amount, commission=whole.commission,
        platform_discount=whole.platform_discount, status="unfulfilled",
    )  # fmt: skip


@given(lines(), st.data())
def test_pieces_one_by_one_are_the_line(line: StoredLine, data: st.DataObject) -> None:
    steps = [worth_of(line, pieces + 1) - worth_of(line, pieces) for pieces in range(line.quantity)]
    assert sum(steps, Worth()) == whole_of(line)
    assert all(min(msgspec.structs.astuple(step)) >= 0 and step.tax <= step.amount for step in steps)


@given(st.lists(lines(), min_size=1, max_size=4), money, st.data())
def test_every_part_is_earned_or_cancelled_in_the_end(own: list[StoredLine], freight: int, data: st.DataObject) -> None:
    """Pieces leave and are cancelled in any order; what each step is worth adds up to the part, with its shipping once."""
    part = part_of(own, Worth(freight, 0, 0, 0))
    assert freight_of(part, own) == Worth(freight, 0, 0, 0)
    earned, canceled = Worth(), Worth()
    while open_lines := [place for place, line in enumerate(own) if line.shipped + line.canceled < line.quantity]:
        place = data.draw(st.sampled_from(open_lines))
        line = own[place]
        name = data.draw(st.sampled_from(("shipped", "canceled")))
        pieces = data.draw(st.integers(1, line.quantity - line.shipped - line.canceled))
        before = earned_of(part, own), canceled_of(part, own)
        own[place] = msgspec.structs.replace(line, **{name: getattr(line, name) + pieces})
        steps = earned_of(part, own) - before[0], canceled_of(part, own) - before[1]
        assert all(min(msgspec.structs.astuple(step)) >= 0 and step.tax <= step.amount for step in steps)
        earned, canceled = earned + steps[0], canceled + steps[1]
    assert earned + canceled == whole_of(part)
    assert (earned == Worth()) or any(line.shipped for line in own)
