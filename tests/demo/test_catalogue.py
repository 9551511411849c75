"""The demo's goods are many, varied and always the same."""

from souk.demo.catalogue import SELLERS, make_catalogue


def test_the_same_seed_gives_the_same_goods() -> None:
    assert list(make_catalogue(seed=3)) == list(make_catalogue(seed=3))
    assert list(make_catalogue(seed=3)) != list(make_catalogue(seed=4))


def test_a_few_hundred_products_with_unique_skus_for_every_seller() -> None:
    products = list(make_catalogue())
    skus = [variant.sku for product in products for variant in product.variants]
    assert len(products) > 300
    assert len(set(skus)) == len(skus)
    assert {product.seller for product in products} == set(range(len(SELLERS)))
    assert all(variant.price_cents > 0 and variant.weight_g > 0 for product in products for variant in product.variants)
