"""Sitting in the policy's chair: a live game, and two faces of it for the terminal"""
