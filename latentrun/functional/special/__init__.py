"""Special functions that torch lacks, with their derivatives."""
