"""The words by which files say that an answer was liked or not."""

LIKED = frozenset({
    "good", "like", "liked", "up", "positive", "pos", "helpful", "thumbs_up", "thumbsup",
    "thumbs up", "👍", "+1", "chosen", "desirable", "accepted", "correct",
})  # fmt: skip
DISLIKED = frozenset({
    "bad", "dislike", "disliked", "down", "negative", "neg", "unhelpful", "thumbs_down",
    "thumbsdown", "thumbs down", "👎", "-1", "rejected", "undesirable", "incorrect", "wrong",
})  # fmt: skip
