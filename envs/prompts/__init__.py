"""The prompts that explain the protocol to a policy, as text files."""

FOLDER = __name__
