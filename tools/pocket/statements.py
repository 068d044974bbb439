"""Sentence templates as in manuals, policies and release notes, with random nouns.

They teach the base model typical help-desk clauses (conditions, purposes, contrasts, permissions)
but no facts: the nouns are random, so the model can only learn grammar and vocabulary.
"""

STATEMENTS = [
    "[A|Each|Every] {word} [belongs to|is made of|comes from|is tied to] [one|exactly one|at "
    "most one] {word2}[, and a "
    "{word2} may have many {word}s|, so it can be traced|, never to two|].",
    "[A|The] {word} that [nobody|no reviewer|no admin] has [approved|checked|opened|confirmed] "
    "[is not used|stays pending|"
    "is kept apart|waits in the {word2}][ until {role} decides|].",
    "{word_cap}s are [never|not] [changed|overwritten|deleted]: a [new|changed] {word} gets [a "
    "new name|the next number|its "
    "own {word2}].",
    "[A|The] {word} is [a small|a set of|a list of|a frozen copy of|the record of] {word2}s "
    "[that are|which is] [used|kept|"
    "shown|learned|trained|measured] [together|on top of the {word3}|for {role}|before the "
    "{word3}].",
    "[It is|This is] the [share|number|list|order|name|size] of {word}s that [pass|fail|match|"
    "miss|need|use] the {word2}.",
    "[The share|The number] of {word}s [goes up|goes down|stays the same] when the {word2} [is "
    "larger|is better|is removed].",
    "[You are|People are|Everybody is] [told|asked|shown] [in the same {word}|by mail|in a "
    "private message|on the {page} page] "
    "[when it is done|why it failed|what comes next|before anything is lost].",
    "[Anything|Whatever|What] you [write|send|approve|correct|delete] [is recorded with|is kept "
    "beside|counts for|replaces] "
    "the {word}[, so you can see it later|, unless it is empty|].",
    "The {word} [was|is] [refused|rejected|stopped|skipped] because [its {word2} was too low|it "
    "knows less than before|the "
    "{word2} is missing|it has no {word2}|another {word2} was better].",
    "[Nothing|Nobody|No data] [leaves|is sent to|enters] [your own|the] {word}[s|]: the {word2}, "
    "the {word3} and the files "
    "stay [on your machine|in your network|where they are].",
    "[Set|Give|Put] the environment variable `{variable}` [before the {word} starts|to {value}|"
    "or name it in `{file}`].",
    "[The|Your] {word} [listens|answers|waits] on port {number}[ of localhost|]; [change|set] it "
    "with `{key}`[ in `{file}`|].",
    "[Send|Post] [a|the] {word} to `/v{digit}/{word2_slug}s`[ with your key in the header|; it "
    "answers with the {word3}|].",
    "[Reply|Write|Answer] [in a thread|in a direct message|in the channel] and [mention|name|"
    "tag] the {word}[; it answers "
    "there|, then everyone can read it|; the {word2} is not needed].",
    "[Click|Press|Use] the [thumb|button|menu|emoji|arrow] [below|beside|above] the {word}[; you "
    "may change it later|, and "
    "choose a reason|, then write what is right|].",
    "[Yes|Yes, it can|Certainly]: [give|set|add|choose] [a|another|your own] {word} [when you|"
    "before you|and then] [start|"
    "create|import|open] the {word2}.",
    "[No|No, it cannot|Never]: [only|just] the {word} and its {word2} are [kept|read|sent|shown|"
    "changed].",
    "The {word} [runs|works|is trained|is built] [without|with or without|on] a {word2}, [only "
    "slower|as long as the {word3} "
    "is there|which saves a lot of memory|even on a small machine].",
    "[Start|Begin|Try it] with [a small|a few|one|at least {amount}] {word}[s|]; [more|better] "
    "{word2}s [help more|can be "
    "added later|are worth the wait].",
    "[Both|The two] {word}s are shown [side by side|to half of the people each|in turn], and the "
    "[better one|winner] is "
    "[kept|promoted|chosen by {role}].",
    "[A person|Everyone|Each member] [always|usually] [sees|gets|stays on|keeps] the same "
    "{word}[, even in another {word2}|, "
    "until the {word2} ends|].",
    "It [needs|waits for] [enough {word}s|at least {amount} {word}s|the {word2} of {role}] "
    "[before it says|to decide|until "
    "it is sure] which {word2} is better.",
    "[Undo it|Go back|Return] with `{command}`; the [previous|older|earlier] {word} is [live|"
    "used|shown] again [at once|from "
    "the next message on|after {span}].",
    "[Old|Failed|Unused|Retired] {word}s are [removed|cleaned up|archived] after {span}[, except "
    "the live one|, unless you "
    "keep them|].",
    "[Copy|Save|Back up] `{file}` [and the {word} folder|while the {word} runs|first]; [that is "
    "all you need|the {word2} can "
    "be made again from it|never copy it by hand].",
    "[Look at|Read|Open|Check] the [log|page|table|end] of the {word}[ in `{file}`|]; [the last "
    "line|a red mark|its first "
    "sentence] [says|tells|shows] [why|what went wrong|what to do].",
    "[The most likely|A common|The usual] [cause|reason] is [a wrong|a missing|an old|an "
    "expired] {word}: `{command}` "
    "[tells you|checks it|prints it|repairs it].",
    "[Install|Download|Unpack] the {word}, [run|then run|type] `{command}`, and [open|visit] the "
    "{word2} in your browser.",
    "[Too many|Too few|Very long|Empty|Double] {word}s [are refused|slow it down|make it forget|"
    "cost time|are left out][, so "
    "{hint}|, and {role} is told|].",
    "[A higher|A lower|The right] {word} [learns|answers|forgets|runs|stops] [faster|slower|more|"
    "less], but [needs more "
    "{word2}|may lose the {word2}|the {word2} gets worse].",
    "[Words|Names|Secrets|Numbers|Keys] [that look like|such as] a {word} are [hidden|masked|"
    "removed|kept out] [before "
    "training|from every {word2}|automatically].",
    "[Members|Reviewers|Admins] may [ask|rate|correct|approve|start|stop|export] {word}s[; "
    "{role} may also promote them|, but "
    "not delete them|].",
    "`{command}` [lists|shows|starts|stops|checks|removes|exports|compares] [the|all|your|the "
    "latest] {word}s[ of a {word2}| "
    "with their {word2}s|; `--{flag}` shows more|].",
    "With `--{flag}` [it|the command] [also|only] [prints|writes|keeps|takes|changes] the "
    "{word}[s|][ that are new|, nothing "
    "else|].",
    "It [speaks|understands|accepts|reads] [the same|any|every] {word} [as|like|that] [other "
    "clients|the {word2}|you know], so "
    "[your code|the {word3}] [works unchanged|need not change].",
    "[Instead of|Rather than] [one big|a new|the whole] {word}, it [keeps|loads|trains|sends] "
    "[only|just] [a small|the "
    "changed] {word2}.",
    "[The first|The next] {word} takes [a minute|longer|{span}], because the {word2} [has to be "
    "loaded|is built first|is "
    "empty]; [later|after that] it is [quick|faster].",
]
