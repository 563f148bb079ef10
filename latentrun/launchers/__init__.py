"""How the jobs of a sweep are started: our launcher for Hydra (a plugin, in the namespace package
``hydra_plugins``), and what other launchers and sweepers need of us."""
