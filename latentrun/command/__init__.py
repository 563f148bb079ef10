"""The command line: Hydra begins and ends here."""
