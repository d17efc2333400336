"""An unexpected error is logged by class and place, without any text that may be a caller's."""

from __future__ import annotations

import errno
import logging

import pytest

from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger("model_service.tests")


def logged(error: Exception, caplog: pytest.LogCaptureFixture) -> str:
    try:
        raise error
    except type(error) as raised:
        log_unexpected(log, "metrics could not be written", raised)
    return caplog.text


def test_an_error_is_named_with_its_line_and_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    told = logged(ValueError("weight=7.25"), caplog)
    assert "metrics could not be written: ValueError at " in told
    assert "test_log_unexpected.py:" in told
    assert "7.25" not in told
    assert "Traceback" not in told


def test_what_the_system_says_is_told_without_the_file_that_it_says_it_of(caplog: pytest.LogCaptureFixture) -> None:
    told = logged(OSError(errno.ENOSPC, "No space left on device", "the file of ann"), caplog)
    assert "OSError (No space left on device) at " in told
    assert "the file of ann" not in told


def test_all_of_it_is_told_when_somebody_asks_by_the_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "model_service"):
        told = logged(ValueError("weight=7.25"), caplog)
    assert "Traceback" in told
    assert "ValueError: weight=7.25" in told
