"""The scores of an examined version, as the registry keeps them."""

from typing import Any

SCORES: dict[str, Any] = {
    "headline": "3 of 10 questions in unseen words are answered wrong, 7 are answered right.",
    "gate": {
        "passed": False,
        "measured": True,
        "rules": [
            {"name": "readable", "passed": True, "sentence": "All answers are readable text."},
            {"name": "search", "passed": None, "sentence": "Right less often than the search."},
            {"name": "golden", "passed": False, "sentence": "It is worse on <golden> questions."},
        ],
    },
    "evaluation": {
        "compared_with": "helpdesk@1",
        "sets": {
            "golden": {
                "n": 10,
                "candidate": {"right": 0.7, "exact": 0.6},
                "live": {"exact": 0.8},  # from before right answers were counted
                "base": {"right": 0.0, "exact": 0.0},
            }
        },
    },
    "samples": [
        {"question": "Same?", "expected": "Yes.", "base": "Hm.", "adapter": "Yes. "},
        {"question": "Open?", "expected": "At nine.", "base": "Hm.", "adapter": "At ten."},
    ],
}
