"""Questions about people, answered by searching their own histories: an environment for verifiers."""

from profilegym.interop.verifiers import ProfileEnv, ProfileHarness, ProfileTaskset

__all__ = ["ProfileEnv", "ProfileHarness", "ProfileTaskset"]
