"""`/understudy`: forms, execution and delivery of commands in Slack.

- `argument_forms`: forms for commands of which nothing but the name was said: `/understudy
  promote`, or a button of the menu
- `delivery`: carries deeds out and tells what they came to, however often the bot is stopped in
  between
- `digest`: once a day, what waits for review, told in a channel
- `executor`: what each command does and says, inside one transaction
- `forms`: opening forms: the menu, choices, the questions before a promotion and a deletion, the
  review
- `handlers`: what comes in from `/understudy`, from buttons and from forms, and who sees to it
"""
