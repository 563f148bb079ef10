"""A paper as a test suite: sentences, the runs they speak of, and what these say."""
