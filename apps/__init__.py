"""User interfaces: command line, terminal player, browser viewer."""
