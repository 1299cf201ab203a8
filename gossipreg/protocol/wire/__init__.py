"""Pure: the wire format. Bytes to messages and back, and the codecs of packets and streams around them."""
