"""See the package README in the design; filled in the next commits."""
