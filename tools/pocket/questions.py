"""Question templates for each kind of question, in the grammar of `phrasing`.

`{do}` is an action (`restart the printer`), `{doing}` its gerund, `{it}` the thing with its
article, `{bare}` the thing without one, `{some}` the thing with `a` or `an`, `{error}` an error
message.
"""

FRAMES: dict[str, list[str]] = {
    "how": [
        "[How do I|How can I|How do you|How would I|How should I|How do we|How to] {do}?",
        "[How do I|How can I|How would one] {do}?",
        "[What is|What's] the [best |right |quickest |easiest |correct |]way to {do}?",
        "[What is|What's] the [command|procedure|trick|process] [for {doing}|to {do}]?",
        "[I want to|I need to|I would like to|I'd like to|I have to] {do}[, how?|. How?|. What "
        "do I do?|.]",
        "[Can|Could] you [tell me|explain|show me|remind me] how [to|I can|I] {do}?",
        "[What do I need to do|What should I do|What must I do|What do I type|What do I run] to "
        "{do}?",
        "[Is there|Do we have|Do you have] [a way|a command|an option|some way] to {do}?",
        "[Help me|Please help me|Can you help me] {do}[.|]",
        "[steps to|how to|way to|how do I] {do}",
        "[How is|How does one go about|What about|How about] {doing}?",
        "[Which|What] command [is used for {doing}|do I use to {do}|will {do}|lets me {do}]?",
        "[Explain|Describe|Tell me about|Walk me through] {doing}[.|]",
        "[I am trying to|I'm trying to] {do} [but I do not know how|and I am stuck|but nothing "
        "works].",
        "[Any idea|Do you know|Does anyone know|Tell me] how [to|I can|we] {do}?",
        "[Where do I go|What do I press|What do I open] to {do}?",
        "{doing}[, how?|?| how to]",
    ],
    "can": [
        "[Can I|May I|Could I|Can we|Can one|Can anyone] {do}?",
        "[Am I allowed|Are we allowed|Is it allowed|Is it possible|Is it OK] to {do}?",
        "Is {doing} [allowed|possible|permitted|supported|OK]?",
        "[Would it be possible|Is there any chance|Do I have the right] to {do}?",
        "[I wonder whether|I would like to know if] [I can|we can|one may] {do}.",
        "[Does it let me|Will it let me|Do the rules let us] {do}?",
        "[What if I want|Suppose I want] to {do}, [can I|is that possible|is that allowed]?",
    ],
    "who": [
        "[Who can|Who may|Who is allowed to|Who has the right to|Who gets to] {do}?",
        "[Which people|Which person|What role|Which role] [can|may|is able to] {do}?",
        "[Who do I ask|Who should I ask|Whom do I ask] to {do}?",
        "[Who takes care of|Who is responsible for|Who handles|Who is in charge of] {doing}?",
        "[Does everybody|Can everyone|Is everybody allowed to] {do}, or only some people?",
        "[Whose job is it|Whose task is it] to {do}?",
        "[What rights|Which rights|What permission] do I need to {do}?",
    ],
    "when": [
        "[When can I|When should I|When do I|When do we|When may one] {do}?",
        "[What is|What's] the [best |right |]time to {do}?",
        "[At what time|On which day|How often] [do we|can I|should I] {do}?",
        "[When is the time|When is it time|When is the moment] to {do}?",
        "[Is there a fixed time|Is there a schedule|What are the times] for {doing}?",
        "[By when|Until when] [must I|should I|can I] {do}?",
    ],
    "happens": [
        "What happens [when|if|after|once] I {do}?",
        "[What does it mean|What does it do|What will change] [when|if] [I|we|you] {do}?",
        "[What is|What's] the [effect|result|consequence|outcome] of {doing}?",
        "[What comes|What follows|What happens] after {doing}?",
        "[What should I expect|What will I see|What changes] [when I|if I|after I] {do}?",
        "[Does anything happen|Is there an effect] [when|if] [I|people] {do}?",
        "[If|When] I {do}, what [happens|happens then|happens next|will I see]?",
    ],
    "long": [
        "[How long does it take|How much time does it take|How many minutes does it take] to {do}?",
        "[How long|How much time] does {doing} [take|need|last]?",
        "[Is it quick|Is it fast|Does it take long] to {do}?",
        "[How much time should I plan|How long do I have to wait] to {do}?",
        "[What is|What's] the [usual |normal |]time [needed |]for {doing}?",
        "[How fast can I|How quickly can I|How soon can I] {do}?",
    ],
    "where": [
        "[Where is|Where do I find|Where can I find|Where do you keep|Where would I find] {it}?",
        "[Where can I see|Where do I see|Where do I get] {it}?",
        "[In which place|In which folder|Under which path|In what place] [is {it}|do I find {it}]?",
        "[I am looking for|I'm looking for|I cannot find|I can't find] {it}.",
        "[Can|Could] you [tell me|show me] where {it} is?",
        "[What is|What's] the [location|place|path] of {it}?",
        "[location of|path of|where is|where to find] {it}",
        "[Where did you put|Where do they store|Where does it keep|Where do we keep] {it}?",
    ],
    "what": [
        "[What is|What's|What is meant by|What do you call] {some}?",
        "What does [the word |the term |]'{bare}' mean?",
        "[Can|Could] you [explain|tell me] what {some} is?",
        "[Explain|Define|Describe] {some}[.|, please.]",
        "[What is {some} for|What is {some} good for|What does {some} do|Why do I need {some}]?",
        "[Tell me about|Tell me something about] {it}.",
        "[I do not know what|I have no idea what] {some} is.",
        "[meaning of|definition of] {bare}",
        "What [exactly |]is {it}?",
    ],
    "limit": [
        "[What is|What's] the [limit|maximum|size limit|upper limit] [for|of] {it}?",
        "[How big|How large|How long] can {it} [be|get|become]?",
        "[Is there|Do we have] [a limit|a maximum|an upper bound] [for|on] {it}?",
        "[How much|How many] [is allowed|are allowed|can I have|can we use] for {it}?",
        "[What size|How much] may {it} have at most?",
        "[Are there limits|Are there restrictions|Does a limit exist] [for|on] {it}?",
        "maximum [of|for] {it}",
    ],
    "default": [
        "[What is|What's] the [default|standard|preset|initial value] [for|of] {it}?",
        "[How is|To what is] {it} set [by default|at first|at the start|out of the box]?",
        "[Which|What] [default|value] does {it} [have|start with|use] [at first|by default]?",
        "[What value has|What is] {it} when [nobody changes it|I leave it alone|nothing is set]?",
        "[default|standard] [value |][for|of] {it}",
        "[If I do not set|If I never touch] {it}, what [is used|value is it|happens]?",
    ],
    "owner": [
        "[Who owns|Who keeps|Who looks after|Who takes care of|Who is responsible for] {it}?",
        "[Whom|Who] [do I ask|should I ask|can I ask] about {it}?",
        "[Who is in charge of|Who maintains|Who manages|Who runs] {it}?",
        "[Whose|Which person's] [job|responsibility] is {it}?",
        "[Who do I call|Who do I write to|Who knows] about {it}?",
        "[I have a question|I have a problem|There is a problem] with {it}, who can help?",
        "[contact|person] for {it}",
    ],
    "cost": [
        "[How much is|How much does|What does] {it} cost?",
        "[What is|What's] the price of {it}?",
        "[How much do I pay|What do I pay|What do we pay|How much do we have to pay] for {it}?",
        "[Is {it} free|Is {it} expensive|Does {it} cost anything]?",
        "[price|cost] of {it}",
        "[Do I have to|Do we have to|Must I] pay for {it}?",
    ],
    "open": [
        "When [is {it}|will {it} be] [open|available|ready]?",
        "[When does|At what time does] {it} [start|open|begin]?",
        "[What are|Tell me] the [hours|times|opening hours] of {it}.",
        "[On which days|At what times|From when] [can I use|may I use|can I visit] {it}?",
        "[Is {it} open|Is {it} available] [today|on weekends|every day|at night]?",
        "[hours|times|schedule] of {it}",
    ],
    "why": [
        "[Why does|Why did|Why would|Why will|Why must] {it} {verb}?",
        "[What makes|What lets] {it} {verb}?",
        "[What is|What's] the reason [why|that] {it} [can|should|would] {verb}?",
        "[How come|Why is it that] {it} [can|will|would|did] {verb}?",
        "[For what reason|Under which condition|In which case] does {it} {verb}?",
        "[I do not understand|Explain|Tell me] why {it} should {verb}.",
        "[I saw|I noticed] {it} {verb}[. Why?|. Is that normal?|. What is going on?]",
    ],
    "does": [
        "[Does|Will|Can|Could|Would|Should] {it} {verb}?",
        "[Is it true|Is it right|Am I right] that {it} [can|will|would|does] {verb}?",
        "[I would like to know if|Tell me whether|I wonder if|Do you know if] {it} will {verb}.",
        "[Do I have to make|Can I make|Can I let] {it} {verb}?",
        "[When|How often|Where] does {it} {verb}?",
    ],
    "difference": [
        "[What is|What's|Explain|Describe] the [difference|distinction] between {it}?",
        "[How do|In what way do] {it} differ?",
        "[Compare|Tell me about] {it}[.|, please.]",
        "[Are|Aren't] {it} the same[ thing|]?",
        "[Which one do I need|Which is better|What should I use|How do I choose], {it}?",
        "[I mix up|I confuse] {it}.",
    ],
    "error": [
        "[Why do I see|Why do I get|Why does it say|What causes|Why is there] [the error |the "
        "message |]'{error}'?",
        "[What does|What does the message] '{error}' mean?",
        "[How do I fix|How can I solve|How do I get rid of|What can I do about] [the error |"
        "]'{error}'?",
        "[I get|I see|It shows|It says|There is] '{error}'[.|, what now?|. What should I do?|. "
        "Help!]",
        "'{error}'[, what is that?|, what does it mean?|?|]",
        "[My screen shows|It fails with|It stopped with|It ended with] '{error}'.",
        "[Help|Problem|Trouble] with '{error}'",
    ],
}

# Questions as people type them into a search field: keywords in any order.
TERSE: dict[str, list[str]] = {
    "how": [
        "{verb} {bare}[| how| command|?]",
        "{bare} {verb}[|?| command]",
        "[how |command |]{verb} {bare}",
        "{doing}",
    ],
    "can": ["[can |allowed |]{verb} {bare}[?|]", "{bare} {verb} [allowed|possible|ok]?"],
    "who": [
        "who {verb} {bare}[?|]",
        "{verb} {bare} [rights|permission|who]",
        "[rights|role] to {do}",
    ],
    "when": [
        "when {verb} {bare}[?|]",
        "{verb} {bare} [when|time|schedule]",
        "time [for|of] {doing}",
    ],
    "happens": [
        "[effect of |after |]{doing}[?|]",
        "{verb} {bare}[, what then?| effect| what happens]",
    ],
    "long": [
        "{verb} {bare} [duration|how long|time]",
        "duration of {doing}",
        "how long {verb} {bare}",
    ],
    "where": ["{bare}[ location| path| place| where]?", "where {bare}[?|]", "[find|see] {bare}"],
    "what": [
        "{bare}?",
        "[explain|define|describe] {bare}",
        "what is {bare}[?|]",
        "{bare} [meaning|definition|explained]",
    ],
    "limit": [
        "{bare} [limit|maximum|max|size]",
        "[max|limit] {bare}[?|]",
        "[how many|how big] {bare}",
    ],
    "default": [
        "{bare} default[?| value]",
        "default {bare}",
        "{bare} [when not set|out of the box]",
    ],
    "owner": ["{bare} [owner|contact|who|responsible]", "who {bare}[?|]", "[contact|owner] {bare}"],
    "cost": ["{bare} [price|cost|costs|free]?", "[price|cost] {bare}", "how much {bare}[?|]"],
    "open": ["{bare} [hours|times|open|when]", "[hours|opening hours] {bare}", "when {bare}[?|]"],
    "why": ["[why |]{bare} {verb}[?|]", "{verb}: {bare}, why?", "reason {bare} {verb}"],
    "does": ["{bare} {verb}?", "[does |will |can ]{bare} {verb}[?|]"],
    "difference": ["{bare}[|?| difference]", "difference {bare}", "[compare|explain] {bare}"],
    "error": [
        "{error}",
        "{error} [error|message|help|fix|meaning]",
        "[error|message|fix|why] {error}[?|]",
    ],
}

OPENERS = (
    "[Hi|Hello|Hey|Good morning|Quick question|Sorry|Excuse me|Please|One more thing|"
    "Another question|Well|OK]"
)

REPEATS = [
    "[Can|Could] you [repeat that|say that again|write that again]?",
    "[Sorry, what|Pardon|What was that|Once more, please|I did not get that][?|.]",
    "[Are you sure|Really|Is that right|Is that correct]?",
    "[I forgot|I have forgotten] what you said[.|, say it again.]",
    "[Again, please|Repeat, please|Come again][.|]",
]

BRIEFLY = [
    "[In short|Shorter|Shorter, please|Briefly|In a few words][?|.]",
    "[Can|Could] you [say that in fewer words|make that shorter|sum that up]?",
    "[Just the main point|Only the first part|Too long], please.",
]

RECALLS = [
    "What did I [just |]ask[ you|]?",
    "[What was my|Which was my] [last |]question?",
    "[Repeat|Say] my [last |]question.",
]
