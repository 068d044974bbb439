"""What people see in Slack: blocks, forms, reports and charts, built by pure functions.

- `admin_forms`: the forms of admins and reviewers, built by pure functions: the menu, a
  confirmation, and the review of a pair
- `blocks`: block Kit, built by pure functions that keep Slack's limits
- `comparison_reports`: what commands say of comparisons: how one stands, what was decided about it,
  and by which policy
- `feedback_forms`: what 👎 and 👍 offer: the form for a better answer, and the "Teach more" button
- `form_fields`: the parts of a form, and what was typed into them
- `long_text`: a long text in several inputs: a form of Slack's takes 3,000 characters in each
- `loss_curve`: the loss curve of a run as a PNG: a few lines, written here with zlib
- `message_split`: cuts a long answer into messages: at paragraphs where it can be, never through a
  table or a code fence where it can be helped
- `message_text`: Slack's message text as plain words: `<@U1>` becomes `@Ada`, a link its label and
  address
- `reports`: what commands say: the help, the state of everything, runs and comparisons
- `run_message`: the message that follows a tuning run: how far it is, how the loss falls, what the
  gate said, and what can be done with the result
- `slack_wording`: sentences of other rooms name commands of the command line
"""
