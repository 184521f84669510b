"""A Graph API one can run: Meta's Custom Audience edges with faults and rate limits on demand.

It imports nothing of the product, so that it is able to disagree with it. `python -m emulator` starts it; the
reading order is `protocol.py` (a request becomes a call), `graph.py` (a call becomes a reply), `members_edge.py`
(rows become members), `serving.py` (replies, and scripted misbehaviour, on sockets), `control.py` (the other port).
"""
