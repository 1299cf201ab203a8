"""Pure: bytes to messages and back, and the seals around them."""
