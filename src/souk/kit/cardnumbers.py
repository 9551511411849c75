"""Card numbers, which belong in no text that a shop is sent: they are refused before anything keeps or logs them."""

import re

from souk.kit.errors import Invalid

# Runs of digits as long as a card number (ISO/IEC 7812), grouped or not, that do not belong to a longer word.
CARD_LIKE = re.compile(rb"(?<![0-9A-Za-z.+-])(?:\d[ -]?){13,18}\d(?![0-9A-Za-z.-])")
# First digits and lengths of Visa, Mastercard, American Express, Discover, UnionPay, JCB and Diners Club.
CARD_BRANDS = re.compile(
    rb"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]\d{12}|2[3-9]\d{13}|[3-6]\d{14}|7[01]\d{13}|720\d{12})|3[47]\d{13}"
    rb"|6(?:011\d{12}|4[4-9]\d{13}|5\d{14}|2\d{14,17})|35\d{14}|3(?:0[0-5]|[689]\d)\d{11}(?:\d\d)?"
)


class CardNumber(Invalid, code="card_number_refused"):
    """A card number does not belong here; send the token that the payment provider gave you."""


def refuse_card_numbers(text: bytes) -> None:
    """Raise CardNumber if a card number (brand's prefix and length, Luhn's check digit) stands anywhere in the text."""
    for match in CARD_LIKE.finditer(text):
        digits = re.sub(rb"[ -]", b"", match.group())
        if CARD_BRANDS.fullmatch(digits) and _luhn(digits):
            raise CardNumber


def _luhn(digits: bytes) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = digit - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0
