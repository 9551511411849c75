"""The brokers that the tests run against: real servers, private to whoever starts them, gotten by `make engines`."""
