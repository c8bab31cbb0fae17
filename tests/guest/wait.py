# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one place where the live tests wait for something that cannot tell them: polling with a deadline, never a way to order things."""

import time


class NotInTime(Exception):
    """It did not happen."""


def wait_for(what, predicate, seconds=30, step=0.02):
    """Polls until predicate() is true and returns its value. A missed deadline is an error."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime(f'{what}: not within {seconds} s')
        time.sleep(step)
