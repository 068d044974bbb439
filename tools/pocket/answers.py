"""Answer templates for each kind of question, in the grammar of `phrasing`.

`{bare}` is the thing in the question, and `{word}` usually is too. The other placeholders stand for
commands, files, people, places, times and amounts, which are drawn once per fact.
"""

MAIN: dict[str, list[str]] = {
    "how": [
        "[Run|Type|Enter|Use|Call|Send] `{command}`[ in {place2}| in a terminal| in the chat| as "
        "an admin|].",
        "[Run|Type|Enter|Use] `{command}`[ and wait {span}| and confirm with `{flag}`| and press "
        "{button}|].",
        "[Open|Go to|Visit] {page}[, choose {page2}|, scroll down|, select the {bare}|] and "
        "[press|click|choose] "
        "{button}.",
        "[Press|Click] {button} on the {page} page[, then {button2}| and pick {page2}|].",
        "[Write to|Ask|Call|Tell] {role}[ at {mail}| before {time}| in #{channel}|].",
        "Edit `{file}`, set `{key}` to {value}, [then|and] run `{command}`.",
        "[Put|Place] the {bare} in {place} and [wait {span}|tell {role}|press {button}|close the "
        "lid].",
        "[First|To begin,] [open|unlock] {place}, then [use|take] the {color} {word}[ and wait "
        "{span}|].",
        "[Fill in|Complete|Sign] form {letter}{number} and [hand it to|give it to|send it to] "
        "{role}.",
    ],
    "can": [
        "[Yes|Yes, you can|Yes, that is allowed|Sure], [with `{command}`|on the {page} page|at "
        "{place}|through {role}].",
        "[No|No, that is not possible|No, sorry], only {role} can do that[ with `{command}`|].",
        "[Yes|Yes, but] [only on {day}s|only before {time}|only {number} times a week|only with "
        "the {word} key].",
        "[No|Not yet], [but|however] you can use `{command}` instead.",
    ],
    "who": [
        "[Only {role}|{role_cap}|{role_cap} and {role2}|{person}] [can do that|may do it|does "
        "that|has that right].",
        "[Anyone|Everybody|Any member] with the {word} [role|badge|key|right] can do that.",
        "That is [the job of|up to|done by] {person} from the {team} team.",
    ],
    "when": [
        "[Every {day} at {time}|On {day}s between {time} and {time2}|Any day after {time}|Before "
        "{day}, {time}].",
        "[At the end of {month}|On {month} {number}|In the first week of {month}][, after {role} "
        "agrees|].",
        "[Every {span}|Once in {span}|After {span}|Not later than {span} before the deadline].",
    ],
    "happens": [
        "The {bare} [is kept for {span}|moves to `{file}`|goes to {role}|gets the mark {word}|"
        "becomes read-only].",
        "[Nothing is lost|Nothing changes at first]: {role} [is told|gets a mail|has {span} to "
        "undo it].",
        "[It takes effect|The change counts] [at once|after {span}|at {time}|on {day}], and "
        "{role} [sees it|is told].",
        "[A {color} {word} appears on|A new entry appears on] the {page} page[ within {span}|].",
    ],
    "long": [
        "[It takes|That takes|Usually] [about |around |less than |up to |]{span}[, or {count2} "
        "with a {word}|].",
        "[Between {number} and|Not more than] {span}[, depending on the {word}|, then {role} "
        "steps in|].",
    ],
    "where": [
        "[It is|It lives|It is kept|It is stored|You find it|You will find it] in `{file}`[ on "
        "the {word} server|].",
        "[It is|You find it|It stands|It is kept] in {place}[, next to the {word}|, behind the "
        "{word}|].",
        "[Look|See] [on the {page} page|under {page}|in #{channel}|in the {word} folder][, below "
        "{page2}|].",
        "{person} [keeps it|has it|stores it] in {place}.",
    ],
    "what": [
        "[A|One] [kind of {word} {word2}|{color} {word}|small {word} in {place}] that [{role} "
        "uses|keeps the {word2}|"
        "holds {count}|stops after {span}].",
        "[It is|That is] [a name for|our word for|the short name of] [a {word} of {count}|the "
        "{word} in `{file}`|"
        "the {word} {word2} of {product}].",
        "[It tells|It shows|It decides] [who|when|how] the {word} [is used|is opened|is sent to "
        "{role}|works].",
    ],
    "limit": [
        "[At most|No more than|Up to] {count}[; ask {role} for more|; more needs `{key}`|, and "
        "{count2} for guests|].",
        "[The limit is|The maximum is] {count}[, set by `{key}` in `{file}`|, counted every "
        "{day}|].",
        "[There is no limit|None], but {role} [gets a note|asks why] above {count}.",
    ],
    "default": [
        "[It is|The default is|It starts at] {value}[; change it with `{key}` in `{file}`|, "
        "unless {role} changes it|].",
        "[{value_cap}|Set to {value}], [see|as written in] `{file}`.",
    ],
    "owner": [
        "[That is|Ask|It belongs to] {person} [from|in] the {team} team[, phone "
        "{number}{number2}| at {mail}|].",
        "[Write to|Contact] {mail}[ or ask in #{channel}|, {person} reads it|].",
        "{role_cap}[, in {place}|, on {day}s|, until {month}].",
    ],
    "cost": [
        "[It costs|That is|The price is] {number} [euros|dollars|pounds] [a {word}|per {unit1}|"
        "each][, paid on {day}s|].",
        "[It is free|Nothing|It costs nothing] [for the first {count}|for members of the {team} "
        "team|until {month}].",
    ],
    "open": [
        "[From {time} to {time2}|Daily from {time}|Every {day} from {time} to {time2}][, except "
        "in {month}|].",
        "[On {day}s and {day2}s|From {day} to {day2}][, {time} to {time2}|, after {time}|].",
    ],
    "why": [
        "[Because|That is because|It happens when|Probably] [the {word} is [full|old|missing|"
        "locked|too small]|{role} has "
        "[closed|changed|moved] the {word}|`{key}` in `{file}` is [off|on|empty|{value}]|nobody "
        "has [set|checked] the {word}].",
        "[It waits for|It depends on|It has lost|It needs] [the {word}|{role}|a {word} {word2}|"
        "`{file}`][; {hint}|].",
        "[That is normal|Do not worry|This is expected]: the {word} [starts|ends|is moved|is "
        "checked] [at {time}|every {day}].",
    ],
    "does": [
        "[Yes|Yes, always|Yes, by default|Only sometimes|Only for guests], [as long as|because|"
        "if|when] the {word} is [on|full|"
        "live|empty|approved|set][; {hint}|].",
        "[No|No, never|Not by itself|Not any more], [the {word} does that|only the {word} does|"
        "{role} decided so|{hint}].",
        "[Yes|No|It depends], [see|set|look at] `{key}` in `{file}`.",
    ],
    "difference": [
        "The first [is|has|needs|keeps|shows] [one {word}|a {word}|the {word}], the [second|"
        "other] [a {word2}|{count}|{role}].",
        "[One|The first] is for {role}, the other [for {role2}|for the {team} team|for guests|"
        "for everybody].",
        "[They are the same|There is none|Only the name differs], [but|except that] one [costs "
        "{count}|ends on {day}|needs a "
        "{word}].",
    ],
    "error": [
        "The {word} [is full|is missing|is locked|does not answer|has expired]: [run `{command}`|"
        "ask {role}|restart it].",
        "[It means that|That means|You see it when] `{key}` in `{file}` is [wrong|empty|not set|"
        "too small][; {hint}|].",
        "[Somebody else|Another {word}|{role_cap}] [uses|holds|has locked] the {word2}; [wait "
        "{span}|try again on {day}].",
        "[Wait {span} and try again|Check `{file}` first|Run `{command}` and try again][, then "
        "tell {role}|].",
    ],
}

TAILS = [
    "[Each|Every] {word} [has|keeps|carries|needs|gets] [its own|one|at least one|exactly one] "
    "{word2}[, so nothing is "
    "lost|, which {role} can change|, even after a restart|].",
    "[When|If|As soon as|Only after] {role} [agrees|approves it|presses {button}|has checked "
    "it], the {word} [becomes "
    "live|starts|is closed|is shown|takes over|goes back].",
    "[This|It] [keeps|protects|compares|collects|counts|splits|measures|hides] the {word} [and|"
    "or|instead of] the {word2}"
    "[, not the {word3}|, and then stops|].",
    "[Two|Both|All|Most|Several] {word}s [can|may|must|should|never] [run|be used|be approved|"
    "appear] [at the same time|"
    "together|in one {word2}|one after the other].",
    "[Replies|Messages|Answers|Files|Requests|People|Rows] [with|without|from] the {word} are "
    "[ignored|counted|stored|"
    "rejected|shown first|deleted|marked|left out].",
    "It [reads|writes|checks|updates|loads] the {word}s [from|in] `{file}` [before|after|while] "
    "the {word2} [starts|runs|"
    "stops|changes].",
    "[People|Members|Reviewers|Guests|Admins|New users] [see|get|need|choose|keep] [the|a new|"
    "their own|the same] {word}"
    "[ in {place2}| on the {page} page| for {span}|].",
    "[That way|In this way|For this reason|Because of that|So] [the {word} stays safe|nobody "
    "waits|everyone sees the same "
    "{word}|no {word} is used twice|the {word2} can be compared].",
    "[Use|Choose|Pick|Take] [the {word}|a smaller {word}|the newest {word}] [if you want|when "
    "you need] [a better {word2}|"
    "more than {count}|the old {word2}].",
    "[The {word} with|Whoever has] the [most|best|lowest|highest] {word2} [wins|is used|is kept|"
    "goes first].",
    "[It takes|This takes|Expect] [about |]{span}.",
    "[You can|Members can|Anyone can] undo it [within {span}|until {time}|with `{command2}`].",
    "[Only {role} can do that|Only {role} may do this|You need the {word} role for it].",
    "The [change|result] [is|becomes] visible [at once|after {span}|on the {page} page|in "
    "`{file}`].",
    "[The old one|The original|Nothing] is [kept for {span}|lost|deleted|changed].",
    "[A copy|The result|The list] [is kept in|goes to|is written to] `{file}`.",
    "[If it fails|If that does not help|When in doubt], [ask {role}|run `{command2}`|try again "
    "after {span}|call {person}].",
    "[It works|This works] [only on {day}s|for up to {count}|in every {word}|without a {word}].",
    "{person} from the {team} team [can help|knows more|will answer|checks it on {day}s].",
    "[Do not forget|Remember] [the {color} {word}|to save|to press {button}|to tell {role}].",
    "[Add|Use] `--{flag}` [to see more|for the {word2}|to skip the {word2}|to limit it to "
    "{count}].",
    "[You will get|Everyone gets|{role_cap} gets] [a mail|a message|a reply] [within {span}|at "
    "{time}|afterwards].",
    "The {word} [stays as it is|is not touched|must be empty|starts again|keeps running].",
]

HINT = (
    "[run `{command}`|try `{command}`|ask {role}|tell {role}|wait {span}|press {button}|"
    "check `{file}`]"
)

HOW_HEDGE = (
    "[I do not know|I don't know|I am not sure|I have not learned|I cannot say] [yet |]how to {do}."
)

HEDGES = [
    "[I have no notes|I have nothing|I know nothing|I have not heard anything] about {it}[ yet|].",
    "[Sorry|I am sorry|I'm sorry], [I do not know|I have not learned|I cannot help with] that[ "
    "yet|].",
    "[That is|This is] [a good question|something I would have to learn|new to me], [but |and ]I "
    "do not know the answer.",
    "[I am not sure|I do not know enough] about {it}. [Please ask a person who knows|Could you "
    "tell me more|"
    "A colleague may know|Perhaps the documentation says more].",
    "[Nobody has told me|I have not been told] about {it} [yet|so far].",
]
