"""A small Slack at the network edge: a Web API that is as strict as Slack's, and its deliveries.

`workspace.py` holds what there is (people, channels, messages, streams), `web_api.py` the methods
that bots call, `rules.py` what Slack refuses in blocks and views, `transports.py` how events reach
a bot: signed HTTP or Socket Mode, acknowledged within three seconds or sent again. `slack.py`
joins them: `FakeSlack` is what tests speak to.
"""

from tests.fake_slack.slack import FakeSlack

__all__ = ["FakeSlack"]
