"""What happens when a member asks, clicks, reacts or opens the Home tab.

- `addressing`: whether a question was meant for the bot
- `admin_home`: the part of the Home tab for reviewers and admins
- `answer`: answers a queued question, or says why there is no answer
- `answer_notes`: what stands under an answer: notes, sources and buttons
- `answer_stream`: streams an answer into messages, or shows two for a comparison
- `edited_question`: an answered question was edited: answer it anew?
- `feedback`: 👍 and 👎 as buttons and emoji, and the form behind 👎
- `home`: the Home tab: what the bot knows, a person's questions and feedback, their data controls
- `members`: registers the listeners for members
- `preference_buttons`: two blinded answers in one message, and the buttons to choose the better one
- `privacy`: the data controls of the Home tab: view, export, delete, opt out of learning
- `private_answer`: the answer to `/understudy ask`, which only the person who asked sees
- `question_context`: the files and the thread that a question refers to
- `recent_questions`: a person's recent questions on the Home tab, and whether the answers helped
- `refusal_buttons`: the buttons under a refusal: a nearest question, and "Ask a person"
- `regenerate`: the Regenerate and Continue buttons under an answer
- `review`: the form in which reviewers decide on pending pairs
- `run_follower`: keeps the messages that follow tuning runs up to date
- `unanswered_form`: the form in which reviewers answer declined questions
- `teach`: the "Teach this" shortcut and the "Teach more" button
- `waiting_status`: the status under a question, and the title of its thread
"""
