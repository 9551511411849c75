"""The channels on which messages leave: each behind one seam."""
