"""How Sluice is set up, deployed and run. `local_stack` is a Python package; the rest is configuration."""
