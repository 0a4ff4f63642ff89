"""What the pages of results are made of; each module is a command, and none is part of the wheel."""
