"""Other regions, in virtual time: a node's follower, and agents of another cluster, of which the network is made up."""
