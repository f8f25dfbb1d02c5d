"""stripe-python through the gateway. Run by scripts/test-clients.ts."""

import os
import sys

import stripe

stripe.api_base = f"{os.environ['GATEWAY']}/proxy/stripe"
# Files are at another host, to which it would send the token.
stripe.upload_api_base = stripe.api_base
stripe.api_key = os.environ["TOKEN"]
stripe.api_version = "2023-10-16"
stripe.enable_telemetry = False

assert stripe.Customer.retrieve("cus_1")["id"] == "cus_1"
assert [one["id"] for one in stripe.Customer.list(limit=1).auto_paging_iter()] == ["cus_1", "cus_2", "cus_3"]
try:
    stripe.Customer.create(name="No")
    sys.exit("A customer was made.")
except AttributeError:
    # It expects an object in the error of Stripe's own answers, and fails over a refusal's text.
    pass
print("stripe-python works.")
