"""Migration: copies what another registry holds into ours while people move, and if wanted the other way too.

Both sides are asked over the same API, Consul's or Eureka's, so an instance keeps what that API knows of it. A copier
needs a `registry` of each side, which `consul` and `eureka` are; `plan` says what is to be done, `copier` does it.
"""
