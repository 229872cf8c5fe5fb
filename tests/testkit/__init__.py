"""The test kit, as the tests of an application use it."""
