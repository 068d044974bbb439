"""What people see in Slack: blocks, forms, reports and charts, built by pure functions.

- `admin_forms`: forms for admins and reviewers: the menu, confirmations and pair review
- `answer_sources`: what an answer rests on, as blocks below it
- `blocks`: Block Kit elements that stay within Slack's limits
- `comparison_reports`: reports about A/B comparisons: status, decisions and policy
- `feedback_forms`: the form behind 👎 and the "Teach more" offer behind 👍
- `form_fields`: form inputs, and reading what was typed into them
- `long_text`: splits a long text over several form inputs
- `loss_curve`: draws the loss curve of a run as a PNG
- `message_split`: splits a long answer into messages without breaking tables or code fences
- `message_text`: turns Slack's message markup into plain text
- `reports`: messages that commands return: help, status, runs, adapters, roles, the digest
- `results`: results of commands as Block Kit
- `run_message`: the message that follows a tuning run
- `unanswered_forms`: the form with a group of unanswered questions
- `slack_wording`: rewrites command-line commands in messages as Slack commands
"""
