"""Test suites of other projects, which are run against our agent."""
