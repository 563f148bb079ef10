"""Files that data sets are read from, each format once."""
