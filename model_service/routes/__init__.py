"""The routes: each module has one function that returns a blueprint; ``create_app`` registers them all."""
