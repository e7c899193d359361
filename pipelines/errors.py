"""What can go wrong, in words for the person who reads them, each with the exit code of the command.

Raised where a fault is understood; `cli.py` prints the one line and exits. Nothing else decides exit codes.
"""


class ApiframeWarehouseError(Exception):
    """Something failed, and running the command again is safe."""

    exit_code = 1


class ConfigurationError(ApiframeWarehouseError):
    """A setting, an argument or a file is wrong: running again does not help before it is changed."""

    exit_code = 2


class NoWarehouseError(ConfigurationError):
    """There is no warehouse yet where the settings say that it lies."""


class KeyRefusedError(ApiframeWarehouseError):
    """The API does not take the key."""

    exit_code = 3


class BusyError(ApiframeWarehouseError):
    """Another sync holds this warehouse."""

    exit_code = 4
