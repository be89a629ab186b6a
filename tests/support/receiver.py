"""The receiver of the tests is the one that users get (connectors/testing)."""

from connectors.testing.behaviours import Answer, Behaviour, Hang, Reset
from connectors.testing.receiver import Received, Receiver

__all__ = ["Answer", "Behaviour", "Hang", "Received", "Receiver", "Reset"]
