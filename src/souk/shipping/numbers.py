"""By what people call a parcel."""

from uuid import UUID


def number_of(order_number: int, shipment_id: UUID) -> str:
    """The number of its order, and the end of its id: it fits into bars, and no other parcel of the order has it."""
    return f"{order_number}-{shipment_id.hex[-8:].upper()}"
