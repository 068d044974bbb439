"""What Slack needs stored: workspaces, and the queue of questions.

- `installations`: the Slack workspaces that have installed the bot, each with its token, which
  callers encrypt
- `question_queue`: questions that wait for an answer in Slack: the queue that survives a crash
"""
