"""What the sandbox is told once, at its start."""

from pathlib import Path

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
    timeout_s: float = 30.0
    checkout_ttl_s: float = 900.0
    webhook_delay_s: float = 0.1  # an ordinary webhook comes a moment after the answer
    webhook_late_s: float = 7200.0
    webhook_hold_s: float = 60.0  # how long tok_out_of_order waits for a refund that may overtake
    webhook_timeout_s: float = 15.0
    webhook_retries_s: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
