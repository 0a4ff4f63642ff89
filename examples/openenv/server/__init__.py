"""The server of this OpenEnv package."""
