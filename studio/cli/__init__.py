"""The command line: the same verbs as the page and the API, one file for each group of verbs.

Heavy imports wait inside the verbs, so that `studio --help` answers at once. Errors: the sentence and what to
do on stderr; status 2 for a bad request, 1 for a run that failed, 130 after Ctrl+C.
"""

from studio.cli.app import main

__all__ = ["main"]
