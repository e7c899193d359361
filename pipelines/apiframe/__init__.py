"""Reading the jobs of an Apiframe account, for this project's sync and for anyone's own pipeline.

Jobs change after they are created and the API has no "changed since": every run therefore reads the jobs that are
new and those that can still change, and merges them by id. Importing the package is cheap; dlt comes with the use
of `apiframe_source` or `jobs_source`.
"""

from pipelines.apiframe.answers import ApiError, UndocumentedError
from pipelines.apiframe.client import Client
from pipelines.apiframe.source import apiframe_source, jobs_source

__all__ = ["ApiError", "Client", "UndocumentedError", "apiframe_source", "jobs_source"]
