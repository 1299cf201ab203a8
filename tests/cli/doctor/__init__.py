"""Tests of the doctor: its rules on made-up facts, and what it gathers."""
