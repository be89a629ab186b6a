"""For the tests of those who receive our webhooks, and for our own."""
