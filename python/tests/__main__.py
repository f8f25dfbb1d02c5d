"""Runs the tests against the gateway of AGENTAUTH_TEST_URL (`npm run test:python` starts one) and counts them."""

import logging
import sys
import unittest

# Refusals are what many tests ask for: Django need not report each.
logging.disable(logging.CRITICAL)
suite = unittest.defaultTestLoader.discover("tests", top_level_dir=".")
result = unittest.TextTestRunner(verbosity=1).run(suite)
failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
for test, reason in result.skipped:
    print(f"skipped {test}: {reason}")
print(f"\n{result.testsRun - failed - len(result.skipped)} passed, {failed} failed{skipped}")
sys.exit(1 if failed or result.testsRun == 0 else 0)
