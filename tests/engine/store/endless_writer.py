"""Saves proposals until it is killed: a process for test_store_proposals.py to kill."""

import sys

from store_examples import make_proposal

from engine.proposal import CouponLine
from engine.store import open_store

url, name = sys.argv[1:]
coupons = [CouponLine(f"c{i}", "A", 1.0, 0.5) for i in range(4000)]
with open_store(url) as store:
    number = 0
    while True:
        store.save_proposal(make_proposal(f"{name}-{number}", coupons=coupons))
        number += 1
