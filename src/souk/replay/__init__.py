"""Sell a shop's history again: its old invoices become products, buyers, stock, orders and refunds."""

from souk.replay.reporting import print_tables
from souk.replay.selling import Replayed, replay_file

__all__ = ["Replayed", "print_tables", "replay_file"]
