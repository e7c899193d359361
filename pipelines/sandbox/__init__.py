"""A local Apiframe: the published protocol over HTTP, with jobs that live and change.

Stands in for the real API in the demo, the tests and the benchmark. Binds to 127.0.0.1 only.
"""

from pipelines.sandbox.lives import REMOVED
from pipelines.sandbox.protocol import Request
from pipelines.sandbox.server import Sandbox, serve

__all__ = ["REMOVED", "Request", "Sandbox", "serve"]
