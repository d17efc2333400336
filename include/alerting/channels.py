"""Delivery of a message to an Apprise address. Addresses hold secrets and are never logged."""

from __future__ import annotations

NO_ADDRESS = "no address: map the channel in SLUICE_ALERT_CHANNELS"
BAD_ADDRESS = "Apprise cannot parse the address: check the channel in SLUICE_ALERT_CHANNELS"
REFUSED = "not delivered: the log of the failed task has the error of Apprise"


def send(address: str | None, title: str, body: str) -> str | None:
    """Send a message to an Apprise address.

    Returns
    -------
    str or None
        The reason why it was not delivered; None when it was.
    """
    if not address:
        return NO_ADDRESS
    # Imported here: importing Apprise takes half a second, and few runs fail.
    import apprise

    messenger = apprise.Apprise()
    if not messenger.add(address):
        return BAD_ADDRESS
    delivered = messenger.notify(title=title, body=body, notify_type=apprise.NotifyType.FAILURE)
    return None if delivered else REFUSED
