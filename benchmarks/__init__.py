"""What it costs, measured beside the peers that are installed."""
