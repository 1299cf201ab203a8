"""Tests of messages, and of the codecs of packets and streams."""
