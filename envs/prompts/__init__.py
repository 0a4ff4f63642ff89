"""What a policy is told about the protocol, as text files."""

FOLDER = __name__
