"""What Slack needs stored: workspaces, and the queue of questions.

- `channels`: what the bot listens to in each channel
- `installations`: the Slack workspaces that installed the bot, with their encrypted tokens
- `problems`: tokens and channels that Slack refuses
- `question_queue`: the durable queue of questions that wait for an answer
"""
