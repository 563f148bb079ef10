"""The worked example of the README: a data set, a model, a diagnostic and a task of one's own."""
