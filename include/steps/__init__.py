"""The steps, by flow. `include.pipeline` lists them in order; read it first."""
