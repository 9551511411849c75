"""What tests of invoices change of the settings is put back."""

from collections.abc import Iterator

import pytest

from souk.invoices import settings as invoices
from souk.pricing import settings as pricing


@pytest.fixture(autouse=True)
def settings_put_back() -> Iterator[None]:
    before = [(section, section.now) for section in (invoices.settings, pricing.settings)]
    yield
    for section, values in before:
        section.replace(**{name: getattr(values, name) for name in values.__struct_fields__})
