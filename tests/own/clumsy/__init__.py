"""A package with eight mistakes, each in a line marked ``# mistake``: what the dry run must name."""
