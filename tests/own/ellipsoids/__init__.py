"""The worked example of the README: a data set, a model and a diagnostic of one's own."""
