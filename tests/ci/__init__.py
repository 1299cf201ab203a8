"""Tests of the files in docs/deploy, and of what a service manager sees of the commands."""
