"""Networks, written once and passed to models as arguments."""
