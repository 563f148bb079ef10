"""Many runs as one job: the plan of a sweep, the processes that carry it out, what is shown meanwhile."""
