"""Two processes for the soak test: one that attacks the service, and one whose requests must not notice it."""
