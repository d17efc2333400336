"""The steps themselves, by flow. `include.pipeline` tells them in order: read it first."""
