"""The demo's goods, made out of word lists: the same seed gives the same catalogue."""

import random
from collections.abc import Iterator

import msgspec


class DemoVariant(msgspec.Struct, frozen=True):
    """One thing that can be bought."""

    sku: str
    name: str
    attributes: dict[str, str]
    price_cents: int
    weight_g: int


class DemoProduct(msgspec.Struct, frozen=True):
    """A listing of one seller with its variants."""

    name: str
    description: str
    brand: str
    category: tuple[str, ...]
    seller: int
    variants: tuple[DemoVariant, ...]


class Kind(msgspec.Struct, frozen=True):
    """A sort of goods: where it stands, what it costs and weighs, and in what it varies."""

    noun: str
    category: tuple[str, ...]
    price_cents: tuple[int, int]
    weight_g: tuple[int, int]
    varies_in: str
    adjectives: tuple[str, ...]


SIZES = ("S", "M", "L", "XL")
COLOURS = ("black", "white", "sand", "forest", "navy", "clay")
CAPACITIES = ("small", "medium", "large")
CHOICES = {"size": SIZES, "colour": COLOURS, "capacity": CAPACITIES, "": ()}

BRANDS = ("Alder & Ash", "Northlight", "Kumo", "Marisol", "Fjellheim", "Plain Goods", "Ostra", "Tern", "Halden", "Copper Lane")
SELLERS = ("Souk Store", "Lighthouse Outdoor", "Casa Marisol", "Paper & Pine")

KINDS = (
    Kind("T-shirt", ("Clothing", "Shirts"), (1500, 3900), (140, 220), "size", ("organic", "heavy", "striped", "washed", "boxy")),
    Kind("linen shirt", ("Clothing", "Shirts"), (4900, 9900), (200, 300), "size", ("relaxed", "band-collar", "summer", "woven")),
    Kind("sweater", ("Clothing", "Knitwear"), (5900, 14900), (350, 700), "size", ("lambswool", "ribbed", "fisherman", "merino")),
    Kind("rain jacket", ("Clothing", "Jackets"), (8900, 24900), (400, 900), "size", ("packable", "waxed", "three-layer", "city")),
    Kind("backpack", ("Outdoor", "Bags"), (4900, 17900), (600, 1400), "colour", ("roll-top", "daily", "weekend", "trail")),
    Kind("tent", ("Outdoor", "Camping"), (14900, 59900), (1800, 4200), "capacity", ("dome", "tunnel", "ultralight")),
    Kind("sleeping bag", ("Outdoor", "Camping"), (7900, 32900), (700, 1800), "capacity", ("down", "summer", "winter")),
    Kind("water bottle", ("Outdoor", "Drinkware"), (1200, 3900), (150, 400), "colour", ("insulated", "steel", "glass")),
    Kind("mug", ("Home", "Kitchen"), (900, 2900), (250, 450), "colour", ("stoneware", "enamel", "speckled", "tall")),
    Kind("chef's knife", ("Home", "Kitchen"), (3900, 18900), (150, 300), "", ("carbon", "forged", "compact", "santoku")),
    Kind("coffee grinder", ("Home", "Kitchen"), (5900, 24900), (500, 2500), "colour", ("hand", "travel", "electric")),
    Kind("table lamp", ("Home", "Lighting"), (3900, 19900), (900, 2600), "colour", ("paper", "brass", "dimmable", "reading")),
    Kind("wool blanket", ("Home", "Textiles"), (5900, 18900), (900, 1600), "colour", ("herringbone", "checked", "waffle")),
    Kind("notebook", ("Stationery", "Paper"), (700, 2400), (120, 400), "colour", ("dotted", "ruled", "hardcover", "pocket")),
    Kind("fountain pen", ("Stationery", "Pens"), (1900, 15900), (20, 60), "colour", ("fine", "demonstrator", "brass")),
    Kind("headphones", ("Electronics", "Audio"), (4900, 34900), (150, 320), "colour", ("wireless", "studio", "folding")),
    Kind("speaker", ("Electronics", "Audio"), (3900, 29900), (400, 2400), "colour", ("portable", "shelf", "outdoor")),
    Kind("desk charger", ("Electronics", "Power"), (1900, 8900), (90, 300), "", ("compact", "four-port", "magnetic")),
)

SENTENCES = (
    "Made in small runs, and made to be mended.",
    "A quiet favourite that gets better with use.",
    "Light enough to forget, sturdy enough to rely on.",
    "Tested by people who use it every day.",
    "Packed without plastic.",
    "Comes with a five-year promise.",
)


def make_catalogue(seed: int = 1, each: int = 18) -> Iterator[DemoProduct]:
    """`each` products of every kind, in a fixed order; the same arguments give the same goods."""
    chance = random.Random(seed)  # noqa: S311  goods, not secrets
    number = 0
    for kind in KINDS:
        for _ in range(each):
            number += 1
            yield make_product(kind, number, chance)


def make_product(kind: Kind, number: int, chance: random.Random) -> DemoProduct:
    """One product of a kind; its variants differ in what the kind varies in, the larger ones cost a little more."""
    brand = chance.choice(BRANDS)
    adjective = chance.choice(kind.adjectives)
    price_cents = round(chance.randint(*kind.price_cents), -2) - 1
    weight_g = chance.randint(*kind.weight_g)
    choices = CHOICES[kind.varies_in]
    picked = sorted(chance.sample(range(len(choices)), min(len(choices), chance.randint(2, 4)))) if choices else []
    variants = tuple(
        DemoVariant(
            sku=f"DEMO-{number:04d}-{place + 1}",
            name=choices[choice],
            attributes={kind.varies_in: choices[choice]},
            price_cents=price_cents + (500 * place if kind.varies_in == "capacity" else 0),
            weight_g=weight_g,
        )
        for place, choice in enumerate(picked)
    ) or (DemoVariant(f"DEMO-{number:04d}-1", "", {}, price_cents, weight_g),)
    return DemoProduct(
        name=f"{brand} {adjective} {kind.noun}",
        description=" ".join(chance.sample(SENTENCES, 3)),
        brand=brand,
        category=kind.category,
        seller=number % len(SELLERS),
        variants=variants,
    )
