"""The studies behind the pages of results; each module is a command. Not part of the wheel."""
