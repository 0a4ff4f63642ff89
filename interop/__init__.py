"""The environment in other trainers and harnesses: one file a framework, and the driver that all of them use."""
