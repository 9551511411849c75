"""Sellers say for themselves on which terms they take goods back, the shop for everybody, and the nearest terms count."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.orders.market import as_system
from tests.orders.test_parcels import as_seller

from souk import orders
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.orders.database import db
from souk.orders.return_policies import adapt, choose_terms, rank
from souk.orders.return_types import PolicyTerms, ReturnPolicy

MUGS, BOWLS = new_id(), new_id()


async def test_whose_terms_they_are(shop: Shop) -> None:
    with as_seller(BOWLS):
        for terms in (PolicyTerms(), PolicyTerms(MUGS)):
            with pytest.raises(NotFound):
                await orders.set_return_policy(terms)
    with as_system():
        ours = await orders.set_return_policy(PolicyTerms(window_days=7))
    with as_seller(BOWLS), pytest.raises(NotFound):
        await orders.remove_return_policy(ours.id)
    with as_system():
        await orders.remove_return_policy(ours.id)
        with pytest.raises(NotFound):
            await orders.remove_return_policy(ours.id)
    assert await orders.list_return_policies(MUGS) == ()


async def test_terms_that_are_set_at_once_end_each_other(shop: Shop) -> None:
    for terms in (PolicyTerms(MUGS), PolicyTerms(MUGS, new_id())):
        with as_seller(MUGS):
            await asyncio.gather(*(orders.set_return_policy(terms) for _ in range(8)))
            in_force = await orders.list_return_policies(MUGS)
        assert [one.category_id for one in in_force].count(terms.category_id) == 1
    assert await db.value("SELECT count(*) FROM orders.return_policy WHERE ended_at < created_at") == 0


def policy(**terms: object) -> ReturnPolicy:
    return ReturnPolicy(id=new_id(), created_at=datetime.now(UTC), **terms)


def test_the_nearest_terms_count() -> None:
    seller, shoes, sandals = new_id(), new_id(), new_id()
    own, own_shoes = policy(seller_id=seller, window_days=20), policy(seller_id=seller, category_id=shoes, window_days=10)
    everybodys, sandals_of_all = policy(window_days=40), policy(category_id=sandals, final_sale=True)
    every = (everybodys, sandals_of_all, own_shoes, own)
    assert choose_terms(every, seller, (shoes, sandals)) is own_shoes
    assert choose_terms(every, seller, ()) is own
    assert choose_terms(every, new_id(), (sandals,)) is sandals_of_all
    assert choose_terms(every, new_id(), (shoes,)) is everybodys
    assert choose_terms((), seller, (shoes,)) == PolicyTerms(window_days=30)
    kinder = policy(seller_id=seller, category_id=sandals, window_days=60)
    assert choose_terms((*every, kinder), seller, (shoes, sandals)) is kinder
    assert rank(kinder) < rank(own_shoes) < rank(own) < rank(sandals_of_all) < rank(everybodys)
    assert adapt(sandals_of_all, "damaged") == PolicyTerms(None, sandals, 30, 0, False, "seller")
    assert adapt(own, "other") is own
    assert timedelta(days=own.window_days) == timedelta(20)
