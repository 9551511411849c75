"""What the sandbox is told once, at its start."""

from pathlib import Path
from typing import Literal

from msgspec import Struct


class SandboxSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the sandbox keeps its book, whom it tells, and how slow its world is.

    With a seed other than 0 a new home gives the same ids to the same calls. The default gives ids that no other home has, so that
    a shop which outlives its sandbox never meets an id twice.
    """

    home: Path
    webhook_url: str
    webhook_secret: str
    api_key: str
    seed: int = 0
    public_url: str = ""  # where a browser reaches the sandbox; empty means the address that the merchant called
    carrier_webhook_url: str = ""  # where the carrier tells of parcels; empty means that it tells nobody
    mail_port: int = 0  # where letters are taken over SMTP; 0 means nowhere
    mail_security: Literal["none", "starttls", "tls"] = "none"
    mail_webhook_url: str = ""  # where the shop hears of letters that came back; empty means that it does not
    timeout_s: float = 30.0
    checkout_ttl_s: float = 900.0
    bank_webhook_url: str = ""  # empty means the same door as for payments
    bank_settle_s: float = 3600.0  # how long an accepted transfer is on its way
    bank_return_s: float = 259_200.0  # after how long one that cannot be delivered comes back
    dispute_after_s: float = 5.0  # how long after a charge with tok_disputed its bank takes the money back
    dispute_decided_after_s: float = 5.0
    dispute_fee: int = 1500
    webhook_delay_s: float = 0.1  # an ordinary webhook comes a moment after the answer
    webhook_late_s: float = 7200.0
    webhook_hold_s: float = 60.0  # how long tok_out_of_order waits for a refund that may overtake
    webhook_timeout_s: float = 15.0
    webhook_retries_s: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
