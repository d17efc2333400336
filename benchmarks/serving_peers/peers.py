from contextlib import contextmanager
@contextmanager
def started(found): yield {}
