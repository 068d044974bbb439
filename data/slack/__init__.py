"""What Slack needs stored: workspaces, and the queues of questions and commands.

- `command_queue`: deeds: the commands and clicks that change something, from their acknowledgement
  to their reply
- `installations`: the Slack workspaces that have installed the bot, each with its token, which
  callers encrypt
- `question_queue`: questions that wait for an answer in Slack: the queue that survives a crash
"""
