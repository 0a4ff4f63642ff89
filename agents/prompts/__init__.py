"""What agents ask their models beside the transcript."""

FOLDER = __name__
