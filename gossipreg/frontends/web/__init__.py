"""The web page: what an operator wants to know of the cluster and do about it, in a browser, at ``/ui/``."""

from gossipreg.frontends.web.page import create_page

__all__ = ["create_page"]
