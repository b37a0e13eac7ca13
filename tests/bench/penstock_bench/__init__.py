"""Measurements of Penstock beside its peers, on one machine, in one run."""
