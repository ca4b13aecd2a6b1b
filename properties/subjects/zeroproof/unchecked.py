"""Calls as a user makes them, without the annotations' checks that the tests turn on."""

from functools import partial
from unittest import mock

import jaxtyping

unchecked = partial(mock.patch.object, jaxtyping.config, "jaxtyping_disable", True)
